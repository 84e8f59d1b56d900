/* scoring.h - what losses and metrics share: which targets fit, the call of a kernel, its scratch,
 * and the totals of lines' values. */
#pragma once

#include "ops/op.h"

/* The targets of a row of losses.h: those of the elementwise ones are VALUES, which is 0. */
#define CDL_LOSS_TARGET(NAME, TARGET, PARAMS) [CDL_LOSS_##NAME] = CDL_TARGET_IS_##TARGET,
static inline enum cdl_target cdl_loss_target(int kind) {
    static const enum cdl_target targets[CDL_N_LOSSES] = {CDL_LINE_LOSSES(CDL_LOSS_TARGET)};
    return targets[kind];
}

static inline const char *cdl_check_target(enum cdl_target kind, const struct cdl_tensor *y,
                                           const struct cdl_tensor *t) {
    CDL_EXPECT(t->lines == y->lines, "targets: expected as many lines as predictions");
    if (kind == CDL_TARGET_IS_CLASSES) {
        CDL_EXPECT(cdl_is_int(t), "targets: expected int32 classes");
        return NULL;
    }
    CDL_EXPECT(!cdl_is_int(t), "targets: expected floats");
    CDL_EXPECT(t->width == (kind == CDL_TARGET_IS_VALUES ? y->width : 1),
               kind == CDL_TARGET_IS_VALUES ? "targets: expected the shape of the predictions"
                                            : "targets: expected a number for each line");
    return NULL;
}

/* Weights: one a sample or one a line. */
static inline const char *cdl_check_weights(const struct cdl_tensor *y,
                                            const struct cdl_tensor *w) {
    CDL_EXPECT(w->width == 1 && (w->lines == 1 || w->lines == y->lines) && !cdl_is_int(w),
               "weights: expected a float for each sample or line");
    return NULL;
}

/* Error unless a node has the inputs prediction, target and weights, and at most one output, the
 * value of each line. */
static inline const char *cdl_check_mean(const struct cdl_node *node, enum cdl_target kind) {
    const struct cdl_tensor *y = node->in[0], *w = node->in[2], *v = node->out[0];
    CDL_CHECK(cdl_check_target(kind, y, node->in[1]));
    if (node->n_in > 2) CDL_CHECK(cdl_check_weights(y, w));
    CDL_EXPECT(node->n_out == 0 || (v->lines == y->lines && v->width == 1 && !cdl_is_int(v)),
               "output: expected a float for each line");
    return NULL;
}

static inline float *cdl_line_values(const struct cdl_node *node) {
    return node->n_out ? node->out[0]->data : node->scratch;
}

/* The call of a kernel for the samples [first, last); what only losses fill is left empty. */
static inline struct cdl_scoring cdl_scoring_of(const struct cdl_node *node, size_t first,
                                                size_t last) {
    const struct cdl_tensor *y = node->in[0], *t = node->in[1];
    return (struct cdl_scoring){
        .rows = (last - first) * y->lines,
        .n = y->width,
        .y = cdl_rows(y, first),
        .ldy = y->ld,
        .t = cdl_is_int(t) ? (const void *)((const int32_t *)(void *)t->data + first * t->lines)
                           : cdl_rows(t, first),
        .ldt = t->ld,
        .lines = y->lines,
        .value = cdl_line_values(node) + first * y->lines,
        .p = node->row_param,
        .across = y->across,
    };
}

/* Can the kernel of a loss take lines across (cdl_scoring)? */
static inline bool cdl_loss_goes_across(const struct cdl_node *node, int kind) {
    const bool goes = kind < CDL_LOSS_categorical_crossentropy || /* elementwise */
                      kind == CDL_LOSS_softmax_categorical_crossentropy ||
                      kind == CDL_LOSS_softmax_sparse_categorical_crossentropy;
    return goes && node->in[0]->width > 1 && node->in[0]->width <= CDL_LINE;
}

/* Scratch of what calls the kernel of a loss: the values of the lines, and where no one keeps them
 * gradients and probabilities. */
static inline size_t cdl_loss_elements(const struct cdl_node *node, size_t rows) {
    return cdl_round_up(rows * node->in[0]->lines * node->in[0]->ld, CDL_LINE);
}
static inline size_t cdl_loss_floats(const struct cdl_node *node, size_t rows) {
    return cdl_round_up(rows * node->in[0]->lines, CDL_LINE) + 2 * cdl_loss_elements(node, rows);
}

/* The call of the kernel of a loss, with all results in scratch. */
static inline struct cdl_scoring cdl_loss_call(const struct cdl_node *node,
                                               const struct cdl_context *ctx, size_t first,
                                               size_t last) {
    const struct cdl_tensor *y = node->in[0];
    struct cdl_scoring scoring = cdl_scoring_of(node, first, last);
    scoring.value = node->scratch + first * y->lines;
    scoring.dy =
        node->scratch + cdl_round_up(ctx->rows * y->lines, CDL_LINE) + first * y->lines * y->ld;
    scoring.q = scoring.dy + cdl_loss_elements(node, ctx->rows);
    return scoring;
}

/* Sum of a value a sample, sample by sample: micro-batches add up to the same. */
static inline double cdl_add_values(double total, const float *values, size_t n, double factor) {
    for (size_t i = 0; i < n; i++) total += factor * (double)values[i];
    return total;
}

/* State: the weighted sum of the samples' means over their lines, and the weights' sum, where lines
 * have weights of their own their mean over a sample: so a sample of more lines, in another
 * program, counts as much. */
static inline void cdl_report_mean(const struct cdl_node *node, const struct cdl_context *ctx,
                                   double *state) {
    const float *weight = node->n_in > 2 ? node->in[2]->data : NULL, *value = cdl_line_values(node);
    const size_t all = ctx->rows * node->in[0]->lines;
    const size_t weights = weight ? node->in[2]->lines : 1; /* a sample */
    const size_t lines = node->in[0]->lines / weights;      /* a weight */
    if (!weight && lines == 1) {
        state[0] = cdl_add_values(state[0], value, all, 1.0);
        state[1] += (double)all;
        return;
    }
    for (size_t i = 0; i < all / lines; i++) {
        const double w = weight ? (double)weight[i] / (double)weights : 1.0;
        double sample = 0.0;
        for (size_t l = 0; l < lines; l++) sample += (double)value[i * lines + l];
        state[0] += lines > 1 ? w * sample / (double)lines : w * sample;
        state[1] += w;
    }
}

/* Report of a loss: n_b L_b of this batch, whose sum over batches divided by the samples is the
 * logged loss; `lines` values a sample, weighted by the third input. */
static inline void cdl_report_total(const struct cdl_node *node, const struct cdl_context *ctx,
                                    const float *values, size_t lines, double scale, bool sums,
                                    double *state) {
    const float *weight = node->n_in > 2 ? node->in[2]->data : NULL;
    const size_t weighted = weight ? lines / node->in[2]->lines : lines; /* lines a weight */
    const double factor = scale * (sums ? cdl_samples_joined(node, ctx) : 1.0 / (double)lines);
    const size_t plain = weighted == 1 && !weight ? ctx->rows : 0;
    double total = cdl_add_values(state[0], values, plain, factor);
    for (size_t i = plain; i < ctx->rows * lines / weighted; i++) {
        double part = 0.0;
        for (size_t l = 0; l < weighted; l++) part += (double)values[i * weighted + l];
        total += factor * (weight ? part * (double)weight[i] : part);
    }
    state[0] = total;
    state[1] += (double)ctx->rows;
}
