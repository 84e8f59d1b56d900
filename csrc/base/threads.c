/* threads.c - thread counts, regions, the barrier, forks, and the floating-point mode. */
#define _GNU_SOURCE
#include "base/threads.h"

#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifdef __linux__
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#endif

#include "base/thread_pool.h"
#include "base/watch.h"

#ifdef _OPENMP
#include <omp.h>
#endif

static int limit = 1;
static char reason[96] = "not initialised";
static atomic_bool forked;

/* The pool's threads are gone; so are those of the OpenMP runtime, which another library in the
 * process may use and which does not know. */
static void in_child(void) {
    atomic_store(&forked, true);
    cdl_thread_pool_forget();
}

static int affinity_cpus(void) {
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (int)online : 1;
}

/* First two numbers of a file ("max" counts as -1); the count of numbers read. */
static int read_numbers(const char *path, double value[2]) {
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    char text[64] = "";
    int count = 0;
    if (fgets(text, sizeof text, file)) {
        if (strncmp(text, "max", 3) == 0) {
            value[0] = -1.0;
            count = 1;
        } else {
            count = sscanf(text, "%lf %lf", &value[0], &value[1]);
        }
    }
    fclose(file);
    return count;
}

/* Whole cores that the cgroup's quota pays for (version 2, then version 1); 0 if unlimited. */
static int cgroup_cpus(void) {
    double v[2] = {0, 0};
    double period[2] = {0, 0};
    double cores = 0;
    if (read_numbers("/sys/fs/cgroup/cpu.max", v) == 2 && v[1] > 0) {
        cores = v[0] / v[1];
    } else if (read_numbers("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", v) == 1 && v[0] > 0 &&
               read_numbers("/sys/fs/cgroup/cpu/cpu.cfs_period_us", period) == 1 && period[0] > 0) {
        cores = v[0] / period[0];
    }
    if (cores <= 0) return 0;
    return cores < 1 ? 1 : (int)cores;
}

int cdl_threads_cores(void) {
    const int cpus = affinity_cpus();
    const int quota = cgroup_cpus();
    return quota && quota < cpus ? quota : cpus;
}

void cdl_threads_init(void) {
    limit = cdl_threads_cores();
    if (limit < affinity_cpus())
        snprintf(reason, sizeof reason, "the cgroup's quota pays for %d", limit);
    else
        snprintf(reason, sizeof reason, "cores this process may run on: %d", limit);
    const char *wanted = getenv("OMP_NUM_THREADS");
    if (wanted && *wanted) {
        char *end;
        long n = strtol(wanted, &end, 10);
        if (end != wanted && n >= 1 && n < limit) {
            limit = (int)n;
            snprintf(reason, sizeof reason, "OMP_NUM_THREADS=%ld", n);
        }
    }
    if (limit > CDL_MAX_THREADS) {
        limit = CDL_MAX_THREADS;
        snprintf(reason, sizeof reason, "the most that cdl uses");
    }
    pthread_atfork(NULL, NULL, in_child);
}

bool cdl_threads_have_openmp(void) {
#ifdef _OPENMP
    return true;
#else
    return false;
#endif
}

static _Thread_local int caller_limit;

int cdl_threads_limit_caller(int most) {
    const int before = caller_limit;
    caller_limit = most;
    return before;
}

int cdl_threads_available(void) {
    if (atomic_load(&forked)) return 1;
    return caller_limit > 0 && caller_limit < limit ? caller_limit : limit;
}

int cdl_threads_now(int planned) {
    int most = cdl_threads_available();
#ifdef _OPENMP
    const int told = omp_get_max_threads();
    if (told < most) most = told;
#endif
    return planned < most ? planned : most;
}

const char *cdl_threads_reason(void) {
    return atomic_load(&forked) ? "forked: threads do not survive that" : reason;
}

/* Denormal operands cost a hundred cycles each, and they come in ordinary use: Adam's first
 * moment of a weight whose gradient became 0 is denormal after some 770 steps. So results and
 * operands below 1.2e-38 count as 0 while cdl runs. */
#if defined(__x86_64__)
typedef unsigned fpu_mode;
static fpu_mode fpu_enter(void) {
    fpu_mode mode = __builtin_ia32_stmxcsr();
    __builtin_ia32_ldmxcsr(mode | 0x8040U); /* flush-to-zero, denormals-are-zero */
    return mode;
}
static void fpu_leave(fpu_mode mode) { __builtin_ia32_ldmxcsr(mode); }
#elif defined(__aarch64__)
typedef unsigned long fpu_mode;
static fpu_mode fpu_enter(void) {
    fpu_mode mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    __asm__ volatile("msr fpcr, %0" : : "r"(mode | (1UL << 24)));
    return mode;
}
static void fpu_leave(fpu_mode mode) { __asm__ volatile("msr fpcr, %0" : : "r"(mode)); }
#else
typedef int fpu_mode;
static fpu_mode fpu_enter(void) { return 0; }
static void fpu_leave(fpu_mode mode) {}
#endif

/* The mode in which this thread came into the region that it is in. */
static _Thread_local fpu_mode outer_mode;

void cdl_region_leave(void) { fpu_leave(outer_mode); }
void cdl_region_enter(void) { outer_mode = fpu_enter(); }

