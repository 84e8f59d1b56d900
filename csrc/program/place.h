/* place.h - offsets for buffers with known lifetimes, in an arena as small as possible. */
#pragma once

#include <stddef.h>

#include "base/status.h"

struct cdl_buffer {
    float **place; /* receives the address */
    size_t floats;
    int birth, death; /* inclusive; two may share memory if their lives do not meet */
    int number;       /* tie-breaker in sorting */
    size_t offset;    /* the best offset so far */
    size_t tried;     /* offset in the current try */
};

/* Finds the offsets of n buffers, and reorders them. `top` is the size of the arena, `least` the
 * most that lives at one moment: no plan takes less. */
cdl_status cdl_place(struct cdl_buffer *buffers, int n, size_t *top, size_t *least);
