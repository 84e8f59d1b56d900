/* memory.c - aligned, zeroed memory. */
#include "base/memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

float *cdl_alloc(size_t floats) {
    if (floats > SIZE_MAX / sizeof(float) - CDL_LINE) return NULL;
    size_t bytes = cdl_round_up(floats ? floats : 1, CDL_LINE) * sizeof(float);
    float *memory = aligned_alloc(64, bytes);
    if (memory) memset(memory, 0, bytes);
    return memory;
}

void cdl_free(void *memory) { free(memory); }
