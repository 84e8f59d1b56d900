/* exact.c - integers that floats hold: y = x, and a fault where a size is 2^24 or more.
 *
 * Inputs: the integers and, if more than one rounding led to them, bounds of all intermediate
 * results, such as the sum of |x| for a sum of x. The bounds have no gradient.
 */
#include "ops/op.h"

#include <math.h>

enum { X, SIZE };

static const char *check(const struct cdl_node *node) {
    for (int i = 0; i < node->n_in; i++) CDL_CHECK(cdl_check_alike(node->in[i], node->out[0]));
    return NULL;
}

/* Not a number counts as too large. */
static void forward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[node->n_in > SIZE ? SIZE : X];
    for (size_t i = first; i < last; i++) {
        for (size_t l = 0; l < x->lines; l++) {
            const float *line = cdl_rows(x, i) + l * x->ld;
            int beyond = 0;
            for (size_t j = 0; j < x->width; j++) beyond |= !(fabsf(line[j]) < (float)CDL_EXACT);
            for (size_t j = 0; j < x->width && beyond; j++) {
                if (!(fabsf(line[j]) < (float)CDL_EXACT))
                    cdl_fault_note(node->fault, ctx->start + i, line[j], CDL_EXACT);
            }
        }
    }
}

const struct cdl_op cdl_op_exact = {
    .check = check,
    .forward = {{forward}},
    .backward = {{cdl_copy_gradient}},
    .reads_back = cdl_reads_none,
    .passes_on = true,
    .may_fault = true,
};
