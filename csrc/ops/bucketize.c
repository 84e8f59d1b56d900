/* bucketize.c - y = how many of the ascending boundaries are at most x: the number of x's bin. NaN
 * is beyond all of them. It has no gradient. */
#include "ops/op.h"

enum { BOUNDARIES }; /* params; missing if there are none */

static const char *check(const struct cdl_node *node) {
    const struct cdl_param *boundaries = node->param[BOUNDARIES];
    CDL_EXPECT(!boundaries || !boundaries->matrix, "boundaries: expected no matrix");
    return cdl_check_alike(node->in[0], node->out[0]);
}

static void forward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const struct cdl_param *boundaries = node->param[BOUNDARIES];
    const float *from = cdl_rows(x, first);
    float *to = cdl_rows(y, first);
    for (size_t l = first * x->lines; l < last * x->lines; l++, from += x->ld, to += y->ld) {
        for (size_t j = 0; j < cdl_padded(x->width); j++) {
            const bool counts = boundaries && j < x->width;
            to[j] = counts ? (float)cdl_count_below(boundaries->cols, boundaries->w, from[j], true)
                           : 0.0f;
        }
    }
}

const struct cdl_op cdl_op_bucketize = {
    .check = check,
    .forward = forward,
};
