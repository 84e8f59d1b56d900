#!/usr/bin/env bash
# tsan.sh - runs tests on a build with ThreadSanitizer: tsan.sh BIN [pytest arguments].
#
# Python and NumPy are not instrumented. Reports from their code are left out. Address randomization is off
# since older gcc's shadow map needs it. die_after_fork=0 lets a child start threads whose parent had some.
#
# Left out: predicting with weights that another thread trains is a race by intent (old or new, never lost).
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$1
shift

rm -rf build/tsan
CC=gcc CDL_SANITIZE=thread "$bin/python" setup.py -q build --build-lib build/tsan
PYTHONPATH=$PWD/build/tsan:$PWD PYTHONSAFEPATH=1 \
    TSAN_OPTIONS="ignore_noninstrumented_modules=1 report_signal_unsafe=0 allocator_may_return_null=1 die_after_fork=0" \
    setarch "$(uname -m)" -R env LD_PRELOAD="$(gcc -print-file-name=libtsan.so)" \
    "$bin/python" "$bin/pytest" -p no:cacheprovider --capture=sys -m "not measures and not builds" "$@" \
    --deselect tests/promises/test_reentrance.py::test_a_model_predicts_in_one_thread_while_it_trains_in_another \
    --deselect tests/layers/test_folded_normalization.py::test_threads_that_predict_while_another_trains_end_with_its_weights
