/* mask_weights.c - the weight of each line in the mean of a batch's losses.
 *
 * Inputs, those that READS names, in this order: weights, one a sample or one a line; a mask, one
 * number a line, 0 for a line that does not count; class numbers, of which IGNORED does not count.
 * Output: one weight a line, the product of the inputs. A loss divides by the number of lines;
 * where MEAN says otherwise the weights make up for it: the divisor is the number of lines that
 * count (+ 1e-7, as in Keras), or the sum of the weights (all 0 gives 0).
 */
#include "ops/op.h"

enum { READS, IGNORED, MEAN };                                   /* numbers */
enum { READS_WEIGHTS = 1, READS_MASK = 2, READS_CLASSES = 4 };   /* READS, added up */
enum { OVER_LINES, OVER_LINES_THAT_COUNT, OVER_SUM_OF_WEIGHTS }; /* MEAN */
enum { JOINED = 2 }; /* floats of a block that travel between processes */

struct weight_sums {
    double counted, weight;
};

/* Input number `which` of what READS may name, or NULL. */
static const struct cdl_tensor *input(const struct cdl_node *node, int which) {
    const int reads = (int)node->numbers[READS];
    int at = 0;
    for (int bit = 1; bit < which; bit *= 2) at += reads & bit ? 1 : 0;
    return reads & which ? node->in[at] : NULL;
}

static const char *check(const struct cdl_node *node) {
    const int reads = (int)node->numbers[READS], mean = (int)node->numbers[MEAN];
    const struct cdl_tensor *out = node->out[0];
    CDL_EXPECT(reads >= 1 && reads <= 7, "reads: expected 1 to 7");
    CDL_EXPECT(mean >= OVER_LINES && mean <= OVER_SUM_OF_WEIGHTS, "mean: expected 0 to 2");
    CDL_EXPECT(node->n_in == (reads & 1) + (reads / 2 & 1) + reads / 4,
               "expected the inputs that `reads` names");
    CDL_EXPECT(out->width == 1 && !cdl_is_int(out), "output: expected a float for each line");
    for (int i = 0; i < node->n_in; i++) {
        const struct cdl_tensor *in = node->in[i];
        const bool one_a_sample = i == 0 && reads & READS_WEIGHTS && in->lines == 1;
        CDL_EXPECT(in->width == 1 && (in->lines == out->lines || one_a_sample),
                   "inputs: expected a number for each line, or (weights) sample");
        CDL_EXPECT(cdl_is_int(in) == (in == input(node, READS_CLASSES)),
                   "inputs: expected int32 classes, and all else floats");
    }
    return NULL;
}

static size_t scratch_floats(const struct cdl_node *node, size_t rows) {
    return (cdl_row_blocks(rows) + 1) * (sizeof(struct weight_sums) / sizeof(float) + JOINED);
}

static struct weight_sums *sums_of(const struct cdl_node *node) {
    return (struct weight_sums *)(void *)node->scratch;
}

/* The weights of one block of samples, as they are, and their sums. */
static struct weight_sums weights_of(const struct cdl_node *node, size_t first, size_t last) {
    const struct cdl_tensor *weights = input(node, READS_WEIGHTS), *out = node->out[0];
    const struct cdl_tensor *mask = input(node, READS_MASK);
    const struct cdl_tensor *classes = input(node, READS_CLASSES);
    const int64_t ignored = node->numbers[IGNORED];
    struct weight_sums sums = {0.0, 0.0};
    for (size_t line = first * out->lines; line < last * out->lines; line++) {
        const int32_t class = classes ? ((const int32_t *)(void *)classes->data)[line] : 0;
        const bool counts = !(mask && mask->data[line] == 0.0f) && !(classes && class == ignored);
        const size_t at = weights && weights->lines == 1 ? line / out->lines : line;
        out->data[line] = counts ? (weights ? weights->data[at] : 1.0f) : 0.0f;
        sums.counted += counts ? 1.0 : 0.0;
        sums.weight += (double)out->data[line];
    }
    return sums;
}

/* Sums of the blocks of all processes, in their order. */
static struct weight_sums join_blocks(const struct cdl_node *node, const struct cdl_context *ctx) {
    const struct cdl_joined_blocks are = cdl_joined_blocks(ctx);
    float *joined = (float *)(void *)(sums_of(node) + are.own + 1);
    struct weight_sums all = {0.0, 0.0};
    for (size_t b = 0; b < are.own; b++) {
        joined[(are.first + b) * JOINED] = (float)sums_of(node)[b].counted;
        joined[(are.first + b) * JOINED + 1] = (float)sums_of(node)[b].weight;
    }
    cdl_gather_blocks(ctx, joined, JOINED);
    for (size_t b = 0; b < are.all; b++) {
        all.counted += (double)joined[b * JOINED];
        all.weight += (double)joined[b * JOINED + 1];
    }
    return all;
}

/* The sums of all blocks, in order, behind them; of several processes those of all. */
static void add_blocks(CDL_PASS) {
    if ((int)node->numbers[MEAN] == OVER_LINES) return;
    struct weight_sums all = {0.0, 0.0};
    for (size_t b = 0; b < cdl_row_blocks(ctx->rows); b++) {
        all.counted += sums_of(node)[b].counted;
        all.weight += sums_of(node)[b].weight;
    }
    if (cdl_joins(node, ctx)) all = join_blocks(node, ctx);
    sums_of(node)[cdl_row_blocks(ctx->rows)] = all;
}

static double factor_of(const struct cdl_node *node, const struct cdl_context *ctx) {
    const struct weight_sums all = sums_of(node)[cdl_row_blocks(ctx->rows)];
    const double lines = cdl_samples_joined(node, ctx) * (double)node->out[0]->lines;
    if ((int)node->numbers[MEAN] == OVER_LINES_THAT_COUNT) return lines / (all.counted + 1e-7);
    /* Keras adds up the weights as they came: one a sample counts once. */
    const bool once = (int)node->numbers[READS] == READS_WEIGHTS && node->in[0]->lines == 1;
    return all.weight == 0.0 ? 0.0
                             : (once ? lines * (double)node->out[0]->lines : lines) / all.weight;
}

static void weigh(CDL_PASS) {
    CDL_EACH_BLOCK(b, first, last) sums_of(node)[b.number] = weights_of(node, b.first, b.last);
}

static void scale(CDL_PASS) {
    const struct cdl_tensor *out = node->out[0];
    if ((int)node->numbers[MEAN] == OVER_LINES) return;
    const double factor = factor_of(node, ctx);
    for (size_t line = first * out->lines; line < last * out->lines; line++)
        out->data[line] = (float)((double)out->data[line] * factor);
}

const struct cdl_op cdl_op_mask_weights = {
    .check = check,
    .scratch_floats = scratch_floats,
    .forward = {{weigh}, {add_blocks, CDL_ONCE}, {scale}},
};
