/* affine.c - y = (x - center) scale + shift, by column: standardized features, rescaling, the scale
 * and shift behind a normalization. Each of the three may be missing; scale and shift may learn,
 * center does not.
 */
#include "ops/op.h"
#include "products/columns.h"

enum { CENTER, SCALE, SHIFT }; /* params */

/* Scratch: what stands for a missing parameter, then the blocks' sums for scale and shift. */
static size_t scratch_floats(const struct cdl_node *node, size_t rows) {
    return cdl_column_floats(node->in[0]->width) * (2 + 2 * cdl_row_blocks(rows));
}

static const char *check(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    CDL_CHECK(cdl_check_alike(x, y));
    for (int i = CENTER; i <= SHIFT; i++)
        CDL_CHECK(cdl_check_row(node->param[i], x->width,
                                "center, scale, shift: expected a number for each column of x"));
    return NULL;
}

static float *zeros(const struct cdl_node *node) { return node->scratch; }

static float *ones(const struct cdl_node *node) {
    return node->scratch + cdl_column_floats(node->in[0]->width);
}

static float *sums(const struct cdl_node *node, const struct cdl_context *ctx, int which) {
    const size_t columns = cdl_column_floats(node->in[0]->width);
    return node->scratch + columns * (2 + (which == SHIFT ? cdl_row_blocks(ctx->rows) : 0));
}

static const float *row_of(const struct cdl_node *node, int which) {
    if (node->param[which]) return node->param[which]->w;
    return which == SCALE ? ones(node) : zeros(node);
}

static void fill(const struct cdl_node *node, const struct cdl_kernels *kernels) {
    (void)kernels;
    for (size_t j = 0; j < node->in[0]->width; j++) ones(node)[j] = 1.0f;
}

static void forward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                    size_t last) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    ctx->kernels->standardize((last - first) * x->lines, x->width, cdl_rows(x, first), x->ld,
                              row_of(node, CENTER), row_of(node, SCALE), row_of(node, SHIFT),
                              cdl_rows(y, first), y->ld);
}

static void backward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                     size_t last) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    if (node->needs[0]) {
        ctx->kernels->scale_columns((last - first) * x->lines, x->width, cdl_grad_rows(y, first),
                                    y->ld, row_of(node, SCALE), cdl_grad_rows(x, first), x->ld);
    }
    for (size_t row = first; row < last; row += CDL_ROW_BLOCK) {
        const size_t rows = cdl_min(last - row, CDL_ROW_BLOCK);
        const float *dy = cdl_grad_rows(y, row);
        if (node->trained[SCALE]) {
            ctx->kernels->column_products(rows * x->lines, x->width, dy, y->ld, cdl_rows(x, row),
                                          x->ld, row_of(node, CENTER), ones(node),
                                          cdl_block_sums(sums(node, ctx, SCALE), x->width, row));
        }
        if (node->trained[SHIFT]) {
            ctx->kernels->column_sums(rows * x->lines, x->width, dy, y->ld,
                                      cdl_block_sums(sums(node, ctx, SHIFT), x->width, row));
        }
    }
}

static void update(const struct cdl_node *node, const struct cdl_context *ctx, float *g, int thread,
                   int n_threads) {
    cdl_learn_row(node->trained[SCALE], ctx, sums(node, ctx, SCALE), g, thread, n_threads);
    cdl_learn_row(node->trained[SHIFT], ctx, sums(node, ctx, SHIFT), g, thread, n_threads);
}

const struct cdl_op cdl_op_affine = {
    .check = check,
    .scratch_floats = scratch_floats,
    .fill = fill,
    .forward = forward,
    .backward = backward,
    .update = update,
};
