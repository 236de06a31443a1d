# have BASE NAME...: which of these objects the cluster has. Sites delete what nobody touched for weeks.
main() {
    local base=$1 name
    shift
    # Half transfers of a day ago will not be finished.
    find "$base/objects" -maxdepth 1 -name '.upload-*' -mtime +0 -delete 2> /dev/null
    for name in "$@"; do
        [ -s "$base/objects/$name" ] && touch "$base/objects/$name" && say "HAVE $name"
    done
    say END
}
