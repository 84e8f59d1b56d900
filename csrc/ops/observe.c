/* observe.c - a metric that is the mean of any value: of its numbers, each sample or each number
 * weighted.
 *
 * State: the weighted sum and the sum of the weights, both of a sample's means over its numbers, so
 * that a sample of more numbers counts as much. What is shared counts once a batch, by its numbers.
 */
#include "ops/op.h"

static const char *check(const struct cdl_node *node) {
    const struct cdl_tensor *v = node->in[0], *w = node->in[1];
    CDL_EXPECT(!cdl_is_int(v), "values: expected floats");
    if (node->n_in == 1) return NULL;
    CDL_EXPECT(w->width == 1 && (w->lines == 1 || w->lines == v->lines * v->width) &&
                   !cdl_is_int(w),
               "weights: expected a float for each sample or value");
    return NULL;
}

static void report(const struct cdl_node *node, const struct cdl_context *ctx, double *state) {
    const struct cdl_tensor *v = node->in[0];
    const float *weight = node->n_in > 1 && !v->shared ? node->in[1]->data : NULL;
    const size_t rows = v->shared ? 1 : ctx->batch;
    const bool each = weight && node->in[1]->lines > 1; /* a weight a number */
    const double share = v->shared ? 1.0 : 1.0 / (double)(v->lines * v->width);
    for (size_t i = 0; i < rows; i++) {
        const float *sample = cdl_rows(v, i);
        for (size_t k = 0; k < v->lines * v->width; k++) {
            const double given =
                weight ? (double)weight[each ? i * v->lines * v->width + k : i] : 1.0;
            const double w = share * given;
            state[0] += w * (double)sample[k / v->width * v->ld + k % v->width];
            state[1] += w;
        }
    }
}

const struct cdl_op cdl_op_observe = {
    .check = check,
    .report = report,
};
