/* blocks.h - sums over all samples of a batch: the same bits for any number of threads.
 *
 * Each block of CDL_ROW_BLOCK samples, which no two threads share, has a sum of its own; behind a
 * barrier the blocks are added up in order, each thread its share of the elements.
 */
#ifndef CDL_PRODUCTS_BLOCKS_H
#define CDL_PRODUCTS_BLOCKS_H

#include "learn/context.h"

/* Sums of the blocks of samples [first, last), n floats a sample from `from` on; block b's go to
 * sums + b n. */
void cdl_sum_blocks(const struct cdl_kernels *kernels, size_t first, size_t last, size_t n,
                    const float *from, float *sums);

/* Total: the sum of all blocks times a factor. */
void cdl_add_blocks(const struct cdl_kernels *kernels, size_t blocks, size_t n,
                    struct cdl_range part, const float *sums, double factor, float *to);

#endif
