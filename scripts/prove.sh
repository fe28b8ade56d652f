#!/usr/bin/env bash
# Runs the long campaigns: the tests that only the build tag "prove" has.
set -euo pipefail
cd "$(dirname "$0")/.."

files=$(git grep --untracked -lE '^//go:build .*\bprove\b' -- '*_test.go' || true)
[ -n "$files" ] || { echo 'there is no campaign: no test has the build tag "prove"' >&2; exit 1; }
echo 'campaigns, beside the usual tests:'
# shellcheck disable=SC2086 # names of Go files have no spaces
grep -HoE '^func Test\w+' $files | sed 's/^\(.*\)\/[^/]*:func /  \1: /' | sort
exec go test -tags prove -count=1 -timeout 30m ./...
