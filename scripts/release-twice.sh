#!/usr/bin/env bash
# Builds the release of the last commit twice, in folders of different names and
# depth and with caches of their own, and compares every byte.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'chmod -R u+w "$work" && rm -rf "$work"' EXIT
version=$(git describe --always)

for place in one another/and/deeper; do
    git clone --quiet --no-local . "$work/$place"
    (cd "$work/$place/tools/release" &&
        GOCACHE=$work/cache-${place%%/*} go run . -root ../.. -o "$work/release-${place%%/*}" -version "$version")
done
diff --recursive "$work/release-one" "$work/release-another"
(cd "$work/release-one" && cat SHA256SUMS && ls -l)
echo "both releases of $version are the same, byte for byte"
