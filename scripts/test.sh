#!/usr/bin/env bash
# Tests every Go module with the race detector, then the clients and the dashboard,
# and says which packages took longest.
set -euo pipefail
cd "$(dirname "$0")/.."
times=$(mktemp)
trap 'rm -f "$times"' EXIT
failed=0

for module in $(scripts/modules.sh); do
    # The clients' module is run by its own script below, with what it needs.
    [ "$module" != ./test/clients ] || continue
    # Nothing runs in parallel in some but programs, and their libraries are large.
    race=-race
    case $module in ./test/deploy | ./tools/release) race= ;; esac
    (cd "$module" && go test $race -count=1 -p 2 -timeout 10m ./...) | tee -a "$times" || failed=1
done
# The race detector's build does not make the system calls that the program makes.
go test -count=1 -timeout 5m ./internal/poll ./internal/upstream/wire | tee -a "$times" || failed=1
if [ -x scripts/test-clients.sh ]; then
    scripts/test-clients.sh || failed=1
fi
scripts/test-dashboard.sh || failed=1

echo 'slowest packages:'
awk '$1 == "ok" || $1 == "FAIL" { if ($3 ~ /s$/) print "  " $3, $2 }' "$times" | sort -k1,1 -rn | head -n 5
exit $failed
