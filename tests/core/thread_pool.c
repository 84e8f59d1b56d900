/* thread_pool.c - the pool of threads by itself: who works in a region, and who sleeps on. */
#define _GNU_SOURCE
#include "base/thread_pool.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { THREADS = 6 };

static long ids[THREADS];
static atomic_int worked[THREADS];

static void work(void *arg, int thread) {
    (void)arg;
    ids[thread] = syscall(SYS_gettid);
    atomic_fetch_add(&worked[thread], 1);
}

static bool region(int size) {
    int there = size;
    return cdl_thread_pool_run(&there, work, NULL) && there == size;
}

/* What Linux says of a thread; "" if it does not. */
static void status(long id, const char *name, char *to, int size) {
    char path[64], line[128];
    snprintf(path, sizeof path, "/proc/self/task/%ld/status", id);
    to[0] = '\0';
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, name, strlen(name)) == 0) snprintf(to, (size_t)size, "%s", line);
    if (file) fclose(file);
}

int main(void) {
    if (!region(THREADS)) return puts("no region"), 1;
    char state[64] = "", before[THREADS][64], after[64];
    for (int t = 2; t < THREADS; t++) {
        while (!strstr(state, "(sleeping)")) usleep(1000), status(ids[t], "State:", state, 64);
        status(ids[t], "voluntary_ctxt_switches:", before[t], 64);
        state[0] = '\0';
    }
    for (int i = 0; i < 30; i++) {
        if (!region(2)) return puts("no region of two"), 1;
        usleep(1000); /* so that who is called has to be woken */
    }
    for (int t = 2; t < THREADS; t++) {
        status(ids[t], "voluntary_ctxt_switches:", after, 64);
        if (strcmp(before[t], after)) return printf("%d was woken: %s%s", t, before[t], after), 1;
    }
    for (int i = 0; i < 2000; i++)
        if (!region(2 + i % (THREADS - 1))) return puts("no region"), 1;
    for (int t = 0; t < THREADS; t++) {
        const int regions = 1 + (t < 2 ? 30 : 0) + (t < 2 ? 2000 : 400 * (THREADS - t));
        if (worked[t] != regions) return printf("%d: %d, not %d", t, worked[t], regions), 1;
    }
    return 0;
}
