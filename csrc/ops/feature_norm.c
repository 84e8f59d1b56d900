/* feature_norm.c - features by a mean and a variance that are known: y = (x - mean) / deviation, or
 * back, y = x deviation + mean, by column; the deviation is the root of the variance, at least
 * 1e-7. Neither learns; both are read at the start of each run, since `adapt` may have set them.
 */
#include "ops/op.h"
#include "products/columns.h"

#include <math.h>

enum { INVERT };         /* attributes */
enum { MEAN, VARIANCE }; /* params */

/* Scratch: y = (x - center) factor + shift. */
enum { CENTER, FACTOR, SHIFT, N_COLUMNS };

static float *column(const struct cdl_node *node, int which) {
    return node->scratch + (size_t)which * cdl_column_floats(node->in[0]->width);
}

static size_t scratch_floats(const struct cdl_node *node, size_t rows) {
    (void)rows;
    return N_COLUMNS * cdl_column_floats(node->in[0]->width);
}

static const char *check(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    CDL_CHECK(cdl_check_alike(x, y));
    for (int i = MEAN; i <= VARIANCE; i++) {
        CDL_EXPECT(node->param[i], "mean, variance: expected both");
        CDL_CHECK(cdl_check_row(node->param[i], x->width,
                                "mean, variance: expected a number for each column of x"));
    }
    return NULL;
}

static void prepare(const struct cdl_node *node, const struct cdl_kernels *kernels, bool training) {
    (void)kernels, (void)training;
    const bool invert = node->attribute[INVERT] != 0.0f;
    for (size_t j = 0; j < node->in[0]->width; j++) {
        const float mean = node->param[MEAN]->w[j], root = sqrtf(node->param[VARIANCE]->w[j]);
        const float deviation = root < 1e-7f ? 1e-7f : root;
        column(node, CENTER)[j] = invert ? 0.0f : mean;
        column(node, FACTOR)[j] = invert ? deviation : 1.0f / deviation;
        column(node, SHIFT)[j] = invert ? mean : 0.0f;
    }
}

static void forward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                    size_t last) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    ctx->kernels->standardize((last - first) * x->lines, x->width, cdl_rows(x, first), x->ld,
                              column(node, CENTER), column(node, FACTOR), column(node, SHIFT),
                              cdl_rows(y, first), y->ld);
}

static void backward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                     size_t last) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    if (!node->needs[0]) return;
    ctx->kernels->scale_columns((last - first) * x->lines, x->width, cdl_grad_rows(y, first), y->ld,
                                column(node, FACTOR), cdl_grad_rows(x, first), x->ld);
}

const struct cdl_op cdl_op_feature_norm = {
    .check = check,
    .scratch_floats = scratch_floats,
    .prepare = prepare,
    .forward = forward,
    .backward = backward,
};
