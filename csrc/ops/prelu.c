/* prelu.c - y = x above 0 and alpha x below, with a slope alpha a column that learns (He et al.,
 * "Delving deep into rectifiers", 2015). At 0 the slope of both sides is 0, as in Keras. */
#include "ops/op.h"
#include "products/blocks.h"

enum { ALPHA }; /* params */

static size_t scratch_floats(const struct cdl_node *node, size_t rows) {
    return cdl_column_floats(node->in[0]->width) * cdl_row_blocks(rows);
}

static const char *check(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    CDL_CHECK(cdl_check_alike(x, y));
    CDL_EXPECT(node->param[ALPHA], "alpha: expected one");
    return cdl_check_row(node->param[ALPHA], x->width,
                         "alpha: expected a number for each column of x");
}

static void forward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    ctx->kernels->prelu((last - first) * x->lines, x->width, cdl_rows(x, first), x->ld,
                        node->param[ALPHA]->w, cdl_rows(y, first), y->ld);
}

static void backward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    CDL_EACH_BLOCK(b, first, last)
        ctx->kernels->prelu_backward(b.rows * x->lines, x->width, cdl_lines(x, b.first),
                                     node->param[ALPHA]->w, cdl_grad_lines(y, b.first),
                                     node->needs[0] ? cdl_grad_lines_to(x, b.first)
                                                    : (struct cdl_output){0},
                                     cdl_block_sums(node->scratch, x->width, b.number));
}

static void update(CDL_UPDATE) {
    cdl_learn_row(node->trained[ALPHA], ctx, rows, to, node->scratch);
}

const struct cdl_op cdl_op_prelu = {
    .check = check,
    .scratch_floats = scratch_floats,
    .forward = forward,
    .backward = backward,
    .update = update,
    .parts = CDL_BY_ROWS,
};
