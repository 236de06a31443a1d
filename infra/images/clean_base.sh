#!/usr/bin/env bash
# Takes out of a base image what no running container needs: package tools of Python, downloads, caches, manuals, and the
# set-user-id bits of programs that would let a process become somebody else. Runs in a build, as root.
set -euo pipefail

mapfile -t unwanted < <(dpkg-query --show --showformat='${Package}\n' \
    python3-pip python3-venv python3.11-venv python3-wheel curl 2>/dev/null || true)
if [ "${#unwanted[@]}" -gt 0 ]; then
    apt-get purge --yes --auto-remove "${unwanted[@]}"
fi
# An image that was made from Python's own sources has them as packages of Python.
rm -rf /usr/local/lib/python3*/site-packages/{pip,setuptools,wheel}{,-*} /usr/local/lib/python3*/ensurepip
rm -f /usr/local/bin/{pip,pip3,pip3.*,wheel}

find / -xdev -type f -perm /6000 -exec chmod ug-s {} +
rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/* /root/.cache /usr/share/locale/* /tmp/*
find /usr/share/man -type f -delete
# Java's package links its manuals there.
mkdir -p /usr/share/man/man1
