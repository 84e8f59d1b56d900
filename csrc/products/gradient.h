/* gradient.h - x^T dy, block by block of a weight: order of the blocks, and copies of their
 * operands.
 *
 * A block of the gradient reads 64 columns of x and 64 of dy. Rows of a wide layer lie so far apart
 * that each read costs an entry of the TLB and a line that no prefetcher foresees; many blocks read
 * the same columns, so these are copied side by side before the first of them.
 */
#pragma once

#include "learn/learn.h"

/* Walk over the blocks. With copies it goes in strips of 4 to 8 panels, whose copies stay in the L2
 * cache while x passes once (blocking.h); else in the order of memory. */
enum { CDL_LEAST_STRIP = 4, CDL_MOST_STRIP = 8 };

/* Blocks of a group: 8 panels of dy by 8 of x. */
enum { CDL_GROUP = CDL_MOST_STRIP * CDL_MOST_STRIP };

struct cdl_gradient {
    const struct cdl_context *ctx;
    const struct cdl_param *w;
    size_t samples,
        most; /* most: samples of the largest call that shares blocks, which decides their order */
    struct cdl_matrix x, dy;
    bool bf16, pairs; /* x and dy are of bfloat16; copies are in pairs, or floats */
    float *x_copy, *dy_copy[CDL_MOST_STRIP];    /* NULL: read in place */
    size_t strip;                               /* panels */
    size_t x_copied, dy_copied[CDL_MOST_STRIP]; /* 1 + the first column of the copy, or 0 */
    float *sums; /* of the blocks of a group, if blocks go in groups; else NULL */
};

/* Scratch for the copies of a gradient of so many samples, in floats. */
size_t cdl_gradient_floats(const struct cdl_param *w, size_t samples, size_t ldx, size_t ldy,
                           bool bf16, bool pairs);

/* Prepares a gradient from its fields up to `pairs`, with `room` of cdl_gradient_floats. */
void cdl_gradient_begin(struct cdl_gradient *gradient, float *room);

/* Block number i in the order of the walk. */
struct cdl_block cdl_gradient_at(const struct cdl_gradient *gradient, size_t i);

/* Sums of up to CDL_PANEL columns of dy over all samples. */
void cdl_column_sums(const struct cdl_kernels *kernels, size_t samples, size_t n, const float *dy,
                     size_t ld, float *g);

/* Sums of the columns of a block. */
void cdl_gradient_sums(struct cdl_gradient *gradient, struct cdl_block block, float *g);

/* Gradients of blocks [first, last) of the walk at once, CDL_GROUP at most, for batches of many
 * samples: gradient->sums + i * CDL_THREAD_SCRATCH is that of block first + i. */
void cdl_gradient_of_group(struct cdl_gradient *gradient, size_t first, size_t last);

/* Gradient of a block, as block.rows rows of block.width floats. */
void cdl_gradient_of(struct cdl_gradient *gradient, struct cdl_block block, float *g);
