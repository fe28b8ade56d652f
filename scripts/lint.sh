#!/usr/bin/env bash
# Looks over every Go module without running its tests: format, vet, old idioms,
# staticcheck, a tidy go.mod; that it builds for all systems that are released, and
# that nothing ignored is committed.
set -euo pipefail
cd "$(dirname "$0")/.."
failed=0
notes=$(mktemp)
trap 'rm -f "$notes"' EXIT

# silent WHAT COMMAND...: the command must succeed and print nothing. What it
# says on standard error ("go: downloading ...") matters only if it fails.
silent() {
    local what=$1 out status=0
    shift
    out=$("$@" 2>"$notes") || status=$?
    if [ $status != 0 ] || [ -n "$out" ]; then
        printf -- '--- %s: %s\n' "$PWD" "$what"
        [ -z "$out" ] || printf '%s\n' "$out"
        [ $status = 0 ] || cat "$notes"
        failed=1
    fi
}

silent 'committed, though .gitignore names it' git ls-files --cached --ignored --exclude-standard
silent 'gofmt -l' gofmt -l .

staticcheck=$(go tool -n staticcheck) # modules other than the main one do not name it
for module in $(scripts/modules.sh); do
    pushd "$module" >/dev/null
    silent 'go vet' go vet ./...
    silent 'go vet -tags prove,faults' go vet -tags prove,faults ./...
    silent 'go fix -diff' go fix -diff ./...
    silent 'staticcheck' "$staticcheck" -tags prove,faults ./...
    silent 'go mod tidy -diff' go mod tidy -diff
    popd >/dev/null
done
for system in darwin freebsd; do # others that are released, see tools/release
    silent "go build for $system" env GOOS=$system CGO_ENABLED=0 go build ./...
done
exit $failed
