/* columns.c - updates of row parameters from the sums of blocks of samples. */
#include "products/columns.h"

void cdl_learn_row(struct cdl_trained *trained, const struct cdl_context *ctx, const float *sums,
                   float *g, int thread, int n_threads) {
    if (!trained) return;
    const struct cdl_param *param = trained->param;
    const size_t n = cdl_blocks(param), end = n * (size_t)(thread + 1) / (size_t)n_threads;
    const size_t each = cdl_column_floats(param->cols);
    const size_t from = ctx->row / CDL_ROW_BLOCK, until = from + cdl_row_blocks(ctx->rows);
    for (size_t i = n * (size_t)thread / (size_t)n_threads; i < end; i++) {
        const struct cdl_block block = cdl_block_at(param, i);
        for (size_t j = 0; j < block.width; j++) {
            float sum = 0.0f;
            for (size_t b = from; b < until; b++) sum += sums[b * each + block.column + j];
            g[j] = block.column + j < param->cols ? sum : 0.0f;
        }
        cdl_learn(trained, ctx, block, g);
    }
}
