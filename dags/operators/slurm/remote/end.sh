# end FOLDER ID LINES: what is needed to report an end: usage, the last lines, the run result, the partitions.
main() {
    queue_usage "$2"
    [ -s "$1/usage.json" ] && say "OWNUSAGE $(tr -d '\n' < "$1/usage.json")"
    [ -s "$1/state.json" ] && say "STATE $2 $(tr -d '\n' < "$1/state.json")"
    [ -e "$1/output.log" ] && say "TAIL $(tail -n "$3" "$1/output.log" | tail -c 60000 | packed)"
    [ -s "$1/result.json" ] && say "RESULT $(packed < "$1/result.json")"
    queue_partitions
    say END
}
