/* loss.c - a loss: its value a line, and the gradients that start the backward pass.
 *
 * Inputs: prediction or raw scores, target, and (optionally) weights, one a sample or one a line.
 * Outputs: nothing, or the probabilities that a loss on raw scores computes on the way, or these
 * and the values of lines. The total of a batch is scale * sum of w l / (lines or 1), as Keras
 * divides: by the count, not by the weights' sum.
 */
#include "ops/lanes.h"
#include "ops/scoring.h"

enum { KIND, REDUCTION }; /* numbers; REDUCTION: 0 mean over samples and lines, 1 sum, 2 apart */
enum { SCALE };           /* attributes */

static const char *check(const struct cdl_node *node) {
    const struct cdl_tensor *y = node->in[0], *q = node->out[0], *v = node->out[1];
    CDL_CHECK(cdl_check_target(cdl_loss_target((int)node->numbers[KIND]), y, node->in[1]));
    if (node->n_in > 2) CDL_CHECK(cdl_check_weights(y, node->in[2]));
    CDL_EXPECT(!q || cdl_same_shape(q, y), "output: expected the shape of the predictions");
    CDL_EXPECT(!v || (v->lines == y->lines && v->width == 1 && !cdl_is_int(v)),
               "values: expected a float for each line");
    return NULL;
}

static float *values_of(const struct cdl_node *node) {
    return node->n_out > 1 ? node->out[1]->data : node->scratch;
}

static void forward(CDL_PASS) {
    const struct cdl_tensor *y = node->in[0];
    const double count =
        node->numbers[REDUCTION] != 0 ? 1.0 : cdl_samples_joined(node, ctx) * (double)y->lines;
    struct cdl_scoring scoring = cdl_loss_call(node, ctx, first, last);
    scoring.weight = node->n_in > 2 ? cdl_rows(node->in[2], first) : NULL;
    scoring.lines = node->n_in > 2 ? y->lines / node->in[2]->lines : 1;
    scoring.scale = (float)((double)node->attribute[SCALE] / count);
    if (node->shared && !cdl_counts_shared(ctx)) scoring.scale = 0.0f;
    if (ctx->training && node->needs[0]) scoring.dy = cdl_grad_rows(y, first);
    scoring.value = values_of(node) + first * y->lines;
    if (node->n_out) scoring.q = cdl_rows(node->out[0], first);
    ctx->kernels->loss[(int)node->numbers[KIND]](&scoring);
}

static void report(const struct cdl_node *node, const struct cdl_context *ctx, double *state) {
    cdl_report_total(node, ctx, values_of(node), node->in[0]->lines, (double)node->attribute[SCALE],
                     node->numbers[REDUCTION] == 1, state);
}

static bool goes_across(const struct cdl_node *node) {
    return cdl_loss_goes_across(node, (int)node->numbers[KIND]);
}
/* report() of all members side by side, each a sum of its own. */
static void report_lanes(const struct cdl_node *node, const struct cdl_context *ctx,
                         double *states) {
    const bool sums = node->numbers[REDUCTION] == 1;
    const double factor =
        (double)node->attribute[SCALE] * (sums ? cdl_samples_joined(node, ctx) : 1.0);
    const float *value = values_of(node), *weight = node->n_in > 2 ? node->in[2]->data : NULL;
    double total[CDL_LINE];
    for (size_t l = 0; l < CDL_LINE; l++) total[l] = states[2 * l];
    for (size_t i = 0; i < ctx->rows * CDL_LINE; i += CDL_LINE) {
        for (size_t l = 0; l < CDL_LINE && !weight; l++) total[l] += factor * (double)value[i + l];
        for (size_t l = 0; l < CDL_LINE && weight; l++)
            total[l] += factor * ((double)value[i + l] * (double)weight[i + l]);
    }
    for (size_t l = 0; l < CDL_LINE; l++)
        states[2 * l] = total[l], states[2 * l + 1] += (double)ctx->rows;
}

static const struct cdl_lanes_op in_lanes = {
    .view = CDL_BY_MEMBERS, .across = goes_across, .report = report_lanes};

const struct cdl_op cdl_op_loss = {
    .role = CDL_LOSS,
    .table = {"losses", CDL_N_LOSSES},
    .check = check,
    .scratch_floats = cdl_loss_floats,
    .forward = forward,
    .report = report,
    .parts = CDL_BY_MICRO_BATCHES,
    .lanes = &in_lanes,
};
