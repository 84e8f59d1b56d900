#!/usr/bin/env bash
# halves.sh - pytest on all tests, half of them at a time, each half on one of two cores.
#
#     tools/halves.sh LOG .venv/bin/pytest [options]
#
# What the first half says stands in LOG meanwhile, and is printed when both have ended.
set -euo pipefail
cd "$(dirname "$0")/.."
log=$1
shift

mkdir -p "$(dirname "$log")"
first=(tests/core tests/golden tests/layers tests/promises)
"$@" "${first[@]}" >"$log" 2>&1 &
done=0
"$@" tests "${first[@]/#/--ignore=}" || done=$?
wait $! || done=$?
cat "$log"
exit $done
