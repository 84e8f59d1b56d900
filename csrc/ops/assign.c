/* assign.c - assignment of a shared value to a weight at the end of a batch: moving averages and
 * counts that layers keep. The assigned weight gets no gradient by it. */
#include "ops/op.h"

enum { WEIGHT }; /* params */

static const char *check(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0];
    const struct cdl_param *w = node->param[WEIGHT];
    CDL_EXPECT(w, "weight: expected one");
    CDL_EXPECT(x->shared, "x: expected a value that all samples share");
    CDL_EXPECT(cdl_holds(w, x), "x: expected the shape of the weight");
    return NULL;
}

static void settle(const struct cdl_node *node, const struct cdl_context *ctx) {
    const struct cdl_tensor *x = node->in[0];
    cdl_param_write(node->param[WEIGHT], x->width, x->data, x->ld);
}

const struct cdl_op cdl_op_assign = {
    .check = check,
    .settle = settle,
};
