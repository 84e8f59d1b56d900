/* watch.c - the clock, and polls of the caller. */
#define _POSIX_C_SOURCE 200809L
#include "base/watch.h"

#include <time.h>

#include "base/threads.h"

static double seconds_between = 0.05;

void cdl_watch_every(double seconds) { seconds_between = seconds; }

double cdl_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void cdl_watch_begin(struct cdl_watch *watch) {
    watch->last = watch->next = 0.0;
    watch->every = watch->ticks = 1;
    atomic_store_explicit(&watch->stopped, false, memory_order_relaxed);
}

static bool is_due(struct cdl_watch *watch, double now) {
    if (watch->next == 0.0) watch->next = now + seconds_between;
    return watch->poll && now >= watch->next;
}

/* The answer at the moment `now`, if it is time to ask. */
static bool poll(struct cdl_watch *watch, double now) {
    if (!is_due(watch, now)) return false;
    cdl_region_leave();
    const bool ends = watch->poll(watch->who);
    cdl_region_enter();
    watch->next = cdl_now() + seconds_between;
    return ends;
}

bool cdl_watch_stops(struct cdl_watch *watch, bool polls) {
    if (polls && !cdl_watch_stopped(watch) && poll(watch, cdl_now())) cdl_watch_stop(watch);
    return cdl_watch_stopped(watch);
}

bool cdl_watch_tick(struct cdl_watch *watch, double end, bool waits) {
    if (--watch->ticks > 0) return false;
    const double now = cdl_now();
    if (now - watch->last < 0.5e-3 && !waits && seconds_between > 0.0) watch->every *= 2;
    if (now - watch->last > 2e-3 && watch->every > 1) watch->every /= 2;
    watch->last = now;
    watch->ticks = watch->every;
    return is_due(watch, now) || now >= end;
}

bool cdl_watch_answers(struct cdl_watch *watch, double end) {
    const double now = cdl_now();
    return poll(watch, now) || now >= end;
}
