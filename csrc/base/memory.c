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

/* From here on memory is asked for in pages of 2 MB, which the TLB holds all of; what is over the
 * last whole one lies in small ones. */
enum { HUGE_PAGE = 2 << 20 };

float *cdl_alloc(size_t floats) {
    if (floats > SIZE_MAX / sizeof(float) - HUGE_PAGE) return NULL;
    const size_t bytes = cdl_round_up(floats ? floats : 1, CDL_LINE) * sizeof(float);
#ifdef MADV_HUGEPAGE
    const bool huge = bytes >= HUGE_PAGE;
#else
    const bool huge = false;
#endif
    void *memory = NULL;
    if (posix_memalign(&memory, huge ? HUGE_PAGE : 64, bytes)) return NULL;
#ifdef MADV_HUGEPAGE
    if (huge) madvise(memory, bytes / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
#endif
    return memset(memory, 0, bytes);
}

void cdl_free(void *memory) { free(memory); }
