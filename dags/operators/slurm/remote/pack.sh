# pack FOLDER: a tar of the files named on standard input (one a line, relative to FOLDER/outputs), and its checksum.
main() {
    cat > "$1/.wanted" || stop place "cannot write to $1"
    tar -C "$1/outputs" -cf "$1/.outputs.tar.tmp" -T "$1/.wanted" 2> "$1/.pack.err" || stop missing "$(cat "$1/.pack.err")"
    mv -f "$1/.outputs.tar.tmp" "$1/.outputs.tar"
    say "PACKED $1/.outputs.tar $(sha256sum < "$1/.outputs.tar" | cut -d' ' -f1)"
    say END
}
