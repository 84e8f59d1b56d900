/* columns.c - updates of row parameters from the sums of blocks of samples. */
#include "products/columns.h"

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
