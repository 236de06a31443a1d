#!/bin/bash
JOB_DIR=$(cd "$(dirname "$0")" && pwd)
APPLICATION=spark_apps/fit.py
CODE=code
NODES=1
CPUS=4
MEMORY_MIB=2048
TIME_LIMIT_S=1800
SIGNAL_S=60
DETACHED=yes
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

