/* blocking.h - block sizes of products, for which data that are read again stay in a cache.
 *
 * Each element of a product is one chain of sums in any blocks, so these sizes change no bit. Sizes
 * that would, such as the places of a box (products/boxes.h), are constants. Measured with 48 KB of
 * L1 and 2 MB of L2; sizes shrink in proportion for smaller caches, and do not grow for larger
 * ones.
 */
#pragma once

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

/* Maxima, for memory that is planned before the sizes of the caches are known. */
enum {
    CDL_MOST_ROWS = 48,
    CDL_MOST_DEPTH = 2048,
    CDL_MOST_SAMPLES = 128,
    CDL_MOST_STRIP_FLOATS = 256 * 1024,
    CDL_MOST_PAIR_BLOCKS = 16
};
