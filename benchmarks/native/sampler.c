/* sampler.c - where this thread is, some thousand times a second: return addresses, innermost
 * first.
 *
 * A timer of the wall clock interrupts the thread that starts it; the handler walks the stack into
 * memory that was allocated before. Linux only.
 */
#define _GNU_SOURCE
#include <execinfo.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { DEPTH = 16, OWN_FRAMES = 2 /* the handler, and what the kernel returns through */ };

static uintptr_t *stacks; /* rows of DEPTH addresses, 0 where a stack ends */
static size_t capacity, taken;
static timer_t timer;

static void sample(int number) {
    (void)number;
    void *frames[DEPTH + OWN_FRAMES];
    if (taken == capacity) return;
    const int n = backtrace(frames, DEPTH + OWN_FRAMES);
    uintptr_t *row = stacks + taken * DEPTH;
    for (int i = 0; i < DEPTH; i++)
        row[i] = i + OWN_FRAMES < n ? (uintptr_t)frames[i + OWN_FRAMES] : 0;
    taken++;
}

/* Samples every `nanoseconds` into memory for `most` stacks; 0 if a timer could be had. */
int sampler_start(uintptr_t *memory, size_t most, long nanoseconds) {
    void *frames[4];
    backtrace(frames, 4); /* loads the unwinder now, not in the handler */
    stacks = memory, capacity = most, taken = 0;
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = sample;
    action.sa_flags = SA_RESTART;
    struct sigevent event;
    memset(&event, 0, sizeof event);
    event.sigev_notify = SIGEV_THREAD_ID;
    event.sigev_signo = SIGPROF;
    event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
    const struct itimerspec every = {{0, nanoseconds}, {0, nanoseconds}};
    if (sigaction(SIGPROF, &action, NULL) || timer_create(CLOCK_MONOTONIC, &event, &timer))
        return -1;
    return timer_settime(timer, 0, &every, NULL);
}

/* How many stacks were taken. */
size_t sampler_stop(void) {
    timer_delete(timer);
    return taken;
}
