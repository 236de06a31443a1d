# kill FOLDER NAME [ID]: no later try may take this job for its own, then its end.
main() {
    local id=${3:-}
    mkdir -p "$1" && : > "$1/killed"
    [ -z "$id" ] && [ -s "$1/job.id" ] && id=$(head -n 1 "$1/job.id")
    [ -z "$id" ] && id=$(queue_find "$2" '' "$1")
    case $id in PROBLEM*) printf '%s\n' "$id"; say END; exit 0 ;; esac
    [ -n "$id" ] && queue_cancel "$id" "$2"
    say "KILLED ${id:-none}"
    say END
}
