/* columns.h - parameters that are a row, one number a column: a scale, a shift, a gradient.
 *
 * Their gradients are sums over all lines of the batch. backward() makes one sum of each block of
 * CDL_ROW_BLOCK samples, which no two threads share; update() adds the blocks up in order.
 */
#ifndef CDL_PRODUCTS_COLUMNS_H
#define CDL_PRODUCTS_COLUMNS_H

#include "learn/learn.h"
#include "learn/context.h"

static inline size_t cdl_column_floats(size_t width) { return cdl_round_up(width, CDL_LINE); }

/* The sums of a block; `sums` holds those of all blocks. */
static inline float *cdl_block_sums(float *sums, size_t width, size_t block) {
    return sums + block * cdl_column_floats(width);
}

/* Update of one thread's share of a parameter, unless it is NULL, from the blocks' sums. */
void cdl_learn_row(struct cdl_trained *trained, const struct cdl_context *ctx, struct cdl_rows rows,
                   const struct cdl_sink *to, const float *sums);

#endif
