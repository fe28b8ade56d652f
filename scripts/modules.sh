#!/usr/bin/env bash
# Prints the folder of each Go module of the repository, the main one first.
set -euo pipefail
cd "$(dirname "$0")/.."
find . -name node_modules -prune -o -name testdata -prune -o -name go.mod -printf '%h\n' | LC_ALL=C sort
