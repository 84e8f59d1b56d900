/* ctc.c - the loss of label sequences that are not aligned with the steps (kernels/ctc.h).
 *
 * Inputs: raw scores, a line a step; labels, int32, as many for each sample, padded by 0;
 * (optionally) a weight a sample. Output: nothing, or the loss of each sample. The total of a batch
 * is that of loss.c.
 */
#include "ops/scoring.h"

enum { REDUCTION }; /* numbers: 0 mean over samples, 1 sum, 2 apart */
enum { SCALE };     /* attributes */

static const char *check(const struct cdl_node *node) {
    const struct cdl_tensor *y = node->in[0], *v = node->out[0];
    CDL_EXPECT(!cdl_is_int(y), "predictions: expected floats");
    CDL_EXPECT(cdl_is_int(node->in[1]), "labels: expected int32");
    if (node->n_in > 2)
        CDL_EXPECT(cdl_is_one(node->in[2]), "weights: expected a float for each sample");
    CDL_EXPECT(!v || cdl_is_one(v), "output: expected a float for each sample");
    return NULL;
}

static size_t sample_floats(const struct cdl_node *node) {
    return cdl_ctc_floats(node->in[0]->lines, node->in[0]->ld, node->in[1]->lines);
}

/* The values of the samples, and what each is computed in. */
static size_t scratch_floats(const struct cdl_node *node, size_t rows) {
    return cdl_round_up(rows, CDL_LINE) + rows * sample_floats(node);
}

static void forward(CDL_PASS) {
    const struct cdl_tensor *y = node->in[0], *t = node->in[1];
    const int32_t *labels = (const int32_t *)(const void *)t->data;
    const float *weight = node->n_in > 2 ? node->in[2]->data : NULL;
    const float count = node->numbers[REDUCTION] != 0 ? 1.0f : (float)cdl_samples_joined(node, ctx);
    float *values = cdl_line_values(node);
    float *scratch = node->scratch + cdl_round_up(ctx->rows, CDL_LINE);
    for (size_t i = first; i < last; i++) {
        const float scale = node->attribute[SCALE] / count * (weight ? weight[i] : 1.0f);
        float *dy = ctx->training && node->needs[0] ? cdl_grad_rows(y, i) : NULL;
        struct cdl_ctc job = {.steps = y->lines, .n = y->width, .y = cdl_rows(y, i), .ldy = y->ld};
        job.labels = t->lines, job.t = labels + i * t->lines, job.scale = scale;
        job.scratch = scratch + i * sample_floats(node), job.loss = values + i, job.dy = dy;
        ctx->kernels->ctc(&job);
    }
}

static void report(const struct cdl_node *node, const struct cdl_context *ctx, double *state) {
    cdl_report_total(node, ctx, cdl_line_values(node), 1, (double)node->attribute[SCALE],
                     node->numbers[REDUCTION] == 1, state);
}

const struct cdl_op cdl_op_ctc = {
    .role = CDL_LOSS,
    .check = check,
    .scratch_floats = scratch_floats,
    .forward = forward,
    .report = report,
};
