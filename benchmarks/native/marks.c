/* marks.c - tells callgrind when to count; does nothing outside of valgrind. */
#include <valgrind/callgrind.h>

void mark_start(void) {
    CALLGRIND_START_INSTRUMENTATION;
    CALLGRIND_ZERO_STATS;
}

void mark_end(const char *name) {
    CALLGRIND_DUMP_STATS_AT(name);
    CALLGRIND_STOP_INSTRUMENTATION;
}

int under_valgrind(void) { return (int)RUNNING_ON_VALGRIND; }
