# The part of a job that is equal for all: Spark inside one allocation, in bash alone. What differs was set above:
#   JOB_DIR APPLICATION CODE ARGS[] INPUTS[] ACTIVATE() VENV JARS NODES CPUS MEMORY_MIB TIME_LIMIT_S SIGNAL_S DETACHED
# Exit codes: the application's own; 69 no environment, 70 a second copy of this job, 74 inputs, 78 too little memory,
# 143 ended by TERM.
umask 077
# Whatever a login shell has left behind is not ours.
unset PYTHONPATH PYTHONHOME SPARK_HOME SPARK_CONF_DIR PYSPARK_PYTHON PYSPARK_DRIVER_PYTHON PYSPARK_SUBMIT_ARGS
unset JDK_JAVA_OPTIONS JAVA_TOOL_OPTIONS SPARK_DAEMON_JAVA_OPTS
cd "$JOB_DIR" || exit 74

now() { date +%s; }
BEGAN=$(now)
NODE=$(uname -n)
if [ "$DETACHED" = yes ]; then
    SLURM_JOB_ID=$$.$(cut -d')' -f2- "/proc/$$/stat" | awk '{print $20}').$NODE
    printf '%s\n' "$SLURM_JOB_ID" > .process.id.tmp && mv .process.id.tmp process.id
fi
RESTART=${SLURM_RESTART_COUNT:-0}

note() { printf '[job] %s\n' "$*"; }
state() {
    printf '{"job_id": "%s", "phase": "%s", "restart": %s, "exit_code": %s, "node": "%s", "at": %s}\n' \
        "$SLURM_JOB_ID" "$1" "$RESTART" "${2:-null}" "$NODE" "$(now)" > .state.tmp && mv -f .state.tmp state.json
}

PIDS=()
APP_PID=
SCRATCH=
usage() {
    # Processes that were waited for; a fallback where the site keeps no accounts.
    local cpu peak file
    peak=$(cat .peak 2> /dev/null || echo null)
    # In a pipe it would tell the times of another shell.
    times > .times
    cpu=$(tail -n 1 .times | awk '{ for (i = 1; i <= 2; i++) { split($i, t, /[ms]/); s += t[1] * 60 + t[2] } print s }')
    for file in /sys/fs/cgroup/memory/slurm/uid_"$(id -u)"/job_"$SLURM_JOB_ID"/memory.max_usage_in_bytes; do
        [ -r "$file" ] && peak=$(($(cat "$file") / 1048576))
    done
    printf '{"elapsed_s": %s, "cpu_s": %s, "peak_memory_mib": %s}\n' $(($(now) - BEGAN)) "${cpu:-0}" "$peak" > .usage.tmp &&
        mv -f .usage.tmp usage.json
}
# Resident memory of this script's session on this node; pages that processes share count for each of them.
watch_memory() {
    local session now peak=0
    session=$(ps -o sid= -p $$ | tr -d ' ')
    while sleep 2; do
        now=$(ps -o rss= -s "$session" | awk '{ sum += $1 } END { print int(sum / 1024) }')
        if [ "${now:-0}" -gt "$peak" ]; then peak=$now && printf '%s\n' "$peak" > .peak; fi
    done
}
stop_all() {
    local pid
    for pid in $APP_PID "${PIDS[@]:-}"; do
        # With what it started: a sleep outlives the subshell that waits for it.
        # shellcheck disable=SC2046 # several ids
        [ -n "$pid" ] && kill "$pid" $(ps -o pid= --ppid "$pid") 2> /dev/null
    done
    wait 2> /dev/null
    rm -f conf/spark-defaults.conf
    [ -n "$SCRATCH" ] && rm -rf "$SCRATCH"
    usage
}
fail() {
    note "$2"
    state failed "$1"
    stop_all
    exit "$1"
}
on_term() {
    trap '' TERM
    local phase=terminated
    # The same signal for three things; only the time limit is known beforehand.
    [ "$TIME_LIMIT_S" -gt 0 ] && [ $(($(now) - BEGAN + SIGNAL_S + 70)) -ge "$TIME_LIMIT_S" ] && phase=time_limit
    [ -e .unwatched ] && phase=unwatched
    note "TERM after $(($(now) - BEGAN)) s: $phase"
    stop_all
    state "$phase" 143
    exit 143
}
trap on_term TERM

# A second job of the same submission, which the ledger should have prevented, ends before it writes anything.
if ! (set -C && printf '%s\n' "$SLURM_JOB_ID" > owner) 2> /dev/null && [ "$(cat owner)" != "$SLURM_JOB_ID" ]; then
    note "job $(cat owner) is at work in this folder; this one ends"
    exit 70
