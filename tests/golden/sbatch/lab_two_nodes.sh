#!/bin/bash
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=1
#SBATCH --mem=3072M
#SBATCH --time=10
#SBATCH --requeue
#SBATCH --signal=B:TERM@60
#SBATCH --open-mode=append
JOB_DIR=$PWD
APPLICATION=spark_apps/fit.py
CODE=code
NODES=2
CPUS=1
MEMORY_MIB=3072
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

