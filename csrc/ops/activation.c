/* activation.c - y = f(x), elementwise, for the rows of kernels/activations.h. */
#include "ops/op.h"

enum { KIND }; /* attributes */

static const char *check(const struct cdl_node *node) {
    return cdl_check_alike(node->in[0], node->out[0]);
}

static void forward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                    size_t last) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    ctx->kernels->activation[(int)node->attribute[KIND]](
        (last - first) * x->lines, x->width, cdl_rows(x, first), x->ld, cdl_rows(y, first), y->ld,
        node->row_param);
}

static void backward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                     size_t last) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    if (!node->needs[0]) return;
    ctx->kernels->activation_gradient[(int)node->attribute[KIND]](
        (last - first) * x->lines, x->width, cdl_rows(x, first), x->ld, cdl_rows(y, first), y->ld,
        cdl_grad_rows(y, first), y->ld, cdl_grad_rows(x, first), x->ld, node->row_param);
}

const struct cdl_op cdl_op_activation = {
    .table = "activations",
    .table_rows = CDL_N_ACTIVATIONS,
    .check = check,
    .forward = forward,
    .backward = backward,
    .any_samples = true,
};
