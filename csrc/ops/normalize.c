/* normalize.c - y = gamma u + beta with lines u of a common size, over the last axis: layer
 * normalization (Ba, Kiros and Hinton, 2016), root mean square normalization (Zhang and Sennrich,
 * 2019), unit normalization. The formulas stand in kernels/normalize.h.
 */
#include "ops/lanes.h"
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

/* ---- of models in lanes -----------------------------------------------------------------------
 */

static bool has_pads(const struct cdl_node *node) { return node->in[0]->width > 1; }

/* Scratch: sums of a block of samples and of all, for gamma and beta; means and factors. */
static size_t scratch_lanes(const struct cdl_node *node, size_t rows) {
    return (4 * node->in[0]->lines + 2 * rows) * CDL_LINE;
}
static float *sums_lanes(const struct cdl_node *node, int which) {
    return node->scratch + (size_t)which * node->in[0]->lines * CDL_LINE;
}

static struct cdl_normalizing lines_lanes(const struct cdl_node *node,
                                          const struct cdl_context *ctx, size_t row) {
    static const float ones[CDL_LINE] = {1.0f, 1.0f, 1.0f, 1.0f, 1.0f, 1.0f, 1.0f, 1.0f,
                                         1.0f, 1.0f, 1.0f, 1.0f, 1.0f, 1.0f, 1.0f, 1.0f};
    struct cdl_normalizing lines = lines_at(node, ctx, row);
    lines.n = node->in[0]->lines;
    lines.gamma = node->param[GAMMA] ? node->param[GAMMA]->w : ones;
    lines.beta = node->param[BETA] ? node->param[BETA]->w : cdl_zeros;
    lines.gamma_step = node->param[GAMMA] ? CDL_LINE : 0;
    lines.beta_step = node->param[BETA] ? CDL_LINE : 0;
    lines.means = sums_lanes(node, 4) + row * CDL_LINE;
    lines.factors = lines.means + ctx->rows * CDL_LINE;
    return lines;
}

static void forward_lanes(CDL_PASS) {
    const struct cdl_normalizing lines = lines_lanes(node, ctx, first);
    ctx->kernels->lanes_normalize(last - first, &lines);
}

static void backward_lanes(CDL_PASS) {
    const size_t floats = 2 * node->in[0]->lines * CDL_LINE;
    memset(sums_lanes(node, GAMMA), 0, floats * sizeof(float));
    CDL_EACH_BLOCK(b, first, last) {
        struct cdl_normalizing lines = lines_lanes(node, ctx, b.first);
        lines.dy = cdl_grad_rows(node->out[0], b.first);
        lines.dx = node->needs[0] ? cdl_grad_rows(node->in[0], b.first) : NULL;
        lines.dgamma = sums_lanes(node, 2 + GAMMA), lines.dbeta = sums_lanes(node, 2 + BETA);
        ctx->kernels->lanes_normalize_back(b.rows, &lines);
        ctx->kernels->add(floats, lines.dgamma, sums_lanes(node, GAMMA));
    }
}

static void update_lanes(CDL_UPDATE) {
    const struct cdl_block block = {.rows = node->in[0]->lines, .width = CDL_LINE};
    for (int i = GAMMA; i <= BETA; i++)
        if (node->trained[i]) cdl_learn(node->trained[i], ctx, to, block, sums_lanes(node, i));
}

static const struct cdl_lanes_op in_lanes = {.view = CDL_BY_ELEMENTS,
                                             .fits = has_pads,
                                             .scratch_floats = scratch_lanes,
                                             .forward = forward_lanes,
                                             .backward = backward_lanes,
                                             .update = update_lanes};

const struct cdl_op cdl_op_normalize = {
    .check = check,
    .scratch_floats = scratch_floats,
    .derive = derive,
    .number_flops = 24.0, /* two sums and the result, each of which waits for memory as well */
    .forward = forward,
    .backward = backward,
    .update = update,
    .lanes = &in_lanes,
    .parts = CDL_BY_ROWS,
};
