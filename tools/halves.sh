#!/usr/bin/env bash
# halves.sh - pytest on all tests, half of them at a time, each half on one of two cores.
#
#     [FIRST=VARIABLE=VALUE] tools/halves.sh LOG .venv/bin/pytest [options]
#
# What the first half says stands in LOG meanwhile, and is printed when both have ended. It fails if either half
# does. FIRST sets a variable of the environment for the first half only.
set -euo pipefail
cd "$(dirname "$0")/.."
log=$1
shift

# Ends as the rest of the arguments do, and writes how, and after how long.
half() {
    local name=$1 done=0
    shift
    "$@" || done=$?
    echo "halves.sh: the $name half took $SECONDS s, exit status $done" >>"$log.ends"
    return $done
}

mkdir -p "$(dirname "$log")"
rm -f "$log.ends"
first=(tests/core tests/golden tests/layers tests/promises)
done=0
half first env ${FIRST:+"$FIRST"} "$@" "${first[@]}" >"$log" 2>&1 &
half second "$@" tests "${first[@]/#/--ignore=}" || done=$?
wait $! || done=$?
cat "$log" "$log.ends"
exit $done
