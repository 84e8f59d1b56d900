#!/usr/bin/env bash
# asan.sh - the suite on the build in build/asan, which has AddressSanitizer and UBSan.
#
#     tools/asan.sh .venv/bin [tests and options of pytest]
#
# pytest's own fault handler would put itself between a fault and its report, and older gcc aligns the fake
# stack of detect_stack_use_after_return to 32 bytes only: AVX-512 faults on it.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$1
shift

library() { gcc -print-file-name="$1"; }

sanitized=(env "PYTHONPATH=$PWD/build/asan:$PWD" PYTHONSAFEPATH=1 PYTHONMALLOC=malloc
    ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=0:allocator_may_return_null=1
    UBSAN_OPTIONS=print_stacktrace=1
    "LD_PRELOAD=$(library libasan.so) $(library libubsan.so) $(library libstdc++.so.6)"
    "$bin/pytest" -p no:cacheprovider -p no:faulthandler --capture=sys
    -m "not measures and not builds")

if [ $# -gt 0 ]; then
    "${sanitized[@]}" "$@"
else
    tools/halves.sh build/asan-first.log "${sanitized[@]}"
fi
