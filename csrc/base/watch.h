/* watch.h - requests to end a run early, such as by Ctrl-C.
 *
 * The caller's `poll` may take a lock of its language, so only the calling thread calls it, some
 * twenty times a second, at points where nothing that outlives the run has changed since the batch
 * began. The other threads read its answer: all leave their work, still meet at the barriers, and
 * the run ends as if the batch had not begun.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

/* True if the run is to end. */
typedef bool cdl_poll_fn(void *who);

struct cdl_watch {
    cdl_poll_fn *poll; /* NULL: nobody knows, and no run ends early */
    void *who;
    double next; /* when to ask, 0: unknown yet; and the rest by the calling thread alone: */
    size_t every, ticks; /* cdl_watch_tick looks at the clock in each `every`-th */
    double last;         /* when it did */
    atomic_bool stopped;
};

/* Seconds since some moment. */
double cdl_now(void);

/* For tests: seconds between two questions. The default, 0.05, is half of what a user at the
 * keyboard takes for at once; with 0 each look asks. */
void cdl_watch_every(double seconds);

/* A run begins. */
void cdl_watch_begin(struct cdl_watch *watch);

/* True if the run is to end. `polls`: this is the thread that called. For pieces of 10 us and more,
 * since it reads the clock each time. */
bool cdl_watch_stops(struct cdl_watch *watch, bool polls);

/* For the thread that called, between pieces of any size: whether it is time to ask, or the moment
 * `end` has come; then cdl_watch_answers is to be called. Looks at the clock twice a millisecond,
 * or with each piece if the thread has to wait for others: beside a busy neighbour a piece may take
 * a thousand times longer than the one before. */
bool cdl_watch_tick(struct cdl_watch *watch, double end, bool waits);

/* Asks, if it is time, and is true from the moment `end` on. The others are told by cdl_watch_stop
 * only: where a barrier is between, they must not know. */
bool cdl_watch_answers(struct cdl_watch *watch, double end);

static inline void cdl_watch_stop(struct cdl_watch *watch) {
    atomic_store_explicit(&watch->stopped, true, memory_order_relaxed);
}

/* True if the last poll said that the run is to end: the same for all threads behind a barrier,
 * until the calling thread polls again. */
static inline bool cdl_watch_stopped(const struct cdl_watch *watch) {
    return atomic_load_explicit(&watch->stopped, memory_order_relaxed);
}
