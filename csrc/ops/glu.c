/* glu.c - y = a sigmoid(b), a and b the halves of the last axis (Dauphin et al., 2017). */
#include "ops/op.h"

static const char *check(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    CDL_EXPECT(x->lines == y->lines && x->width == 2 * y->width,
               "output: expected the lines of x, and half its columns");
    return NULL;
}

static void forward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                    size_t last) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    ctx->kernels->glu_forward((last - first) * x->lines, y->width, cdl_rows(x, first), x->ld,
                              cdl_rows(y, first), y->ld);
}

static void backward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                     size_t last) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    if (!node->needs[0]) return;
    ctx->kernels->glu_backward((last - first) * x->lines, y->width, cdl_rows(x, first), x->ld,
                               cdl_grad_rows(y, first), y->ld, cdl_grad_rows(x, first), x->ld);
}

const struct cdl_op cdl_op_glu = {
    .check = check,
    .forward = forward,
    .backward = backward,
};
