/* loss.c - a loss: its value a line, and the gradients that start the backward pass.
 *
 * Inputs: prediction or raw scores, target, and (optionally) weights, one a sample or one a line.
 * Outputs: nothing, or the probabilities that a loss on raw scores computes on the way. The total
 * of a batch is scale * sum of w l / (lines or 1), as Keras divides: by the count, not by the
 * weights' sum.
 */
#include "ops/scoring.h"

enum { KIND, SCALE, REDUCTION }; /* attributes; REDUCTION: 0 mean over samples and lines, 1 sum */

static const bool is_classes[CDL_N_LOSSES] = {
#define CDL_IS_VALUES false
#define CDL_IS_CLASSES true
#define X(NAME, TARGET, PARAMS) [CDL_LOSS_##NAME] = CDL_IS_##TARGET,
    CDL_LINE_LOSSES(X)
#undef X
};

static const char *check(const struct cdl_node *node) {
    const struct cdl_tensor *y = node->in[0], *t = node->in[1], *q = node->out[0];
    const int kind = (int)node->attribute[KIND];
    CDL_EXPECT(t->is_int == is_classes[kind],
               is_classes[kind] ? "targets: expected int32 classes" : "targets: expected floats");
    CDL_EXPECT(t->lines == y->lines && (t->is_int || t->width == y->width),
               "targets: expected the shape of the predictions, or a class a line");
    if (node->n_in > 2) CDL_CHECK(cdl_check_weights(y, node->in[2]));
    CDL_EXPECT(!q || cdl_same_shape(q, y), "output: expected the shape of the predictions");
    return NULL;
}

/* Values of the lines; and, where no one keeps them, a place for gradients and probabilities. */
static size_t scratch_floats(const struct cdl_node *node, size_t rows) {
    const struct cdl_tensor *y = node->in[0];
    return cdl_round_up(rows * y->lines, CDL_LINE) + 2 * rows * y->lines * y->ld;
}

static void forward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                    size_t last) {
    const struct cdl_tensor *y = node->in[0], *t = node->in[1];
    const size_t capacity = cdl_round_up(ctx->rows * y->lines, CDL_LINE);
    float *gradients = node->scratch + capacity;
    float *probabilities = gradients + ctx->rows * y->lines * y->ld;
    const size_t at = first * y->lines * y->ld;
    const double count = node->attribute[REDUCTION] != 0.0f ? 1.0 : (double)(ctx->rows * y->lines);
    const struct cdl_scoring scoring = {
        .rows = (last - first) * y->lines,
        .n = y->width,
        .y = cdl_rows(y, first),
        .ldy = y->ld,
        .t = t->is_int ? (const void *)((const int32_t *)(void *)t->data + first * t->lines)
                       : cdl_rows(t, first),
        .ldt = t->ld,
        .weight = node->n_in > 2 ? cdl_rows(node->in[2], first) : NULL,
        .lines = node->n_in > 2 ? y->lines / node->in[2]->lines : 1,
        .scale = (float)((double)node->attribute[SCALE] / count),
        .dy = ctx->training && node->needs[0] ? cdl_grad_rows(y, first) : gradients + at,
        .q = node->n_out ? cdl_rows(node->out[0], first) : probabilities + at,
        .value = node->scratch + first * y->lines,
        .p = node->row_param,
    };
    ctx->kernels->loss[(int)node->attribute[KIND]](&scoring);
}

/* n_b L_b of this batch, whose sum over the batches divided by the samples is the logged loss. */
static void report(const struct cdl_node *node, const struct cdl_context *ctx, double *state) {
    const size_t lines = node->in[0]->lines;
    const float *weight = node->n_in > 2 ? node->in[2]->data : NULL;
    const size_t weighted = weight ? lines / node->in[2]->lines : lines; /* lines a weight */
    double sum = 0.0;
    for (size_t i = 0; i < ctx->rows * lines / weighted; i++) {
        double part = 0.0;
        for (size_t l = 0; l < weighted; l++) part += (double)node->scratch[i * weighted + l];
        sum += weight ? part * (double)weight[i] : part;
    }
    const double rows = (double)ctx->rows;
    const double scale = (double)node->attribute[SCALE];
    state[0] += scale * sum * (node->attribute[REDUCTION] != 0.0f ? rows : 1.0 / (double)lines);
    state[1] += rows;
}

const struct cdl_op cdl_op_loss = {
    .table = "losses",
    .table_rows = CDL_N_LOSSES,
    .check = check,
    .scratch_floats = scratch_floats,
    .forward = forward,
    .report = report,
    .is_loss = true,
};
