/* blocks.h - sums over all samples of a batch: the same bits for any number of threads.
 *
 * Each block of CDL_ROW_BLOCK samples, which no two threads share, has a sum of its own; behind a
 * barrier the blocks are added up in order, each thread its share of the elements.
 */
#pragma once

#include "learn/learn.h"

/* Sums of the blocks of samples [first, last), n floats a sample from `from` on; block b's go to
 * sums + b n. */
void cdl_sum_blocks(const struct cdl_kernels *kernels, size_t first, size_t last, size_t n,
                    const float *from, float *sums);

/* Total: the sum of all blocks times a factor. */
void cdl_add_blocks(const struct cdl_kernels *kernels, size_t blocks, size_t n,
                    struct cdl_range part, const float *sums, double factor, float *to);

/* Parameters that are a row, one number a column: a scale, a shift, a gradient. backward() makes
 * the sums of each block, and update() adds the blocks up in order. */
static inline size_t cdl_column_floats(size_t width) { return cdl_round_up(width, CDL_LINE); }

/* The sums of a block; `sums` holds those of all blocks. */
static inline float *cdl_block_sums(float *sums, size_t width, size_t block) {
    return sums + block * cdl_column_floats(width);
}

/* Update of one thread's share of a parameter, unless it is NULL, from the blocks' sums. */
void cdl_learn_row(struct cdl_trained *trained, const struct cdl_context *ctx, struct cdl_rows rows,
                   const struct cdl_sink *to, const float *sums);
