/* activity.c - a penalty on a value itself, part of the loss: (l1 sum |x| + l2 sum x x) / samples.
 *
 * The output is the memory of the input; backward adds the penalty's gradient to the gradient. The
 * penalty is kept one number a line, and added up in order after the batch.
 */
#include "ops/op.h"

enum { L1, L2 }; /* attributes */

static size_t scratch_floats(const struct cdl_node *node, size_t rows) {
    return rows * node->in[0]->lines;
}

static void forward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0];
    ctx->kernels->line_penalties((last - first) * x->lines, x->width, cdl_rows(x, first), x->ld,
                                 node->attribute[L1], node->attribute[L2],
                                 node->scratch + first * x->lines);
}

static double penalty(const struct cdl_node *node, const struct cdl_context *ctx) {
    double sum = 0.0;
    for (size_t i = 0; i < ctx->rows * node->in[0]->lines; i++) sum += (double)node->scratch[i];
    return sum / cdl_samples_joined(node, ctx);
}

static void backward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const bool counts = !node->shared || cdl_counts_shared(ctx);
    const float part = counts ? 1.0f / (float)cdl_samples_joined(node, ctx) : 0.0f;
    ctx->kernels->add_penalty_gradients((last - first) * x->lines, x->width, cdl_lines(x, first),
                                        node->attribute[L1] * part, node->attribute[L2] * part,
                                        cdl_grad_lines(y, first), cdl_grad_lines_to(x, first));
}

const struct cdl_op cdl_op_activity = {
    .check = cdl_check_same,
    .scratch_floats = scratch_floats,
    .forward = forward,
    .backward = backward,
    .penalty = penalty,
    .passes_on = true,
};
