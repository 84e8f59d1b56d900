/* blocking.h - how much of a product is done at a time, so that what is read again is in a cache.
 *
 * Each element of a product is one chain of sums, whatever is done together: these numbers change
 * no bit. What is not here, as the places of a box (products/boxes.h), is the same for all caches.
 * Measured with 48 KB of L1 and 2 MB of L2; smaller caches have as much less, larger ones no more.
 */
#ifndef CDL_KERNELS_BLOCKING_H
#define CDL_KERNELS_BLOCKING_H

#include <stddef.h>

struct cdl_blocking {
    size_t rows;           /* of c, a panel wide, before their epilogue: they stay in L1 */
    size_t depth;          /* of k: so many rows of a panel stay in L2 while all rows of c pass */
    size_t samples;        /* of a gradient: so many rows of a panel stay in L1 for all tiles */
    size_t strip_floats;   /* of copies of dy that stay in L2 while x passes */
    size_t sample_floats;  /* of images and maps that go through a panel of a window's weights */
    size_t pair_blocks;    /* of a window's weights that are summed while their image passes */
    size_t changed_floats; /* of weights that Winograd's way has changed, in L2 */
};

/* The most that they are, for whom memory is planned before the caches are asked. */
enum {
    CDL_MOST_ROWS = 48,
    CDL_MOST_DEPTH = 2048,
    CDL_MOST_SAMPLES = 128,
    CDL_MOST_STRIP_FLOATS = 256 * 1024,
    CDL_MOST_PAIR_BLOCKS = 16
};

#endif
