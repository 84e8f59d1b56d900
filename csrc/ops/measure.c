/* measure.c - a loss as a metric: the (weighted) mean over samples of a row of losses.h.
 *
 * Its gradients and probabilities are computed with it and go nowhere.
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

/* Values of the lines (scoring.h), gradients, probabilities. */
static size_t scratch_floats(const struct cdl_node *node, size_t rows) {
    return cdl_round_up(rows * node->in[0]->lines, CDL_LINE) + 2 * elements(node, rows);
}

static void forward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                    size_t last) {
    const struct cdl_tensor *y = node->in[0];
    const size_t values = cdl_round_up(ctx->rows * y->lines, CDL_LINE);
    struct cdl_scoring scoring = cdl_scoring_of(node, first, last);
    scoring.dy = node->scratch + values + first * y->lines * y->ld;
    scoring.q = scoring.dy + elements(node, ctx->rows);
    ctx->kernels->loss[(int)node->attribute[KIND]](&scoring);
}

const struct cdl_op cdl_op_measure = {
    .table = "losses",
    .table_rows = CDL_N_LOSSES,
    .check = check,
    .scratch_floats = scratch_floats,
    .forward = forward,
    .report = cdl_report_mean,
};
