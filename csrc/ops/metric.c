/* metric.c - a metric: the (weighted) mean over samples of a value a line. */
#include "ops/scoring.h"

enum { KIND }; /* attributes */

static const enum cdl_target targets[CDL_N_METRICS] = {
#define X(NAME, TARGET, PARAMS) [CDL_METRIC_##NAME] = CDL_TARGET_IS_##TARGET,
    CDL_METRICS(X)
#undef X
};

static const char *check(const struct cdl_node *node) {
    return cdl_check_mean(node, targets[(int)node->attribute[KIND]]);
}

static size_t scratch_floats(const struct cdl_node *node, size_t rows) {
    return rows * node->in[0]->lines;
}

static void forward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                    size_t last) {
    const struct cdl_scoring scoring = cdl_scoring_of(node, first, last);
    ctx->kernels->metric[(int)node->attribute[KIND]](&scoring);
}

const struct cdl_op cdl_op_metric = {
    .table = "metrics",
    .table_rows = CDL_N_METRICS,
    .check = check,
    .scratch_floats = scratch_floats,
    .forward = forward,
    .report = cdl_report_mean,
};
