/* memory.c - aligned, zeroed memory. */
#define _DEFAULT_SOURCE
#include "base/memory.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

/* From HUGE on, memory is asked for in pages of 2 MB, which the TLB holds all of. */
enum { HUGE_PAGE = 2 << 20, HUGE = 1 << 20 };

float *cdl_alloc(size_t floats) {
    if (floats > SIZE_MAX / sizeof(float) - HUGE_PAGE) return NULL;
    size_t bytes = cdl_round_up(floats ? floats : 1, CDL_LINE) * sizeof(float);
#ifdef MADV_HUGEPAGE
    const bool huge = bytes >= HUGE;
#else
    const bool huge = false;
#endif
    if (huge) bytes = cdl_round_up(bytes, HUGE_PAGE);
    float *memory = aligned_alloc(huge ? HUGE_PAGE : 64, bytes);
#ifdef MADV_HUGEPAGE
    if (memory && huge) madvise(memory, bytes, MADV_HUGEPAGE);
#endif
    if (memory) memset(memory, 0, bytes);
    return memory;
}

void cdl_free(void *memory) { free(memory); }
