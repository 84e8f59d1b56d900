/* lanes.c - ops that run in lanes as they are. */
#include "ops/lanes.h"

/* Values of one shape, of which no weight is known by column. */
static bool are_alike(const struct cdl_node *node) {
    bool alike = node->n_out == 1 && !node->param[0] && !node->op->follows;
    for (int k = 0; k < node->n_in; k++) alike &= cdl_same_shape(node->in[k], node->out[0]);
    return alike;
}

static bool has_no_mask(const struct cdl_node *node) { return node->n_in == 1; }

const struct cdl_lanes_op cdl_lanes_elementwise = {.view = CDL_BY_ELEMENTS, .fits = are_alike};
const struct cdl_lanes_op cdl_lanes_columns = {
    .view = CDL_BY_ELEMENTS, .by_columns = true, .fits = has_no_mask};
