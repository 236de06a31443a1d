# submit BASE NAME GENERATION SCRIPT ESCALATED: exactly one job for this generation, whatever happened before.
# SCRIPT is the content hash of a staged object. ESCALATED is empty, or the state that more was asked for.
main() {
    local home=$1/jobs/$2 name=$2.g$3 folder=$1/jobs/$2/g$3 id='' how=NEW ended='' try
    mkdir -p "$folder" || stop place "cannot make $folder"
    lock "$home/.lock"
    if [ -s "$folder/job.id" ]; then
        how=OLD id=$(head -n 1 "$folder/job.id")
    elif [ -e "$folder/rejected" ] || [ -e "$folder/killed" ]; then
        stop closed "generation $3 is over: $(ls "$folder" | tr '\n' ' ')"
    else
        # An earlier submission got as far as sbatch and nobody heard its answer: its job may already be over.
        [ -e "$folder/submitting" ] && ended=ended
        id=$(queue_find "$name" "$ended" "$folder")
        case $id in PROBLEM*) printf '%s\n' "$id"; say END; exit 0 ;; esac
        if [ -n "$id" ]; then
            how=FOUND
        else
            cp "$1/objects/$4" "$folder/.job.sh.tmp" && mv -f "$folder/.job.sh.tmp" "$folder/job.sh" ||
                stop script "the script $4 is not in $1/objects"
            [ -z "$5" ] || save "$folder/escalated" "$5"
            save "$folder/submitting" "$(date +%s)"
            if ! id=$(queue_submit "$name" "$folder") || [ -z "$id" ]; then
                if queue_unsure "$folder/.sbatch.err"; then
                    # "Failed to submit" and yet there is a job: seen at many sites.
                    for try in 1 2 3; do
                        sleep "${UNSURE_PAUSE:-2}"
                        id=$(queue_find "$name" ended "$folder")
                        case $id in PROBLEM*) id='' ;; esac
                        [ -n "$id" ] && break
                    done
                    [ -n "$id" ] || stop unsure "$(cat "$folder/.sbatch.err")"
                    how=FOUND
                else
                    save "$folder/rejected" "$(date +%s)"
                    stop refused "$(cat "$folder/.sbatch.err")"
                fi
            fi
        fi
        save "$folder/job.id" "$id"
    fi
    say "ANSWER $how $id $folder"
    say END
}
