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

/* Elements whose sums are in the cache at a time: the blocks are read in the order of memory. */
enum { TOGETHER = 512 };

void cdl_add_blocks(size_t blocks, size_t n, struct cdl_range part, const float *sums,
                    double factor, float *to) {
    for (size_t first = part.first; first < part.last; first += TOGETHER) {
        const size_t many = cdl_min(part.last - first, TOGETHER);
        double total[TOGETHER] = {0.0};
        for (size_t b = 0; b < blocks; b++) {
            const float *sum = sums + b * n + first;
            for (size_t j = 0; j < many; j++) total[j] += (double)sum[j];
        }
        for (size_t j = 0; j < many; j++) to[first + j] = (float)(total[j] * factor);
    }
}
