#!/usr/bin/env bash
# A Docker Engine with Compose and BuildKit for a machine that has none and reaches Debian's packages alone, and a base
# image from Debian under the name that the Dockerfile asks for. Needs root on Debian 12; nothing is installed but
# iptables, runc and debootstrap, everything else stays under FOLDER.
#
#   engine.sh start FOLDER     prints the variables to export
#   engine.sh stop FOLDER      ends the engine and takes its network away; the images stay
set -euo pipefail
action=${1:?start or stop} folder=$(mkdir -p "${2:?a folder}" && cd "$2" && pwd)
base=python:3.11-slim-bookworm
export PATH="$folder/x/usr/bin:$folder/x/usr/sbin:$PATH"
export DOCKER_HOST="unix://$folder/run/docker.sock" DOCKER_CONFIG="$folder/config" DEBIAN_FRONTEND=noninteractive

stop() {
    local pid
    pid=$(cat "$folder/run/dockerd.pid" 2>/dev/null || true)
    if [ -n "$pid" ] && kill "$pid" 2>/dev/null; then
        while kill -0 "$pid" 2>/dev/null; do sleep 0.2; done
    fi
    ip link delete docker0 2>/dev/null || true
}

# The mirror that this machine uses already, asked of apt itself.
mirror() {
    apt-get indextargets --format '$(REPO_URI)' "Created-By: Packages" | grep -v security | sort -u | head -1
}

fetch() {
    # The engine is of this release; Compose and BuildKit came with the next one.
    local next="$folder/apt"
    mkdir -p "$folder"/{deb,x,run,data,exec,config/cli-plugins} "$next"/{lists,cache/archives}/partial
    apt-get install --yes -qq --no-install-recommends iptables runc debootstrap >/dev/null
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(mirror) trixie main" >"$next/sources.list"
    local options=(
        -o Dir::Etc::sourcelist="$next/sources.list" -o Dir::Etc::sourceparts=/dev/null
        -o Dir::State::lists="$next/lists" -o Dir::Cache="$next/cache" -o APT::Sandbox::User=root
    )
    (
        cd "$folder/deb"
        apt-get download -qq docker.io containerd
        apt-get "${options[@]}" -qq update
        apt-get "${options[@]}" download -qq docker-compose docker-buildx
        for package in *.deb; do dpkg --extract "$package" "$folder/x"; done
    ) >&2
    ln -sf "$folder"/x/usr/libexec/docker/cli-plugins/* "$folder/config/cli-plugins/"
}

make_base() {
    local root="$folder/root"
    rm -rf "$root"
    debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv bookworm "$root" "$(mirror)" \
        >"$folder/run/debootstrap.log" 2>&1
    ln -sf /usr/bin/python3 "$root/usr/local/bin/python3"
    ln -sf /usr/bin/python3 "$root/usr/local/bin/python"
    # What this machine trusts, for apt and pip inside builds.
    cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
    rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/*
    tar -C "$root" -c . | docker import --change 'CMD ["python3"]' - "$base" >/dev/null
    rm -rf "$root"
}

start() {
    [ -x "$folder/x/usr/sbin/dockerd" ] || fetch
    if ! docker info >/dev/null 2>&1; then
        rm -f "$folder/run/dockerd.pid"
        # Never above the limit that this process has: raising it may not be allowed.
        local files
        files=$(ulimit -Hn)
        setsid dockerd --data-root "$folder/data" --exec-root "$folder/exec" --host "$DOCKER_HOST" \
            --pidfile "$folder/run/dockerd.pid" --default-ulimit "nofile=$files:$files" \
            >"$folder/run/dockerd.log" 2>&1 </dev/null &
        for _ in $(seq 60); do
            if docker info >/dev/null 2>&1; then break; fi
            sleep 0.5
        done
    fi
    if ! docker info >/dev/null; then
        tail -5 "$folder/run/dockerd.log" >&2
        return 1
    fi
    docker image inspect "$base" >/dev/null 2>&1 || make_base
    echo "export PATH=$folder/x/usr/bin:$folder/x/usr/sbin:\$PATH DOCKER_HOST=$DOCKER_HOST DOCKER_CONFIG=$DOCKER_CONFIG"
}

"$action"
