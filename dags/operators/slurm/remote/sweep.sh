# sweep BASE DAYS: jobs that are over and that nobody touched for so many days go, and so do objects that no job used
# since. A job that the queue still knows keeps its folder, and keeps every object: which of them it reads is its secret.
main() {
    local base days=$2 home folder id rows jobs=0 kept=0 objects=0 kib=0 size alive=' '
    base=$(resolved "$1")
    [ -d "$base/jobs" ] || { say "SWEPT 0 0 0 0 0"; say END; return 0; }
    [ -O "$base" ] || stop place "$base belongs to another user"
    IDS=() NAMES=() DIRS=()
    for folder in "$base"/jobs/*/g*/; do
        folder=${folder%/}
        [ -s "$folder/job.id" ] && ! over "$folder" || continue
        IDS+=("$(head -n 1 "$folder/job.id")") DIRS+=("$folder")
        home=${folder%/*} NAMES+=("${home##*/}.${folder##*/}")
    done
    if [ "${#IDS[@]}" -gt 0 ]; then
        rows=$(queue_rows)
        case $rows in *PROBLEM*) printf '%s\n' "$rows"; exit 0 ;; esac
        alive=" $(printf '%s\n' "$rows" | grep '^QUEUE ' | cut -d' ' -f2- | grep -E '\|(PENDING|RUNNING|CONFIGURING|COMPLETING|SUSPENDED)\|' | cut -d'|' -f1 | tr '\n' ' ')"
    fi
    for home in "$base"/jobs/*/; do
        home=${home%/}
        [ -d "$home" ] || continue
        size=$(du -sk "$home" 2> /dev/null | cut -f1)
        if is_idle "$home" "$alive" && (alone "$home" && untouched "$home" "$days" && rm -rf "$home"); then
            jobs=$((jobs + 1)) kib=$((kib + ${size:-0}))
        else
            kept=$((kept + 1))
        fi
    done
    if [ "$alive" = ' ' ]; then
        while IFS= read -r folder; do
            size=$(du -sk "$folder" 2> /dev/null | cut -f1)
            rm -rf "$folder" && objects=$((objects + 1)) kib=$((kib + ${size:-0}))
        done < <(find "$base/objects" -mindepth 1 -maxdepth 1 ! -newermt "$days days ago" 2> /dev/null)
    fi
    say "SWEPT $jobs $objects $kib $kept $(printf '%s' "$alive" | wc -w)"
    say END
}

over() { [ -e "$1/ended" ] || [ -e "$1/consumed" ] || [ -e "$1/killed" ] || [ -e "$1/rejected" ]; }

untouched() { [ -z "$(find "$1" -mindepth 1 ! -name '.lock*' -newermt "$2 days ago" -print -quit)" ]; }

is_idle() {
    local id
    for id in $(cat "$1"/g*/job.id 2> /dev/null); do
        case $2 in *" $id "*) return 1 ;; esac
    done
}

# No submission of this task is under way, and none begins; the lock ends with the process that asked.
alone() {
    [ ! -e "$1/.lock.d" ] || return 1
    exec 9> "$1/.lock" || return 1
    flock -n 9 2> /dev/null
    [ $? -ne 1 ]
}
