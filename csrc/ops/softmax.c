/* softmax.c - y = exp(x) / sum exp(x) over the last axis. */
#include "ops/op.h"

static const char *check(const struct cdl_node *node) {
    return cdl_check_alike(node->in[0], node->out[0]);
}

static void forward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                    size_t last) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    ctx->kernels->softmax_forward((last - first) * x->lines, x->width, cdl_rows(x, first), x->ld,
                                  cdl_rows(y, first), y->ld);
}

static void backward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                     size_t last) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    if (!node->needs[0]) return;
    ctx->kernels->softmax_backward((last - first) * x->lines, x->width, cdl_rows(y, first), y->ld,
                                   cdl_grad_rows(y, first), y->ld, cdl_grad_rows(x, first), x->ld);
}

const struct cdl_op cdl_op_softmax = {
    .check = check,
    .forward = forward,
    .backward = backward,
    .any_samples = true,
};
