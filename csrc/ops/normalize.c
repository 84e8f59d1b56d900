/* normalize.c - y = gamma u + beta with lines u of a common size, over the last axis: layer
 * normalization (Ba, Kiros and Hinton, 2016), root mean square normalization (Zhang and Sennrich,
 * 2019), unit normalization. The formulas stand in kernels/normalize.h.
 */
#include "ops/op.h"
#include "products/blocks.h"

enum { MEASURE, SUBTRACTS_MEAN }; /* numbers; MEASURE is an enum cdl_measure */
enum { EPSILON };                 /* attributes */
enum { GAMMA, BETA };             /* params; both may be missing */

/* Scratch: what stands for a missing gamma and beta, the blocks' sums of both, the lines' means and
 * factors. */
static size_t scratch_floats(const struct cdl_node *node, size_t rows) {
    const struct cdl_tensor *x = node->in[0];
    const size_t columns = cdl_column_floats(x->width);
    return 2 * columns * (1 + cdl_row_blocks(rows)) + 2 * rows * x->lines;
}

static float *plain(const struct cdl_node *node, int which) {
    return node->scratch + (size_t)which * cdl_column_floats(node->in[0]->width);
}

static float *sums(const struct cdl_node *node, const struct cdl_context *ctx, int which) {
    const size_t blocks = cdl_row_blocks(ctx->rows);
    return plain(node, 2) + (size_t)which * blocks * cdl_column_floats(node->in[0]->width);
}

static const char *check(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const int64_t measure = node->numbers[MEASURE];
    CDL_CHECK(cdl_check_alike(x, y));
    CDL_EXPECT(measure >= CDL_BY_VARIANCE && measure <= CDL_BY_NORM, "measure: expected 0 to 2");
    for (int i = GAMMA; i <= BETA; i++)
        CDL_CHECK(cdl_check_row(node->param[i], x->width,
                                "gamma, beta: expected a number for each column of x"));
    return NULL;
}

static void derive(const struct cdl_node *node, const struct cdl_kernels *kernels) {
    for (size_t j = 0; j < node->in[0]->width; j++) plain(node, GAMMA)[j] = 1.0f;
}

/* The samples from `row` on; dx only if somebody wants it. */
static struct cdl_normalizing lines_at(const struct cdl_node *node, const struct cdl_context *ctx,
                                       size_t row) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    float *means = sums(node, ctx, 2);
    return (struct cdl_normalizing){
        .n = x->width,
        .ldx = x->ld,
        .ldy = y->ld,
        .measure = (enum cdl_measure)node->numbers[MEASURE],
        .subtracts_mean = node->numbers[SUBTRACTS_MEAN] != 0,
        .epsilon = node->attribute[EPSILON],
        .x = cdl_rows(x, row),
        .gamma = node->param[GAMMA] ? node->param[GAMMA]->w : plain(node, GAMMA),
        .beta = node->param[BETA] ? node->param[BETA]->w : plain(node, BETA),
        .means = means + row * x->lines,
        .factors = means + (ctx->rows + row) * x->lines,
        .y = cdl_rows(y, row),
    };
}

static void forward(CDL_PASS) {
    const struct cdl_normalizing lines = lines_at(node, ctx, first);
    ctx->kernels->normalize_forward((last - first) * node->in[0]->lines, &lines);
}

static void backward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0];
    CDL_EACH_BLOCK(b, first, last) {
        struct cdl_normalizing lines = lines_at(node, ctx, b.first);
        lines.dy = cdl_grad_rows(node->out[0], b.first);
        lines.dx = node->needs[0] ? cdl_grad_rows(x, b.first) : NULL;
        lines.dgamma = cdl_block_sums(sums(node, ctx, GAMMA), x->width, b.number);
        lines.dbeta = cdl_block_sums(sums(node, ctx, BETA), x->width, b.number);
        ctx->kernels->normalize_backward(b.rows * x->lines, &lines);
    }
}

static void update(CDL_UPDATE) {
    cdl_learn_row(node->trained[GAMMA], ctx, rows, to, sums(node, ctx, GAMMA));
    cdl_learn_row(node->trained[BETA], ctx, rows, to, sums(node, ctx, BETA));
}

const struct cdl_op cdl_op_normalize = {
    .check = check,
    .scratch_floats = scratch_floats,
    .derive = derive,
    .number_flops = 24.0, /* two sums and the result, each of which waits for memory as well */
    .forward = forward,
    .backward = backward,
    .update = update,
    .parts = CDL_BY_ROWS,
};