fi
state starting
rm -f result.json .peak .unwatched
watch_memory > /dev/null 2>&1 &
PIDS+=($!)
mkdir -p logs conf events outputs inputs

# After a requeue everything begins again.
rm -rf outputs/* inputs/* state
SCRATCH=${TMPDIR:-/tmp}/millrace-${SLURM_JOB_ID//[^A-Za-z0-9]/-}
mkdir -p "$SCRATCH" || fail 74 "no local scratch in ${TMPDIR:-/tmp}"
# All nodes see the job's folder; one node reads faster from its own disk.
if [ "$NODES" -eq 1 ]; then HELD=$SCRATCH/inputs; else HELD=$JOB_DIR/inputs; fi
mkdir -p "$HELD"
for each in "${INPUTS[@]:-}"; do
    [ -n "$each" ] || continue
    kind=${each%%|*} rest=${each#*|}
    object=${rest%%|*} name=${rest#*|}
    case $kind in
    folder) mkdir -p "$HELD/$name" && tar -xf "$object" -C "$HELD/$name" ;;
    file) mkdir -p "$(dirname "$HELD/$name")" && ln -s "$object" "$HELD/$name" ;;
    esac || fail 74 "input $name cannot be read from $object"
done

ACTIVATE
if [ -n "$VENV" ]; then
    [ -x "$VENV/bin/python" ] || fail 69 "no virtual environment in $VENV"
    export PATH=$VENV/bin:$PATH VIRTUAL_ENV=$VENV PYSPARK_PYTHON=$VENV/bin/python PYSPARK_DRIVER_PYTHON=$VENV/bin/python
    for SPARK_HOME in "$VENV"/lib/python3*/site-packages/pyspark; do break; done
    export SPARK_HOME
fi
[ -x "${SPARK_HOME:-}/bin/spark-submit" ] || fail 69 "no Spark in ${VENV:-the environment of the site}"
command -v "${JAVA_HOME:+$JAVA_HOME/bin/}java" > /dev/null || fail 69 "no Java: JAVA_HOME=${JAVA_HOME:-} and none on PATH"

# What Slurm granted, per node in MiB: SLURM_MEM_PER_NODE is unset where a site gives memory by CPU.
if [ -n "${SLURM_MEM_PER_NODE:-}" ]; then
    MEMORY=$SLURM_MEM_PER_NODE
elif [ -n "${SLURM_MEM_PER_CPU:-}" ]; then
    MEMORY=$((SLURM_MEM_PER_CPU * ${SLURM_CPUS_ON_NODE:-$CPUS}))
else
    MEMORY=$MEMORY_MIB
fi
CORES=${SLURM_CPUS_PER_TASK:-$CPUS}
# Outside of the heap: the JVM itself, Python workers, page cache that counts for the job.
BESIDE=$((MEMORY / 5 > 512 ? MEMORY / 5 : 512))
[ "$BESIDE" -ge "$MEMORY" ] && BESIDE=$((MEMORY / 2))

export SPARK_CONF_DIR=$JOB_DIR/conf SPARK_LOCAL_DIRS=$SCRATCH/spark
export MILLRACE_STATE=$JOB_DIR/state MILLRACE_INPUTS=$HELD MILLRACE_OUTPUTS=$JOB_DIR/outputs
export PYTHONPATH=$HELD/$CODE
mkdir -p "$SPARK_LOCAL_DIRS" state
if [ -n "$JARS" ]; then
    # Where the application looks for its archives, executors' class path included.
    mkdir -p toolchain/jars && ln -sfn "$JARS" toolchain/jars/spark
    export MILLRACE_TOOLCHAIN=$JOB_DIR/toolchain
fi
SECRET=$(head -c 32 /dev/urandom | base64 | tr -d '/+=\n')
{
    printf '%s\n' "spark.authenticate true" "spark.authenticate.secret $SECRET" \
        "spark.eventLog.enabled true" "spark.eventLog.dir file://$JOB_DIR/events" \
        "spark.ui.enabled false" "spark.ui.showConsoleProgress false" "spark.sql.session.timeZone UTC" \
        "spark.executorEnv.PYTHONPATH $PYTHONPATH"
    [ -n "$JARS" ] && printf '%s\n' "spark.driver.extraClassPath $JARS/*" "spark.executor.extraClassPath $JARS/*"
} > conf/spark-defaults.conf
unset SECRET

