/* blocks.c - sums over all samples of a batch: of blocks, then of the blocks' sums; updates of row
 * parameters from them. */
#include "products/blocks.h"

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

void cdl_learn_row(struct cdl_trained *trained, const struct cdl_context *ctx, struct cdl_rows rows,
                   const struct cdl_sink *to, const float *sums) {
    if (!trained) return;
    const struct cdl_param *param = trained->param;
    const struct cdl_range own = cdl_own(ctx, cdl_blocks(param));
    const size_t each = cdl_column_floats(param->cols);
    const size_t from = rows.first / CDL_ROW_BLOCK, until = from + cdl_row_blocks(rows.n);
    float *g = ctx->scratch;
    for (size_t i = own.first; i < own.last; i++) {
        const struct cdl_block block = cdl_block_at(param, i);
        for (size_t j = 0; j < block.width; j++) {
            float sum = 0.0f;
            for (size_t b = from; b < until; b++) sum += sums[b * each + block.column + j];
            g[j] = block.column + j < param->cols ? sum : 0.0f;
        }
        cdl_learn(trained, ctx, to, block, g);
    }
}
