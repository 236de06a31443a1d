# poll: one line per job on standard input: id, name, folder, how much of the log was read (-1: as noted), reader.
# LOG_BYTES of new log at most per job; a log that grew by more is shown from its end.
main() {
    local id name folder from reader size i line
    IDS=() NAMES=() DIRS=()
    local -a froms=() readers=()
    while read -r id name folder from reader; do
        [ -n "$id" ] || continue
        IDS+=("$id") NAMES+=("$name") DIRS+=("$folder") froms+=("$from") readers+=("$reader")
    done
    queue_rows
    for i in "${!IDS[@]}"; do
        id=${IDS[$i]} folder=${DIRS[$i]} from=${froms[$i]} reader=${readers[$i]}
        [ -e "$folder/watched" ] || : > "$folder/watched" 2> /dev/null
        size=$(stat -c %s "$folder/output.log" 2> /dev/null || echo 0)
        if [ "$from" -lt 0 ]; then
            # A watcher that was restarted goes on where its predecessor stopped.
            from=0
            read -r line from < "$folder/.read" 2> /dev/null
            [ "${line:-}" = "$reader" ] || from=0
        fi
        say "LOG $id ${from:-0} $size"
        if [ "$size" -gt "${from:-0}" ]; then
            [ $((size - from)) -gt "$LOG_BYTES" ] && from=$((size - LOG_BYTES))
            say "TEXT $id $from $(tail -c "+$((from + 1))" "$folder/output.log" | head -c $((size - from)) | packed)"
            save "$folder/.read" "$reader $size" 2> /dev/null
        fi
        [ -s "$folder/state.json" ] && say "STATE $id $(tr -d '\n' < "$folder/state.json")"
        [ -e "$folder/killed" ] && say "KILLED $id"
    done
    say END
}
