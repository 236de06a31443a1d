# keep UPLOADED SHA256 OBJECT: an upload becomes an object only when it is whole.
main() {
    local found
    found=$(sha256sum < "$1" | cut -d' ' -f1)
    if [ "$found" != "$2" ]; then
        rm -f "$1"
        stop transfer "$1 arrived with the checksum $found"
    fi
    chmod 600 "$1" && mv -f "$1" "$3"
    say END
}
