/* probe.c - a value whose gradient somebody wants to read: itself.
 *
 * It counts as something that learns, so that gradients flow back to it; as an output of the
 * program, its gradient stays until it is read.
 */
#include "ops/op.h"

#include <string.h>

static const char *check(const struct cdl_node *node) {
    return cdl_check_alike(node->in[0], node->out[0]);
}

static void backward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                     size_t last) {
    (void)ctx;
    const struct cdl_tensor *x = node->in[0];
    if (!node->needs[0]) return;
    memcpy(cdl_grad_rows(x, first), cdl_grad_rows(node->out[0], first),
           (last - first) * x->lines * x->ld * sizeof(float));
}

const struct cdl_op cdl_op_probe = {
    .check = check,
    .backward = backward,
    .passes_on = true,
    .wants_gradient = true,
};
