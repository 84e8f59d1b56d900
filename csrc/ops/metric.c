/* metric.c - a metric: the (weighted) mean over samples of a value a line. */
#include "ops/op.h"

enum { KIND }; /* attributes */

static bool is_classes[CDL_N_METRICS] = {
#define CDL_IS_VALUES false
#define CDL_IS_CLASSES true
#define X(NAME, TARGET, PARAMS) [CDL_METRIC_##NAME] = CDL_IS_##TARGET,
    CDL_METRICS(X)
#undef X
};

static cdl_status check(const struct cdl_node *node) {
    const struct cdl_tensor *y = node->in[0], *t = node->in[1];
    const int kind = (int)node->attribute[KIND];
    if (node->n_in < 2 || kind < 0 || kind >= CDL_N_METRICS) return CDL_ERR_PROGRAM;
    if (is_classes[kind] != t->is_int || t->lines != y->lines) return CDL_ERR_PROGRAM;
    if (node->n_in > 2 && (node->in[2]->lines != 1 || node->in[2]->width != 1))
        return CDL_ERR_PROGRAM;
    return t->is_int || t->width == y->width ? CDL_OK : CDL_ERR_PROGRAM;
}

static size_t scratch_floats(const struct cdl_node *node, size_t rows) {
    return rows * node->in[0]->lines;
}

static void forward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                    size_t last) {
    const struct cdl_tensor *y = node->in[0], *t = node->in[1];
    const struct cdl_scoring scoring = {
        .rows = (last - first) * y->lines,
        .n = y->width,
        .y = cdl_rows(y, first),
        .ldy = y->ld,
        .t = t->is_int ? (const void *)((const int32_t *)(void *)t->data + first * t->lines)
                       : cdl_rows(t, first),
        .ldt = t->ld,
        .lines = y->lines,
        .value = node->scratch + first * y->lines,
        .p = node->row_param,
    };
    ctx->kernels->metric[(int)node->attribute[KIND]](&scoring);
}

static void report(const struct cdl_node *node, const struct cdl_context *ctx, double *state) {
    const size_t lines = node->in[0]->lines;
    const float *weight = node->n_in > 2 ? node->in[2]->data : NULL;
    for (size_t i = 0; i < ctx->rows; i++) {
        const double w = weight ? (double)weight[i] : 1.0;
        double sample = 0.0;
        for (size_t l = 0; l < lines; l++) sample += (double)node->scratch[i * lines + l];
        state[0] += w * sample / (double)lines;
        state[1] += w;
    }
}

const struct cdl_op cdl_op_metric = {
    .name = "metric",
    .attributes = "kind",
    .params = "",
    .table = "metrics",
    .check = check,
    .scratch_floats = scratch_floats,
    .forward = forward,
    .report = report,
};
