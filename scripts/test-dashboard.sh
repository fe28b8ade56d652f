#!/usr/bin/env bash
# Drives the dashboard of the built vega-proxy in a real Chromium.
# test/dashboard/README.md says more. Screenshots are left in bin/dashboard.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:/usr/local/go/bin"
log=$(mktemp)
trap 'rm -f "$log"' EXIT

scripts/test-deps.sh chromium node npm
make --no-print-directory build
(cd test/dashboard && timeout 300 npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) || {
    echo 'dashboard tests: npm ci failed: it needs the registry that npm is configured for, or its cache' >&2
    exit 1
}
status=0
(cd test/dashboard && timeout --kill-after=5 300 node --test --test-concurrency=1 --test-reporter=spec) >"$log" 2>&1 || status=$?
count=$(sed -nE 's/^.*\btests ([0-9]+)$/\1/p' "$log" | tail -n 1)
if [ $status != 0 ]; then
    cat "$log"
elif [ "${count:-0}" = 0 ]; then
    echo 'dashboard tests: none ran' >&2
    status=1
fi
echo "dashboard in Chromium: ${count:-no} tests ran and $([ $status = 0 ] && echo passed || echo FAILED), ${SECONDS} s; screenshots in bin/dashboard"
exit $status
