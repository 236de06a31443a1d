# mark FOLDER MARK TEXT: ended, consumed: what a later try must know about this generation.
main() {
    [ -d "$1" ] || stop place "$1 is gone"
    save "$1/$2" "$3"
    say END
}
