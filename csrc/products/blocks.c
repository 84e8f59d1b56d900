/* blocks.c - sums over all samples of a batch: of blocks, then of the blocks' sums. */
#include "products/blocks.h"

#include <string.h>

static void add_sample(const struct cdl_kernels *kernels, size_t n, const float *x, float *sum) {
    if (n >= CDL_LINE) {
        kernels->add(n, x, sum);
        return;
    }
    for (size_t j = 0; j < n; j++) sum[j] += x[j];
}

void cdl_sum_blocks(const struct cdl_kernels *kernels, size_t first, size_t last, size_t n,
                    const float *from, float *sums) {
    for (size_t i = first; i < last; i++, from += n) {
        float *sum = sums + i / CDL_ROW_BLOCK * n;
        if (i % CDL_ROW_BLOCK == 0)
            memcpy(sum, from, n * sizeof(float));
        else
            add_sample(kernels, n, from, sum);
    }
}

void cdl_add_blocks(const struct cdl_kernels *kernels, size_t blocks, size_t n,
                    struct cdl_range part, const float *sums, double factor, float *to) {
    kernels->add_up(blocks, part.last - part.first, n, sums + part.first, factor, to + part.first);
}
