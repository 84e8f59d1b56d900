/* crew.h - threads of cdl's own, where it is built without OpenMP. */
#ifndef CDL_BASE_CREW_H
#define CDL_BASE_CREW_H

#include <stdbool.h>

#if !defined(_OPENMP) && (defined(__unix__) || defined(__APPLE__))
#define CDL_HAS_CREW 1
#endif

/* Runs work(arg, thread) on the calling thread, which is 0, and on others of its crew up to *size
 * threads; returns when all have. *size becomes how many there are before the first one begins. The
 * crew belongs to the calling thread and ends with it. False, with nothing done, within a region
 * and where no other thread can be had. */
bool cdl_crew_run(int *size, void (*work)(void *arg, int thread), void *arg);

/* In the child of a fork: the crew is gone. */
void cdl_crew_forget(void);

#endif
