/* objective.c - a loss, or a part of one, computed by other instructions.
 *
 * Inputs: a value of any shape, a sample's or shared, and (optionally) weights: one a sample, one a
 * line, or one an element. The total of a batch is scale * sum of w x / (elements or 1). One that
 * does not count has no report of its own: it is part of the loss as penalties are. Where elements
 * stay apart, the report is their mean, and the gradient that of their sum.
 */
#include "ops/lines.h"

enum { TOGETHER = 256 };    /* lines */
enum { REDUCTION, COUNTS }; /* numbers; REDUCTION: 0 mean over all elements, 1 sum, 2 apart */
enum { SCALE };             /* attributes */

static bool weights_fit(const struct cdl_tensor *x, const struct cdl_tensor *w) {
    if (cdl_is_int(w) || (w->lines != x->lines && w->lines != 1)) return false;
    return w->width == 1 || (w->width == x->width && w->lines == x->lines);
}

static const char *check(const struct cdl_node *node) {
    CDL_EXPECT(!cdl_is_int(node->in[0]), "x: expected floats");
    CDL_EXPECT(node->n_in == 1 || weights_fit(node->in[0], node->in[1]),
               "weights: expected a float for each sample, line or element of x");
    return NULL;
}

static bool weighs_elements(const struct cdl_node *node) {
    return node->n_in > 1 && node->in[1]->width > 1;
}

static float weight_of(const struct cdl_node *node, size_t line) {
    if (node->n_in == 1) return 1.0f;
    const struct cdl_tensor *x = node->in[0], *w = node->in[1];
    return w->data[w->lines == x->lines ? line : line / x->lines];
}

static double count_of(const struct cdl_node *node, const struct cdl_context *ctx, bool sums) {
    const struct cdl_tensor *x = node->in[0];
    return sums ? 1.0 : cdl_samples_joined(node, ctx) * (double)(x->lines * x->width);
}

/* The gradients, which are known before any sum. */
static void forward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0];
    float gradient = (float)((double)node->attribute[SCALE] /
                             count_of(node, ctx, node->numbers[REDUCTION] != 0));
    if (node->shared && !cdl_counts_shared(ctx)) gradient = 0.0f;
    if (!ctx->training || !node->needs[0]) return;
    float *dx = cdl_grad_rows(x, first);
    if (weighs_elements(node)) {
        const float *w = cdl_rows(node->in[1], first);
        for (size_t i = 0; i < (last - first) * x->lines * x->ld; i++) dx[i] = gradient * w[i];
        cdl_clear_pads(x, dx, (last - first) * x->lines);
        return;
    }
    float gradients[TOGETHER];
    for (size_t line = first * x->lines; line < last * x->lines; line += TOGETHER) {
        const size_t left = last * x->lines - line, n = cdl_min(left, TOGETHER);
        for (size_t i = 0; i < n; i++) gradients[i] = gradient * weight_of(node, line + i);
        ctx->kernels->fill_lines(n, 1, x->width, gradients, x->grad + line * x->ld, x->ld);
    }
}

static double sum_of(const struct cdl_node *node, const struct cdl_context *ctx) {
    const struct cdl_tensor *x = node->in[0];
    const size_t lines = ctx->rows * x->lines;
    double sum = 0.0;
    if (weighs_elements(node)) {
        const float *w = node->in[1]->data;
        for (size_t i = 0; i < lines * x->ld; i++)
            sum += i % x->ld < x->width ? (double)x->data[i] * (double)w[i] : 0.0;
        return sum;
    }
    size_t line = 0;
    for (; line + 4 <= lines; line += 4) { /* four chains of sums at a time */
        const float *row[4];
        double part[4] = {0.0, 0.0, 0.0, 0.0};
        for (size_t l = 0; l < 4; l++) row[l] = x->data + (line + l) * x->ld;
        for (size_t j = 0; j < x->width; j++) {
            for (size_t l = 0; l < 4; l++) part[l] += (double)row[l][j];
        }
        for (size_t l = 0; l < 4; l++) sum += part[l] * (double)weight_of(node, line + l);
    }
    for (; line < lines; line++) {
        double part = 0.0;
        for (size_t j = 0; j < x->width; j++) part += (double)x->data[line * x->ld + j];
        sum += part * (double)weight_of(node, line);
    }
    return sum;
}

static double loss_of(const struct cdl_node *node, const struct cdl_context *ctx) {
    return (double)node->attribute[SCALE] * sum_of(node, ctx) /
           count_of(node, ctx, node->numbers[REDUCTION] == 1);
}

/* n_b L_b of this batch, whose sum over the batches divided by the samples is the logged loss. */
static void report(const struct cdl_node *node, const struct cdl_context *ctx, double *state) {
    if (node->numbers[COUNTS] == 0) return;
    state[0] += loss_of(node, ctx) * (double)(node->shared ? ctx->batch : ctx->joined);
    state[1] += (double)ctx->batch;
}

static double penalty(const struct cdl_node *node, const struct cdl_context *ctx) {
    return node->numbers[COUNTS] == 0 ? loss_of(node, ctx) : 0.0;
}

const struct cdl_op cdl_op_objective = {
    .role = CDL_LOSS,
    .check = check,
    .forward = forward,
    .report = report,
    .penalty = penalty,
};
