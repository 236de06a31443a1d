# The queue is the host itself: a process of its own session. An id is <pid>.<start time in ticks>.<host>, so that a pid
# which was given to another process, or to another login node, is never taken for ours.
started() { cut -d')' -f2- "/proc/$1/stat" 2> /dev/null | awk '{print $20}'; }

alive() {
    local pid=${1%%.*} rest=${1#*.}
    [ "${rest#*.}" = "$(uname -n)" ] && [ -n "$pid" ] && [ "$(started "$pid")" = "${rest%%.*}" ]
}

field() { sed -n "s/.*\"$2\": *\"\{0,1\}\([^,\"}]*\).*/\1/p" "$1/state.json" 2> /dev/null; }

queue_rows() {
    local i id phase code state
    for i in "${!IDS[@]}"; do
        id=${IDS[$i]}
        if alive "$id"; then
            say "QUEUE $id|RUNNING|None|N/A|${NAMES[$i]}|$(uname -n)||"
            continue
        fi
        phase=$(field "${DIRS[$i]}" phase) code=$(field "${DIRS[$i]}" exit_code)
        case $phase in
        finished) state=COMPLETED ;;
        failed) state=FAILED ;;
        time_limit) state=TIMEOUT ;;
        terminated) state=CANCELLED ;;
        unwatched) state=UNWATCHED ;;
        *) continue ;;
        esac
        say "DETAIL JobId=$id JobName=${NAMES[$i]} JobState=$state Reason=None ExitCode=${code:-0}:0"
    done
    return 0
}

# The script notes its own id as the first thing it does.
queue_find() {
    local id
    id=$(head -n 1 "$3/process.id" 2> /dev/null) || return 0
    printf '%s\n' "$id"
}

queue_submit() {
    local pid start tries=0
    # 9 is the lock: it must not live as long as the job.
    setsid nohup bash "$2/job.sh" >> "$2/output.log" 2> "$2/.start.err" < /dev/null 9>&- &
    pid=$!
    until [ -s "$2/process.id" ]; do
        tries=$((tries + 1))
        start=$(started "$pid")
        if [ -z "$start" ] || [ "$tries" -gt 100 ]; then
            cp "$2/.start.err" "$2/.sbatch.err"
            return 1
        fi
        sleep 0.05
    done
    head -n 1 "$2/process.id"
}

queue_unsure() { return 1; }

# TERM to the script, which ends its Spark processes in order; what is left of the session after that is killed.
queue_cancel() {
    local pid=${1%%.*} i
    alive "$1" || return 0
    kill -TERM "$pid"
    for i in $(seq 1 40); do
        alive "$1" || break
        sleep 0.25
    done
    alive "$1" && kill -KILL -- "-$pid"
    return 0
}

queue_usage() { return 0; }
queue_partitions() { return 0; }
