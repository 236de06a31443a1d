# look BASE NAME: what the ledger and the queue know about the newest submission of a task.
main() {
    local base folder id='' generation=-1 path number
    base=$(resolved "$1")
    mkdir -p "$base/jobs" "$base/objects" && chmod 700 "$base" || stop place "cannot use $base on $(uname -n)"
    [ -O "$base" ] || stop place "$base belongs to another user"
    say "BASE $base"
    for path in "$base/jobs/$2"/g*; do
        number=${path##*/g}
        [ -d "$path" ] && [ "$number" -gt "$generation" ] && generation=$number
    done
    say "GENERATION $generation"
    if [ "$generation" -ge 0 ]; then
        folder=$base/jobs/$2/g$generation
        marks "$folder"
        [ -s "$folder/job.id" ] && id=$(head -n 1 "$folder/job.id")
        if [ -n "$id" ]; then
            say "ID $id"
            IDS=("$id") NAMES=("$2.g$generation") DIRS=("$folder")
            queue_rows
            [ -s "$folder/state.json" ] && say "STATE $id $(tr -d '\n' < "$folder/state.json")"
        fi
    fi
    say END
}
