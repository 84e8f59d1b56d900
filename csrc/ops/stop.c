/* stop.c - a value that gives no gradient to what it is made of. */
#include "ops/op.h"

static const char *check(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    CDL_EXPECT(x->is_int == y->is_int && cdl_same_shape(x, y),
               "output: expected the shape and the dtype of x");
    return NULL;
}

static void forward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                    size_t last) {
    (void)node, (void)ctx, (void)first, (void)last;
}

const struct cdl_op cdl_op_stop = {
    .check = check,
    .forward = forward,
    .passes_on = true,
};
