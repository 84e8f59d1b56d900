/* affine.c - y = (x - center) scale + shift, by column: standardized features, rescaling, the scale
 * and shift behind a normalization. Each of the three may be missing; scale and shift may learn,
 * center does not.
 *
 * feature_norm makes the three of a mean and a variance that are known: y = (x - mean) / deviation,
 * or back, y = x deviation + mean; the deviation is the root of the variance, at least 1e-7.
 * Neither learns; both are read at the start of each run, since `adapt` may have set them.
 */
#include "ops/op.h"
#include "products/blocks.h"

#include <math.h>

enum { CENTER, SCALE, SHIFT, N_COLUMNS }; /* params of affine */
enum { MEAN, VARIANCE };                  /* params of feature_norm */
enum { INVERT };                          /* numbers of feature_norm */

/* Scratch: what stands for parameters that are missing or not yet made, then the blocks' sums for
 * scale and shift. */
static size_t scratch_floats(const struct cdl_node *node, size_t rows) {
    return cdl_column_floats(node->in[0]->width) * (N_COLUMNS + 2 * cdl_row_blocks(rows));
}

static float *column(const struct cdl_node *node, int which) {
    return node->scratch + (size_t)which * cdl_column_floats(node->in[0]->width);
}

static const char *check(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0];
    CDL_CHECK(cdl_check_alike(x, node->out[0]));
    for (int i = 0; i < N_COLUMNS; i++)
        CDL_CHECK(cdl_check_row(node->param[i], x->width,
                                "weights: expected a number for each column of x"));
    CDL_EXPECT(node->op != &cdl_op_feature_norm || (node->param[MEAN] && node->param[VARIANCE]),
               "mean, variance: expected both");
    return NULL;
}

static float *sums(const struct cdl_node *node, const struct cdl_context *ctx, int which) {
    const size_t columns = cdl_column_floats(node->in[0]->width);
    return column(node, N_COLUMNS) + (which == SHIFT ? cdl_row_blocks(ctx->rows) * columns : 0);
}

static const float *row_of(const struct cdl_node *node, int which) {
    const bool given = node->op == &cdl_op_affine && node->param[which];
    return given ? node->param[which]->w : column(node, which);
}

static void derive_ones(const struct cdl_node *node, const struct cdl_kernels *kernels) {
    for (size_t j = 0; j < node->in[0]->width; j++) column(node, SCALE)[j] = 1.0f;
}

static void derive(const struct cdl_node *node, const struct cdl_kernels *kernels) {
    const bool invert = node->numbers[INVERT] != 0;
    for (size_t j = 0; j < node->in[0]->width; j++) {
        const float mean = node->param[MEAN]->w[j], root = sqrtf(node->param[VARIANCE]->w[j]);
        const float deviation = root < 1e-7f ? 1e-7f : root;
        column(node, CENTER)[j] = invert ? 0.0f : mean;
        column(node, SCALE)[j] = invert ? deviation : 1.0f / deviation;
        column(node, SHIFT)[j] = invert ? mean : 0.0f;
    }
}

static void forward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    ctx->kernels->standardize((last - first) * x->lines, x->width, cdl_lines(x, first),
                              row_of(node, CENTER), row_of(node, SCALE), row_of(node, SHIFT),
                              cdl_lines_to(y, first));
}

static void backward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    if (node->needs[0]) {
        ctx->kernels->scale_columns((last - first) * x->lines, x->width, cdl_grad_rows(y, first),
                                    y->ld, row_of(node, SCALE), cdl_grad_rows(x, first), x->ld);
    }
    CDL_EACH_BLOCK(b, first, last) {
        const float *dy = cdl_grad_rows(y, b.first);
        if (node->trained[SCALE]) {
            ctx->kernels->column_products(
                b.rows * x->lines, x->width, (struct cdl_matrix){dy, y->ld}, cdl_lines(x, b.first),
                row_of(node, CENTER), column(node, SCALE),
                cdl_block_sums(sums(node, ctx, SCALE), x->width, b.number));
        }
        if (node->trained[SHIFT]) {
            ctx->kernels->column_sums(b.rows * x->lines, x->width, dy, y->ld,
                                      cdl_block_sums(sums(node, ctx, SHIFT), x->width, b.number));
        }
    }
}

static void update(CDL_UPDATE) {
    cdl_learn_row(node->trained[SCALE], ctx, rows, to, sums(node, ctx, SCALE));
    cdl_learn_row(node->trained[SHIFT], ctx, rows, to, sums(node, ctx, SHIFT));
}

const struct cdl_op cdl_op_affine = {
    .check = check,
    .scratch_floats = scratch_floats,
    .derive = derive_ones,
    .forward = forward,
    .backward = backward,
    .update = update,
    .parts = CDL_BY_ROWS,
};

const struct cdl_op cdl_op_feature_norm = {
    .check = check,
    .scratch_floats = scratch_floats,
    .derive = derive,
    .follows = cdl_follows_all,
    .forward = forward,
    .backward = backward,
    .parts = CDL_BY_MICRO_BATCHES,
};
