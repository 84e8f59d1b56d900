/* line_loss.c - the loss of each line as a value, from which more can be computed.
 *
 * The gradients are those of the row of losses.h, weighted by the gradient of the value.
 */
#include "ops/scoring.h"

enum { KIND }; /* attributes */

static const enum cdl_target targets[CDL_N_LOSSES] = {
#define X(NAME, TARGET, PARAMS) [CDL_LOSS_##NAME] = CDL_TARGET_IS_##TARGET,
    CDL_LINE_LOSSES(X) /* the elementwise ones are VALUES, which is 0 */
#undef X
};

static const char *check(const struct cdl_node *node) {
    return cdl_check_mean(node, targets[(int)node->attribute[KIND]]);
}

static size_t elements(const struct cdl_node *node, size_t rows) {
    return cdl_round_up(rows * node->in[0]->lines * node->in[0]->ld, CDL_LINE);
}

/* Room for gradients that are not needed, for probabilities, and for the values once more. */
static size_t scratch_floats(const struct cdl_node *node, size_t rows) {
    return 2 * elements(node, rows) + cdl_round_up(rows * node->in[0]->lines, CDL_LINE);
}

static struct cdl_scoring scoring_of(const struct cdl_node *node, const struct cdl_context *ctx,
                                     size_t first, size_t last) {
    const struct cdl_tensor *x = node->in[0];
    struct cdl_scoring scoring = cdl_scoring_of(node, first, last);
    scoring.lines = 1;
    scoring.dy = node->scratch + first * x->row_floats;
    scoring.q = scoring.dy + elements(node, ctx->rows);
    return scoring;
}

static void forward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                    size_t last) {
    struct cdl_scoring scoring = scoring_of(node, ctx, first, last);
    ctx->kernels->loss[(int)node->attribute[KIND]](&scoring);
}

static void backward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                     size_t last) {
    const struct cdl_tensor *x = node->in[0];
    if (!node->needs[0]) return;
    struct cdl_scoring scoring = scoring_of(node, ctx, first, last);
    scoring.value = node->scratch + 2 * elements(node, ctx->rows) + first * x->lines;
    scoring.weight = cdl_grad_rows(node->out[0], first);
    scoring.scale = 1.0f;
    scoring.dy = cdl_grad_rows(x, first);
    ctx->kernels->loss[(int)node->attribute[KIND]](&scoring);
}

const struct cdl_op cdl_op_line_loss = {
    .table = "losses",
    .table_rows = CDL_N_LOSSES,
    .check = check,
    .scratch_floats = scratch_floats,
    .forward = forward,
    .backward = backward,
};
