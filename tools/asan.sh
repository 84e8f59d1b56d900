#!/usr/bin/env bash
# asan.sh - the tests of what the core computes on the build in build/asan, which has AddressSanitizer and UBSan.
#
#     [EVERY=4] tools/asan.sh .venv/bin [tests and options of pytest]
#
# EVERY=4 runs each fourth test of a file, which is what CI has the time for.
# pytest's own fault handler would put itself between a fault and its report, and older gcc aligns the fake
# stack of detect_stack_use_after_return to 32 bytes only: AVX-512 faults on it.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$1
shift

# What the core can break is all run: kernels on every instruction set, the executor, layers, models, files (hostile
# ones too), fork, threads, memory. Left out unless it is named: what has no arithmetic of the core to watch.
left_out=(
    # names, texts and pages, which Python alone makes
    tests/test_{api_page,docstrings,floors,keras_names,listed_names,missing,near,public_names,reference,tracebacks}.py
    tests/site
    # guides, examples, benchmarks and large models: more of the same calls, for minutes
    tests/test_{applications,benchmarks,docs,doctests,examples,readme}.py
    tests/over_time
    tests/promises/test_machines.py
    # work of other processes: commands, compilers of exported C, workers of joblib and Dask, jobs that are killed
    tests/test_{main,scripts,source_folder}.py
    # names of TensorFlow and of Keras 2 for scripts, which call what all tests call
    tests/test_{legacy_names,tape,tensorflow,tensorflow_data,tensorflow_names,tensorflow_sources}.py
    tests/export/test_{c,integers}.py
    tests/distribution/test_{api,endings}.py
    # callbacks, estimators, data sets of files and drawings: Python around calls that tests of models make
    tests/{callbacks,estimators,explain,utils}
)
ls -d "${left_out[@]}" >/dev/null # fails for what there is not
left_out=("${left_out[@]/#/--ignore=}"
    # Before gcc 14 AddressSanitizer does not hold its locks while a process forks (llvm/llvm-project#75290): a child
    # may find one of them held by a thread that it does not have, and waits for it until its alarm.
    --deselect=tests/promises/test_fork.py::test_children_work_that_are_forked_while_other_threads_predict
    --deselect=tests/saving/test_exchange.py::test_keras_goes_on_with_ten_files_of_cdl) # Keras's work, for a minute

library() { gcc -print-file-name="$1"; }

# PYTHONMALLOC=malloc lets AddressSanitizer see small memory of Python's too, of which the binding makes what the core
# reads beside arrays, and takes twice the time; arrays come from malloc anyway.
export PYTHONMALLOC=${PYTHONMALLOC:-malloc}
sanitized=(env "PYTHONPATH=$PWD/build/asan:$PWD" PYTHONSAFEPATH=1
    ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=0:allocator_may_return_null=1
    UBSAN_OPTIONS=print_stacktrace=1
    "LD_PRELOAD=$(library libasan.so) $(library libubsan.so) $(library libstdc++.so.6)"
    "$bin/pytest" -p no:cacheprovider -p no:faulthandler --capture=sys
    -m "not measures and not builds")

if [ $# -gt 0 ]; then
    "${sanitized[@]}" "$@"
else
    tools/lanes.sh build/logs-asan "${sanitized[@]}" --every="${EVERY:-1}" "${left_out[@]}"
fi
