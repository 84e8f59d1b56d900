/* fork.c - one value for two readers, each of which gives it a gradient: backward adds them up.
 *
 * Both outputs are the memory of the input, so forward costs nothing; more readers are a chain.
 */
#include "ops/op.h"

#include <string.h>

static cdl_status check(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0];
    if (node->n_out != 2 || x->is_int) return CDL_ERR_PROGRAM;
    for (int i = 0; i < 2; i++) {
        if (node->out[i]->lines != x->lines || node->out[i]->width != x->width)
            return CDL_ERR_PROGRAM;
    }
    return CDL_OK;
}

static void forward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                    size_t last) {
    (void)node, (void)ctx, (void)first, (void)last;
}

static void backward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                     size_t last) {
    const struct cdl_tensor *x = node->in[0], *a = node->out[0], *b = node->out[1];
    const size_t floats = (last - first) * x->lines * x->ld;
    if (!node->needs[0]) return;
    memcpy(cdl_grad_rows(x, first), cdl_grad_rows(a->grad ? a : b, first), floats * sizeof(float));
    if (a->grad && b->grad)
        ctx->kernels->add(floats, cdl_grad_rows(b, first), cdl_grad_rows(x, first));
}

const struct cdl_op cdl_op_fork = {
    .name = "fork",
    .attributes = "",
    .params = "",
    .check = check,
    .forward = forward,
    .backward = backward,
    .passes_on = true,
};
