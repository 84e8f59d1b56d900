/* barrier.c - the barrier by itself: nobody passes early, and who waits long sleeps. */
#define _GNU_SOURCE
#include "base/threads.h"

#include <stdio.h>
#include <time.h>

enum { TURNS = 4000 };

static atomic_int arrived, early;
static double used;

static double cpu_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void meet(void *arg, struct cdl_team *team, int thread) {
    (void)arg;
    for (int turn = 1; turn <= TURNS; turn++) {
        atomic_fetch_add(&arrived, 1);
        cdl_barrier_wait(team, thread);
        if (atomic_load(&arrived) < turn * team->size) atomic_fetch_add(&early, 1);
        cdl_barrier_wait(team, thread);
        if (atomic_load(&arrived) > turn * team->size + team->size) atomic_fetch_add(&early, 1);
    }
}

/* Thread 0 is late by a second. */
static void wait_long(void *arg, struct cdl_team *team, int thread) {
    (void)arg;
    const struct timespec second = {.tv_sec = 1};
    const double before = cpu_seconds();
    if (thread == 0) nanosleep(&second, NULL);
    cdl_barrier_wait(team, thread);
    if (thread == 1) used = cpu_seconds() - before;
}

int main(void) {
    cdl_threads_init();
    for (int size = 2; size <= 5; size++) {
        atomic_store(&arrived, 0);
        cdl_region(size, meet, NULL);
        if (early) return printf("%d threads: %d passed early\n", size, early), 1;
    }
    cdl_region(2, wait_long, NULL);
    if (used > 0.1) return printf("waiting took %.2f s of a core\n", used), 1;
    return 0;
}
