/* threads.h - threads: their number, regions of them, and their barrier. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

enum { CDL_MAX_THREADS = 64 };

/* Barrier: a counter of those who have arrived, the number of the turn, which the last of them
 * raises, and how many sleep until it does; a cache line apart. */
struct cdl_barrier {
    _Alignas(64) atomic_uint arrived;
    _Alignas(64) atomic_uint turn;
    atomic_uint asleep;
};

struct cdl_team {
    int size;
    struct cdl_barrier barrier;
};

/* Reads affinity, cgroup quota and OMP_NUM_THREADS, and prepares for forks. Once, at import. */
void cdl_threads_init(void);

/* Cores that the process may use now, by affinity and cgroup quota, not by OMP_NUM_THREADS. */
int cdl_threads_cores(void);

/* Threads that a call may use now: 1 in a child of a process that had loaded this library, since
 * no pool of threads survives a fork. */
int cdl_threads_available(void);

/* Number of the `planned` threads that may run at this moment: limited by the calling thread's
 * limit and by that of the OpenMP runtime (threadpoolctl, omp_set_num_threads). */
int cdl_threads_now(int planned);
const char *cdl_threads_reason(void);

/* At most `most` for programs that the calling thread builds, 0 for no limit of its own: a pool of
 * workers shares the cores by giving each worker one. Returns the limit before. */
int cdl_threads_limit_caller(int most);
bool cdl_threads_have_openmp(void);

/* Runs work(arg, team, thread) on up to `size` threads and returns when all have; denormals are
 * flushed to zero in each, and the caller's floating-point mode is restored. The team may come
 * out smaller than asked for; `team->size` tells. */
void cdl_region(int size, void (*work)(void *arg, struct cdl_team *team, int thread), void *arg);

/* Around a function of the caller's within a region that runs on the calling thread: it computes in
 * the caller's floating-point mode, which may be another one afterwards. */
void cdl_region_leave(void);
void cdl_region_enter(void);

/* Does *word change from `value` soon? Spins some microseconds, then yields for a millisecond;
 * beside busy processes less. Who is told no had better sleep. */
bool cdl_changes_soon(const atomic_uint *word, unsigned value);

/* Has the calling thread met other processes on its core of late? */
bool cdl_is_crowded(void);

/* Waits for all threads of the team: spins some microseconds, then yields, then sleeps; beside busy
 * processes it sleeps sooner. */
void cdl_barrier_wait(struct cdl_team *team, int thread);

/* Barrier for waits that may take seconds: a sleeping thread calls `meanwhile`, unless that is
 * NULL, before each millisecond. */
void cdl_barrier_wait_long(struct cdl_team *team, int thread, void (*meanwhile)(void *arg),
                           void *arg);
