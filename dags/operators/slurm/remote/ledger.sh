# Functions that every remote script begins with. A job's folder is <base>/jobs/<name>/g<generation>:
#   job.sh  job.id  state.json  result.json  output.log   and the marks  submitting rejected killed ended consumed
set -u
umask 077
export LC_ALL=C

say() { printf '%s\n' "$*"; }
packed() { base64 | tr -d '\n'; }
stop() { say "PROBLEM $1 $(printf '%s' "$2" | packed)"; say END; exit 0; }

# Written whole or not at all.
save() { printf '%s\n' "$2" > "$1.tmp.$$" && mv -f "$1.tmp.$$" "$1"; }

# Only these two names are expanded in a configured path.
resolved() {
    local path=$1
    path=${path//'$HOME'/$HOME}
    printf '%s' "${path//'$USER'/$(id -un)}"
}

# One submission of one task at a time, also from two login nodes. Lustre may be mounted without flock: then a folder is
# the lock, and one that is older than any submission can take is a dead one's.
lock() {
    exec 9> "$1"
    flock -w 60 9 2> /dev/null
    case $? in
    0) return 0 ;;
    1) stop busy "another submission of this task holds $1" ;;
    esac
    local waited=0
    until mkdir "$1.d" 2> /dev/null; do
        [ -n "$(find "$1.d" -maxdepth 0 -mmin +5 2> /dev/null)" ] && rmdir "$1.d"
        waited=$((waited + 1))
        [ "$waited" -gt 60 ] && stop busy "another submission of this task holds $1.d"
        sleep 1
    done
    # shellcheck disable=SC2064 # the path is known now
    trap "rmdir '$1.d'" EXIT
}

marks() {
    local mark
    for mark in submitting rejected killed ended consumed escalated; do
        [ -e "$1/$mark" ] && say "MARK $mark $(head -c 100 "$1/$mark" | head -n 1)"
    done
    return 0
}
