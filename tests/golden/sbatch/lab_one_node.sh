#!/bin/bash
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=2
#SBATCH --mem=2048M
#SBATCH --time=10
#SBATCH --no-requeue
#SBATCH --signal=B:TERM@60
#SBATCH --open-mode=append
JOB_DIR=$PWD
APPLICATION=spark_apps/fit.py
CODE=code
NODES=1
CPUS=2
MEMORY_MIB=2048
TIME_LIMIT_S=600
SIGNAL_S=60
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
    :
}

