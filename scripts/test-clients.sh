#!/usr/bin/env bash
# Drives the built vega-proxy with the official clients of OpenAI and Ollama, in
# Go and in Node. Each set of tests gets proxies of its own, which are stopped
# at its end. test/clients/README.md says more.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:/usr/local/go/bin"
clients=$PWD/test/clients
work=$(mktemp -d)
running=() # "PID NAME" of the proxies
tests=     # PID of the tests that run
failed=0
summary=()

# The clients say that they need it; Debian 12 has an older one.
node_least=20

# give_up WHY [LOG]
give_up() {
    echo "client tests: $1" >&2
    [ -z "${2-}" ] || cat "$2" >&2
    exit 1
}

# start NAME COMMAND...: starts a proxy and puts its URL into $url.
start() {
    local name=$1 log=$work/$1.log pid address
    shift
    : >"$log" # there before the loop reads it
    # The backends of these tests fail on purpose and often: an open circuit
    # breaker would answer in their place.
    env -i VEGA_BREAKER_FAIL_THRESHOLD=1000000 VEGA_CACHE_POLICY="$CLIENTS_CACHE" bin/vega-proxy "$@" \
        --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 --data-dir "$work/$name" >"$log" 2>&1 &
    pid=$!
    running+=("$pid $name")
    for _ in {1..200}; do
        address=$(sed -n 's/.*"proxy listening","address":"\([^"]*\)".*/\1/p' "$log")
        if [ -n "$address" ]; then
            url=http://$address
            return
        fi
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.05
    done
    give_up "the proxy ($name) did not start:" "$log"
}

# stop: ends the proxies, which must end well, and within 10 seconds.
stop() {
    local one pid name status
    for one in "${running[@]}"; do
        kill "${one% *}" 2>/dev/null || true
    done
    for one in "${running[@]}"; do
        read -r pid name <<<"$one"
        for _ in {1..200}; do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.05
        done
        kill -9 "$pid" 2>/dev/null || true
        status=0
        wait "$pid" || status=$?
        if [ $status != 0 ]; then
            echo "client tests: the proxy ($name) ended with status $status:" >&2
            tail -n 20 "$work/$name.log" >&2
            failed=1
        fi
    done
    running=()
}

finish() {
    local status=$?
    trap - EXIT
    [ -z "$tests" ] || kill "$tests" 2>/dev/null || true
    stop
    rm -rf "$work"
    [ $status != 0 ] || status=$failed
    exit $status
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# run KIND COMMAND...: runs a set of tests before proxies of its own, whose cache
# policy is $CLIENTS_CACHE: clients must not notice where an answer comes from. What it
# prints is shown if it fails; the number of its tests is part of the summary.
run() {
    local kind=$1 log=$work/$1.log began=$SECONDS verdict=passed count
    shift
    start "$kind-demo" demo
    export CLIENTS_PROXY_URL=$url
    # Nobody listens on port 1.
    start "$kind-dead" serve --upstream http://127.0.0.1:1
    export CLIENTS_DEAD_URL=$url
    timeout --kill-after=5 90 "$@" >"$log" 2>&1 &
    tests=$! # in the background, so that a signal to this script ends them
    if ! wait "$tests"; then
        verdict=FAILED
        failed=1
        cat "$log"
    fi
    tests=
    count=$(sed -nE 's/^.*\btests ([0-9]+)$/\1/p; s/^go clients: ([0-9]+) tests ran$/\1/p' "$log" | tail -n 1)
    if [ "${count:-0}" = 0 ]; then
        verdict=FAILED
        failed=1
        echo "client tests: the $kind set ran no tests" >&2
    fi
    summary+=("$kind, cache $CLIENTS_CACHE: ${count:-no} tests ran and $verdict, $((SECONDS - began)) s")
    stop
}

# node_major: the major version of the node on the PATH, or 0.
node_major() {
    local version
    version=$(node --version 2>/dev/null) || version=v0
    version=${version#v}
    echo "${version%%.*}"
}

scripts/test-deps.sh node npm
if [ "$(node_major)" -lt $node_least ]; then
    echo "node $(node --version) is too old for the clients: taking node $node_least from npm"
    timeout 300 npm install --no-save --no-audit --no-fund --loglevel=error --prefix "$work/node" "node@$node_least" ||
        give_up "npm could not install node $node_least"
    export PATH="$work/node/node_modules/.bin:$PATH"
    [ "$(node_major)" -ge $node_least ] || give_up "npm's node $node_least does not start"
fi

make --no-print-directory build
(cd "$clients/go" && CGO_ENABLED=0 timeout 600 go test -c -o "$work/go-clients" .)
(cd "$clients/node" && timeout 300 npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) ||
    give_up 'npm ci failed: it needs the registry that npm is configured for, or its cache'

for CLIENTS_CACHE in off all; do
    export CLIENTS_CACHE
    run go env -C "$clients/go" "$work/go-clients" -test.timeout 80s
    run node env -C "$clients/node" node --test --test-concurrency=1 --test-reporter=spec
done

echo 'official clients against the built proxy:'
printf '  %s\n' "${summary[@]}"