if [ "$NODES" -eq 1 ]; then
    MASTER="local[$CORES]"
    SIZES=(--driver-memory "$((MEMORY - BESIDE))m")
else
    # The driver lives on the first node: its share is taken from every worker, as these are all of one size.
    DRIVER=$((MEMORY / 5 > 512 ? MEMORY / 5 : 512))
    EXECUTOR=$((MEMORY - BESIDE - DRIVER))
    [ "$EXECUTOR" -ge 512 ] || fail 78 "$MEMORY MiB per node are too few for driver, worker and executor"
    export SPARK_DAEMON_MEMORY=256m SPARK_MASTER_OPTS="-XX:+UseSerialGC" SPARK_WORKER_OPTS="-XX:+UseSerialGC"
    HOST=${MASTER_HOST:-$(hostname -f 2> /dev/null || uname -n)}
    # Executors of other nodes must find the driver; the application sets it from here.
    export MILLRACE_DRIVER_HOST=$HOST
    # Workers start beside the master: its port has to be known before it listens.
    PORT=$((20000 + ${SLURM_JOB_ID//[^0-9]/} % 20000))
    MASTER=spark://$HOST:$PORT
    "$SPARK_HOME/bin/spark-class" org.apache.spark.deploy.master.Master --host "$HOST" --port "$PORT" --webui-port 0 \
        > logs/master.log 2>&1 &
    PIDS+=($!)
    srun --export=ALL --nodes="$NODES" --ntasks-per-node=1 --cpus-per-task="$CORES" --kill-on-bad-exit=0 \
        --output="$JOB_DIR/logs/worker-%t.log" "$SPARK_HOME/bin/spark-class" org.apache.spark.deploy.worker.Worker \
        --cores "$CORES" --memory "${EXECUTOR}m" --webui-port 0 --work-dir "$SCRATCH/work" "$MASTER" &
    PIDS+=($!)
    SIZES=(--driver-memory "${DRIVER}m" --executor-memory "${EXECUTOR}m" --conf "spark.driver.host=$HOST"
        --conf spark.scheduler.minRegisteredResourcesRatio=1.0
        --conf spark.scheduler.maxRegisteredResourcesWaitingTime=60s)
    (
        for _ in $(seq 1 "${WORKER_WAIT_S:-120}"); do
            sleep 1
            grep -q 'Registering worker' logs/master.log && exit 0
        done
        note "no worker registered with the master: see logs/ in $JOB_DIR"
        kill -TERM $$
    ) &
    PIDS+=($!)
fi

# A task that is marked as failed in the second between its deferral and the start of its trigger tells nobody: Airflow
# calls no on_kill then. A job that was never asked about is such a one; Airflow was down, or nobody wants it any more.
(
    sleep "${UNWATCHED_S:-900}"
    [ -e watched ] && exit 0
    note "nobody has asked about this job for ${UNWATCHED_S:-900} s: it ends"
    : > .unwatched
    kill -TERM $$
) &
PIDS+=($!)

if [ "$DETACHED" = yes ] && [ "$TIME_LIMIT_S" -gt 0 ]; then
    (sleep "$((TIME_LIMIT_S - SIGNAL_S))" && kill -TERM $$) > /dev/null 2>&1 &
    PIDS+=($!)
fi

WORDS=()
for word in "${ARGS[@]:-}"; do
    word=${word//'@inputs@'/$HELD}
    word=${word//'@outputs@'/$JOB_DIR/outputs}
    WORDS+=("${word//'@job@'/$JOB_DIR}")
done
[ "${#ARGS[@]}" -eq 0 ] && WORDS=()
note "$MASTER ${SIZES[*]} on $NODE with $MEMORY MiB, restart $RESTART, after $(($(now) - BEGAN)) s"
state running
"$SPARK_HOME/bin/spark-submit" --master "$MASTER" "${SIZES[@]}" "$HELD/$CODE/$APPLICATION" ${WORDS[@]+"${WORDS[@]}"} &
APP_PID=$!
wait "$APP_PID"
CODE_OF_APP=$?
APP_PID=
# Applications of the platform file their result by run and try; there is one per job.
if [ ! -e result.json ]; then
    for found in $(find state/runs -name result.json 2> /dev/null | head -n 1); do
        cp "$found" .result.tmp && mv -f .result.tmp result.json
    done
fi
stop_all
if [ "$CODE_OF_APP" -eq 0 ]; then state finished 0; else state failed "$CODE_OF_APP"; fi
note "the application ended with $CODE_OF_APP after $(($(now) - BEGAN)) s"
exit "$CODE_OF_APP"
