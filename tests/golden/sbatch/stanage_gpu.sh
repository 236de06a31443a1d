#!/bin/bash
#SBATCH --partition=gpu
#SBATCH --account=research
#SBATCH --qos=gpu
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=12
#SBATCH --mem=82000M
#SBATCH --time=5760
#SBATCH --gres=gpu:1
#SBATCH --constraint=a100&ib
#SBATCH --no-requeue
#SBATCH --signal=B:TERM@120
#SBATCH --exclusive
#SBATCH --nice=100
#SBATCH --open-mode=append
JOB_DIR=$PWD
APPLICATION=spark_apps/fit.py
CODE=code
NODES=1
CPUS=12
MEMORY_MIB=82000
TIME_LIMIT_S=345600
SIGNAL_S=120
DETACHED=no
VENV="$HOME/millrace/venv"
JARS="/opt/jars"
ARGS=(
    --pipeline
    higgs
    --snapshot
    @inputs@/snapshot
    --title
    'it'"'"'s $HOME; rm -rf /'
)
INPUTS=(
    'folder|/scratch/base/objects/cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc.tar|code'
    'file|/scratch/base/objects/eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee|pipeline.yaml'
)
ACTIVATE() {
    [ -r /etc/profile.d/modules.sh ] && . /etc/profile.d/modules.sh || true
    module load Java/17.0.4 CUDA/11.8.0 || fail 69 'module load failed'
    export NOTE='a '"'"'quoted'"'"' $VALUE'
    export OMP_NUM_THREADS=12
    :
}

