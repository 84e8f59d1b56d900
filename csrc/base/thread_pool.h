/* thread_pool.h - the threads of regions, a pool for each thread that calls. */
#pragma once

#include <stdbool.h>

/* Runs work(arg, thread) on the calling thread, which is 0, and on others of its pool up to *size
 * threads; returns when all have. *size becomes how many there are before the first one begins. The
 * pool belongs to the calling thread and ends with it. False, with nothing done, within a region
 * and where no other thread can be had. */
bool cdl_thread_pool_run(int *size, void (*work)(void *arg, int thread), void *arg);

/* In the child of a fork: the pool is gone. */
void cdl_thread_pool_forget(void);
