#!/usr/bin/env bash
# Runs every fuzz target of the main module for a while (FUZZTIME, 10s by
# default), one after the other.
set -euo pipefail
cd "$(dirname "$0")/.."

# A package's targets are listed before the line that ends with its name.
targets=$(go test -list '^Fuzz' ./... | awk '/^Fuzz/ { names[n++] = $1 } $1 == "ok" { for (i = 0; i < n; i++) print $2, names[i]; n = 0 }')
[ -n "$targets" ] || { echo 'there is no fuzz target' >&2; exit 1; }
while read -r package name; do
    echo "--- $name in $package"
    go test -run '^$' -fuzz "^$name\$" -fuzztime "${FUZZTIME:-10s}" "$package"
done <<<"$targets"
