/* line_loss.c - the loss of each line as a value, from which more can be computed.
 *
 * The gradients are those of the row of losses.h, weighted by the gradient of the value.
 */
#include "ops/scoring.h"

enum { KIND }; /* numbers */

static const char *check(const struct cdl_node *node) {
    return cdl_check_mean(node, cdl_loss_target((int)node->numbers[KIND]));
}

static struct cdl_scoring scoring_of(CDL_PASS) {
    struct cdl_scoring scoring = cdl_loss_call(node, ctx, first, last);
    scoring.lines = 1;
    return scoring;
}

static void forward(CDL_PASS) {
    struct cdl_scoring scoring = scoring_of(node, ctx, first, last);
    scoring.value = cdl_rows(node->out[0], first);
    ctx->kernels->loss[(int)node->numbers[KIND]](&scoring);
}

static void backward(CDL_PASS) {
    struct cdl_scoring scoring = scoring_of(node, ctx, first, last);
    scoring.weight = cdl_grad_rows(node->out[0], first);
    scoring.scale = 1.0f;
    scoring.dy = cdl_grad_rows(node->in[0], first);
    ctx->kernels->loss[(int)node->numbers[KIND]](&scoring);
}

const struct cdl_op cdl_op_line_loss = {
    .table = {"losses", CDL_N_LOSSES},
    .check = check,
    .scratch_floats = cdl_loss_floats,
    .forward = forward,
    .backward = backward,
};
