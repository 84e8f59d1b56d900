/* metric.c - the (weighted) mean over samples of a value a line: `metric` of a row of metrics.h,
 * `measure` of a row of losses.h, whose gradients and probabilities go nowhere. */
#include "ops/lanes.h"
#include "ops/scoring.h"

enum { KIND }; /* numbers */

static bool is_loss(const struct cdl_node *node) { return node->op == &cdl_op_measure; }

#define TARGET_OF(NAME, TARGET, PARAMS) [CDL_METRIC_##NAME] = CDL_TARGET_IS_##TARGET,
static const enum cdl_target targets[CDL_N_METRICS] = {CDL_METRICS(TARGET_OF)};

static const char *check(const struct cdl_node *node) {
    const int kind = (int)node->numbers[KIND];
    return cdl_check_mean(node, is_loss(node) ? cdl_loss_target(kind) : targets[kind]);
}

static size_t scratch_floats(const struct cdl_node *node, size_t rows) {
    return is_loss(node) ? cdl_loss_floats(node, rows) : rows * node->in[0]->lines;
}

static void forward(CDL_PASS) {
    const int kind = (int)node->numbers[KIND];
    struct cdl_scoring scoring =
        is_loss(node) ? cdl_loss_call(node, ctx, first, last) : cdl_scoring_of(node, first, last);
    scoring.value = cdl_line_values(node) + first * node->in[0]->lines;
    (is_loss(node) ? ctx->kernels->loss[kind] : ctx->kernels->metric[kind])(&scoring);
}

static bool goes_across(const struct cdl_node *node) {
    const int kind = (int)node->numbers[KIND];
    if (is_loss(node)) return cdl_loss_goes_across(node, kind);
    const bool argmax =
        kind == CDL_METRIC_categorical_accuracy || kind == CDL_METRIC_sparse_categorical_accuracy;
    return argmax && node->in[0]->width > 1 && node->in[0]->width <= CDL_LINE;
}
static const struct cdl_lanes_op in_lanes = {.view = CDL_BY_MEMBERS, .across = goes_across};

#define MEAN                                                                                       \
    .check = check, .scratch_floats = scratch_floats, .forward = forward,                          \
    .report = cdl_report_mean, .parts = CDL_BY_MICRO_BATCHES, .lanes = &in_lanes
const struct cdl_op cdl_op_metric = {MEAN, .table = {"metrics", CDL_N_METRICS}};
const struct cdl_op cdl_op_measure = {MEAN, .table = {"losses", CDL_N_LOSSES}};
