/* memory.c - aligned, zeroed memory. */
#define _DEFAULT_SOURCE
#include "base/memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

/* Allocations of this size and more use pages of 2 MB, few enough for the TLB; the rest behind the
 * last whole page lies in small ones. */
enum { HUGE_PAGE = 2 << 20 };

/* Large memory is that of the thread which touches it first, in a machine whose cores have memory
 * of their own: calloc leaves fresh pages to those who use them. The start of what it gave lies in
 * front of what is handed on. */
float *cdl_alloc(size_t floats) {
    if (floats > SIZE_MAX / sizeof(float) - 2 * HUGE_PAGE) return NULL;
    const size_t bytes = cdl_round_up(floats ? floats : 1, CDL_LINE) * sizeof(float);
#ifdef MADV_HUGEPAGE
    const size_t boundary = bytes >= HUGE_PAGE ? HUGE_PAGE : CDL_LINE * sizeof(float);
#else
    const size_t boundary = CDL_LINE * sizeof(float);
#endif
    char *start = calloc(1, bytes + boundary + sizeof start);
    if (!start) return NULL;
    const size_t after = (uintptr_t)(start + sizeof start) % boundary;
    char *memory = start + sizeof start + (after ? boundary - after : 0);
    memcpy(memory - sizeof start, &start, sizeof start);
#ifdef MADV_HUGEPAGE
    if (boundary == HUGE_PAGE) madvise(memory, bytes / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
#endif
    return (float *)(void *)memory;
}

void cdl_free(void *memory) {
    char *start = NULL;
    if (memory) memcpy(&start, (char *)memory - sizeof start, sizeof start);
    free(start);
}
