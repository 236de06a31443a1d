# The queue is Slurm. IDS, NAMES and DIRS are set by the script that calls.
FORMAT='%i|%T|%r|%S|%j|%N|%M|%l'

# Rows about the jobs in IDS: squeue for all; scontrol for those that are over; sacct only for those that it forgot.
queue_rows() {
    local all row over='' gone='' id error
    all=$(IFS=,; printf '%s' "${IDS[*]}")
    row=$(squeue -h -t all -j "$all" -o "$FORMAT" 2>&1)
    if [ $? -ne 0 ]; then
        # The only question with an answer: it knows none of these jobs any more.
        case $row in *"Invalid job id"*) row='' ;; *) stop queue "squeue: $row" ;; esac
    fi
    [ -n "$row" ] && printf '%s\n' "$row" | sed 's/^/QUEUE /'
    for id in "${IDS[@]}"; do
        case $(printf '%s\n' "$row" | grep "^$id|" | cut -d'|' -f2) in
        '') gone="$gone,$id" ;;
        PENDING | RUNNING | CONFIGURING | COMPLETING | SUSPENDED) ;;
        *) over="$over $id" ;;
        esac
    done
    for id in $over; do
        scontrol -o show job "$id" 2> /dev/null | sed 's/^/DETAIL /'
    done
    if [ -n "$gone" ]; then
        # A site without accounting says so on stderr and exits 1: the job's own state file is what is left.
        error=$(sacct -X -n -P -j "${gone#,}" --format=JobIDRaw,State,ExitCode,JobName 2>&1) &&
            [ -n "$error" ] && printf '%s\n' "$error" | sed 's/^/ACCOUNT /'
    fi
    return 0
}

# The job of this name and folder, if there is one: the same task may have had another ledger. $2 is "ended" where a job
# that is over may be the one: then the accounts are asked as well.
queue_find() {
    local found states=''
    [ "$2" = ended ] && states=all
    found=$(squeue -h ${states:+-t all} -u "$(id -un)" --name="$1" -o '%i|%Z' 2>&1) || stop queue "squeue: $found"
    if [ -z "$found" ] && [ "$2" = ended ]; then
        found=$(sacct -X -n -P --name="$1" -S now-30days --format=JobIDRaw,WorkDir 2> /dev/null) || found=''
    fi
    printf '%s\n' "$found" | awk -F'|' -v folder="$3" '$2 == folder { print $1 }' | sort -n | tail -n 1
}

queue_submit() {
    sbatch --parsable --job-name="$1" --chdir="$2" --output="$2/output.log" "$2/job.sh" 2> "$2/.sbatch.err" | cut -d';' -f1
    return "${PIPESTATUS[0]}"
}

# Answers of sbatch that say nothing about the specification.
queue_unsure() {
    grep -qiE 'socket timed out|unable to contact|connection (refused|reset|timed out)|try again|temporarily|communication connection failure|zero bytes were transmitted|protocol authentication' "$1"
}

# By id and name: ids are used again. A job that is gone needs no end.
queue_cancel() { scancel --name="$2" "$1" 2>&1 | grep -viE 'invalid job id|already completing' || true; }

queue_usage() {
    sacct -n -P -j "$1" --format=JobIDRaw,State,ElapsedRaw,AllocCPUS,AllocNodes,TotalCPU,MaxRSS,ReqMem,TimelimitRaw \
        2> /dev/null | sed 's/^/USAGE /'
    scontrol -o show job "$1" 2> /dev/null | sed 's/^/DETAIL /'
    return 0
}

queue_partitions() { sinfo -h -o '%R|%a|%l|%D|%c|%m|%G' 2> /dev/null | sed 's/^/PARTITION /'; }
