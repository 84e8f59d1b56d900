#!/usr/bin/env bash
# lanes.sh - pytest on all tests in parts, two at a time: who is done takes the next part.
#
#     tools/lanes.sh LOGS .venv/bin/pytest [options]
#
# What each part says stands in the folder LOGS, and is printed when the part has ended. LANES is how many run at a
# time. It fails if a part does, or if a part has no tests.
set -euo pipefail
cd "$(dirname "$0")/.."
export LOGS=$1
shift

# The longest come first, so that no lane is left alone with one of them at the end.
parts=(
    "tests/core"
    "tests/promises tests/golden"
    "tests/layers tests/trainers tests/saving"
    "tests/ops tests/models tests/losses tests/metrics tests/optimizers"
    "tests/data tests/distribution"
)
rest=tests
for folder in ${parts[*]}; do
    rest+=" --ignore=$folder"
done

# Ends as its tests do, and says how, and after how long.
part() {
    local name=$1 log done=0 began=$SECONDS
    shift
    log=$LOGS/$(tr -c 'a-z\n' '-' <<<"${name%% --*}").log
    # shellcheck disable=SC2086 # a part is a list of folders and options
    "$@" $name >"$log" 2>&1 || done=$?
    cat "$log"
    echo "lanes.sh: ${name%% --*} took $((SECONDS - began)) s, exit status $done" | tee -a "$LOGS/ends"
    return $done
}
export -f part

rm -rf "$LOGS"
mkdir -p "$LOGS"
done=0
printf '%s\n' "${parts[0]}" "$rest" "${parts[@]:1}" |
    xargs -P "${LANES:-2}" -d '\n' -I{} bash -c 'part "$@"' part {} "$@" || done=$?
cat "$LOGS/ends"
exit $done
