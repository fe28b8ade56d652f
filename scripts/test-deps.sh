#!/usr/bin/env bash
# Finds the programs that tests and benchmarks need, or installs Debian's
# packages of them: scripts/test-deps.sh NAME...
# Names: nginx redis-server postgresql pgbouncer prometheus chromium node npm gcc systemd
set -euo pipefail

usage() {
    sed -n '2,4s/^# //p' "$0" >&2
    exit 2
}

# find_program NAME: prints where it is.
find_program() {
    case $1 in
    # Debian keeps the server's programs off the PATH, a folder for each version.
    postgresql)
        command -v initdb || ls -d /usr/lib/postgresql/*/bin/initdb 2>/dev/null | sort -V | tail -n 1 | grep . ;;
    nginx) command -v nginx || command -v /usr/sbin/nginx ;;
    pgbouncer) command -v pgbouncer || command -v /usr/sbin/pgbouncer ;;
    prometheus) command -v promtool >/dev/null && command -v prometheus ;;
    redis-server) command -v redis-server || command -v valkey-server ;;
    chromium) command -v chromium || command -v chromium-browser || command -v google-chrome ;;
    systemd) command -v systemd-analyze ;;
    node | npm | gcc) command -v "$1" ;;
    esac
}

package() {
    case $1 in
    node) echo nodejs ;;
    gcc) echo gcc libc6-dev ;;
    *) echo "$1" ;;
    esac
}

[ $# -gt 0 ] || usage
missing=()
for name in "$@"; do
    [[ " nginx redis-server postgresql pgbouncer prometheus chromium node npm gcc systemd " == *" $name "* ]] || usage
    if at=$(find_program "$name"); then
        echo "$name: $at"
    else
        read -ra packages <<<"$(package "$name")"
        missing+=("${packages[@]}")
    fi
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" != 0 ]; then
    as_root=(sudo -n)
fi
if ! command -v apt-get >/dev/null || ! "${as_root[@]}" true 2>/dev/null; then
    echo "Tests need ${missing[*]} (names of Debian packages), and this user cannot install them: please do, and run this again." >&2
    exit 1
fi

# A server that is installed would be started as a service, for good. What
# policy-rc.d answers with 101 stays off; the machine's own policy comes back.
policy=/usr/sbin/policy-rc.d
kept=
restore() {
    "${as_root[@]}" rm -f "$policy"
    if [ -n "$kept" ]; then
        "${as_root[@]}" mv "$kept" "$policy"
    fi
}
if [ -e "$policy" ]; then
    kept=$policy.kept.$$
    "${as_root[@]}" mv "$policy" "$kept"
fi
trap restore EXIT
printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
"${as_root[@]}" chmod 755 "$policy"

echo "installing ${missing[*]}"
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300)
"${apt[@]}" update
"${apt[@]}" install --yes --no-install-recommends "${missing[@]}" >/dev/null

for name in "$@"; do
    if ! at=$(find_program "$name"); then
        echo "$name: its package is installed, but the program is not where it should be" >&2
        exit 1
    fi
    echo "$name: $at"
done
