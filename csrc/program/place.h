/* place.h - places for buffers whose lives are known, in an arena that is as small as can be. */
#ifndef CDL_PROGRAM_PLACE_H
#define CDL_PROGRAM_PLACE_H

#include <stddef.h>

#include "base/status.h"

struct cdl_buffer {
    float **place; /* where its address is wanted */
    size_t floats;
    int birth, death; /* inclusive; two may share memory if their lives do not meet */
    int number;       /* among those that are equal otherwise */
    size_t offset;    /* what is found */
    size_t tried;     /* on the way there */
};

/* Finds the offsets of n buffers, which come back in another order. `top` is what the arena takes,
 * `least` what lives at one moment: no plan takes less. */
cdl_status cdl_place(struct cdl_buffer *buffers, int n, size_t *top, size_t *least);

#endif