struct region {
    void (*work)(void *, struct cdl_team *, int);
    void *arg;
    struct cdl_team *team;
};

static void run(void *given, int thread) {
    const struct region *region = given;
    const fpu_mode before = outer_mode; /* a function of the caller's may run a region too */
    outer_mode = fpu_enter();
    region->work(region->arg, region->team, thread);
    fpu_leave(outer_mode);
    outer_mode = before;
}

void cdl_region(int size, void (*work)(void *, struct cdl_team *, int), void *arg) {
    struct cdl_team team = {.size = size};
    struct region region = {work, arg, &team};
    if (size > 1 && !atomic_load(&forked) && cdl_thread_pool_run(&team.size, run, &region)) return;
    team.size = 1;
    run(&region, 0);
}

/* ---- the barrier -------------------------------------------------------------------------------
 *
 * A waiting thread spins, then yields: threads that each have a core arrive within some 60 us, the
 * cost of a sleep and a wake-up. Beside busy processes that is wrong twice: who spins uses up
 * the time of a core that the late thread could have, and who yields gets it back milliseconds
 * later. A yield that took so long tells a thread that its core is crowded; it then sleeps at once,
 * which the scheduler repays as soon as there is work again. */

/* In seconds. */
#define SPIN 60e-6          /* spinning before the first yield */
#define SPIN_IN_CROWD 20e-6 /* wait before sleep on a crowded core */
#define PATIENCE 1e-3       /* wait before sleep on any other */
#define LONG_YIELD 500e-6   /* duration of a yield that indicates a crowded core */
#define LEAST_BELIEF 0.05   /* belief in a crowd, doubled as it comes true, up to: */
#define MOST_BELIEF 0.4

static _Thread_local double crowded_until, belief;

static void note_crowd(double now) {
    const bool again = now < crowded_until + LEAST_BELIEF;
    belief = again ? fmin(2 * belief, MOST_BELIEF) : LEAST_BELIEF;
    crowded_until = now + belief;
}

bool cdl_is_crowded(void) { return cdl_now() < crowded_until; }

static bool has_changed(const atomic_uint *word, unsigned value) {
    return atomic_load_explicit(word, memory_order_acquire) != value;
}

/* Pause of a spinning thread between two looks at its condition. */
static void pause_shortly(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory"); /* some 10 ns; yield takes a single cycle */
#endif
}

/* A look at the clock takes as long as a few pauses, of 10 to 50 ns each. */
static bool spin(const atomic_uint *word, unsigned value) {
    for (int i = 0; i < 32 && !has_changed(word, value); i++) pause_shortly();
    return has_changed(word, value);
}

bool cdl_changes_soon(const atomic_uint *word, unsigned value) {
    if (spin(word, value)) return true;
    const double begin = cdl_now();
    const double end = begin + (begin < crowded_until ? SPIN_IN_CROWD : PATIENCE);
    double now = begin;
    while (now < end) {
        const double before = now;
        if (now - begin < SPIN) {
            if (spin(word, value)) return true;
            now = cdl_now();
            continue;
        }
        sched_yield();
        now = cdl_now();
        if (now - before > LONG_YIELD) note_crowd(now);
        if (has_changed(word, value)) return true;
        if (now < crowded_until) return false;
    }
    return false;
}

#ifdef __linux__
static void futex(struct cdl_barrier *barrier, int call, unsigned value,
                  const struct timespec *most) {
    syscall(SYS_futex, &barrier->turn, call, value, most, NULL, 0);
}

static void sleep_through(struct cdl_barrier *barrier, unsigned turn, const struct timespec *most) {
    atomic_fetch_add(&barrier->asleep, 1);
    futex(barrier, FUTEX_WAIT_PRIVATE, turn, most);
    atomic_fetch_sub(&barrier->asleep, 1);
}

static void wake(struct cdl_barrier *barrier) {
    if (atomic_load(&barrier->asleep)) futex(barrier, FUTEX_WAKE_PRIVATE, INT_MAX, NULL);
}
#else
static void sleep_through(struct cdl_barrier *barrier, unsigned turn, const struct timespec *most) {
    sched_yield();
}
static void wake(struct cdl_barrier *barrier) {}
#endif

void cdl_barrier_wait(struct cdl_team *team, int thread) {
    cdl_barrier_wait_long(team, thread, NULL, NULL);
}

void cdl_barrier_wait_long(struct cdl_team *team, int thread, void (*meanwhile)(void *arg),
                           void *arg) {
    assert(thread >= 0 && thread < team->size);
    if (team->size == 1) return;
    struct cdl_barrier *barrier = &team->barrier;
    const unsigned turn = atomic_load_explicit(&barrier->turn, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&barrier->arrived, 1, memory_order_acq_rel) + 1 ==
        (unsigned)team->size) {
        atomic_store_explicit(&barrier->arrived, 0, memory_order_relaxed);
        atomic_store(&barrier->turn, turn + 1);
        wake(barrier);
        return;
    }
    if (cdl_changes_soon(&barrier->turn, turn)) return;
    const struct timespec most = {.tv_nsec = 1000000};
    do {
        if (meanwhile) meanwhile(arg);
        sleep_through(barrier, turn, meanwhile ? &most : NULL);
    } while (!has_changed(&barrier->turn, turn));
}
