/* observe.c - a metric that is the mean of any value: of its numbers, weighted sample by sample.
 *
 * State: the weighted sum and the sum of the weights. What is shared counts once a batch.
 */
#include "ops/op.h"

static cdl_status check(const struct cdl_node *node) {
    const struct cdl_tensor *v = node->in[0], *w = node->in[1];
    if (node->n_in < 1 || node->n_in > 2 || node->n_out || v->is_int) return CDL_ERR_PROGRAM;
    if (node->n_in > 1 && (w->lines != 1 || w->width != 1 || w->is_int)) return CDL_ERR_PROGRAM;
    return CDL_OK;
}

static void forward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                    size_t last) {
    (void)node, (void)ctx, (void)first, (void)last;
}

static void report(const struct cdl_node *node, const struct cdl_context *ctx, double *state) {
    const struct cdl_tensor *v = node->in[0];
    const float *weight = node->n_in > 1 && !v->shared ? node->in[1]->data : NULL;
    const size_t rows = v->shared ? 1 : ctx->batch;
    for (size_t i = 0; i < rows; i++) {
        const float *sample = cdl_rows(v, i);
        const double w = weight ? (double)weight[i] : 1.0;
        double sum = 0.0;
        for (size_t l = 0; l < v->lines; l++)
            for (size_t j = 0; j < v->width; j++) sum += (double)sample[l * v->ld + j];
        state[0] += w * sum;
        state[1] += w * (double)(v->lines * v->width);
    }
}

const struct cdl_op cdl_op_observe = {
    .name = "observe",
    .attributes = "",
    .params = "",
    .check = check,
    .forward = forward,
    .report = report,
};
