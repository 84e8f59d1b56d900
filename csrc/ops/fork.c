/* fork.c - one value for two readers, each of which gives it a gradient: backward adds them up.
 *
 * Both outputs are the memory of the input, so forward costs nothing; more readers are a chain, of
 * which one gradient is the memory that all are added to.
 */
#include "ops/op.h"

static const char *check(const struct cdl_node *node) {
    for (int i = 0; i < 2; i++) CDL_CHECK(cdl_check_alike(node->in[0], node->out[i]));
    return NULL;
}

/* The gradient of one output is the memory of the input's; that of the other is added. */
static void backward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                     size_t last) {
    const struct cdl_tensor *x = node->in[0];
    const size_t floats = (last - first) * x->lines * x->ld;
    for (int o = 0; o < node->n_out && node->needs[0]; o++) {
        const struct cdl_tensor *y = node->out[o];
        if (!y->grad || y->grad_owner == x->grad_owner) continue;
        ctx->kernels->add(floats, cdl_grad_rows(y, first), cdl_grad_rows(x, first));
    }
}

const struct cdl_op cdl_op_fork = {
    .check = check,
    .backward = backward,
    .passes_on = true,
};
