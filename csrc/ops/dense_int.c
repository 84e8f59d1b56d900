/* dense_int.c - y = f(x W + b) with W integers of eight or four bits, each with its column's scale
 * or with that and the zero of a group of rows (kernels/integers.h).
 *
 * W does not learn; the bias does, and x gets the gradient that the numbers W stands for give it,
 * as if its lines had not become integers. That is rarely asked for, and plain loops.
 */
#include "learn/learn.h"
#include "products/gradient.h"
#include "ops/op.h"

enum { ACTIVATION, BITS, BLOCK, DYNAMIC }; /* numbers, of which BLOCK is rows of a group, or 0 */
enum { LOW, HIGH, EPSILON };               /* attributes */
enum { KERNEL, SCALE, ZERO, BIAS };        /* params */

/* Columns of x whose products of integers, of up to 127, have a sum that int32_t holds. */
enum { MOST_DYNAMIC = INT32_MAX / (127 * 127) };

static struct cdl_int_product product_of(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const struct cdl_param *zero = node->param[ZERO], *bias = node->param[BIAS];
    return (struct cdl_int_product){
        .k = x->width,
        .n = y->width,
        .ldx = x->ld,
        .ldy = y->ld,
        .bits = (size_t)node->numbers[BITS],
        .block = node->numbers[BLOCK] ? (size_t)node->numbers[BLOCK] : x->width,
        .words = node->param[KERNEL]->rows,
        .dynamic = node->numbers[DYNAMIC] != 0,
        .low = node->attribute[LOW],
        .high = node->attribute[HIGH],
        .epsilon = node->attribute[EPSILON],
        .w = node->param[KERNEL]->w,
        .scale = node->param[SCALE]->w,
        .zero = zero ? zero->w : NULL,
        .bias = bias ? bias->w : NULL,
    };
}

static bool is_bits(int64_t bits) { return bits == 8 || bits == 4; }

/* A column of bytes without groups has their sum behind them, an integer. */
static bool has_sums(const struct cdl_node *node) {
    return node->numbers[BITS] == 8 && !node->numbers[BLOCK];
}

static const char *check(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const struct cdl_param *w = node->param[KERNEL], *scale = node->param[SCALE];
    CDL_EXPECT(!cdl_is_int(x) && !cdl_is_int(y), "x, output: expected floats");
    CDL_EXPECT(x->lines == y->lines, "output: expected as many lines as x");
    CDL_EXPECT(is_bits(node->numbers[BITS]), "bits: expected 8 or 4");
    CDL_EXPECT(node->numbers[BLOCK] >= 0, "block: expected at least 0");
    CDL_EXPECT(!node->numbers[DYNAMIC] || (node->numbers[BITS] == 8 && !node->param[ZERO]),
               "dynamic: expected 8 bits, and no zeros");
    CDL_EXPECT((node->numbers[BLOCK] > 0) == (node->param[ZERO] != NULL),
               "zero: expected one if there are groups of rows");
    CDL_EXPECT(w && scale, "kernel, scale: expected both");
    CDL_EXPECT(!node->numbers[DYNAMIC] || x->width <= MOST_DYNAMIC,
               "x: expected at most 133,144 columns, whose sums int32 holds");
    const struct cdl_int_product p = product_of(node);
    CDL_EXPECT(w->matrix && w->rows == cdl_int_depth(p.k, p.block, p.bits) + has_sums(node) &&
                   w->cols == cdl_max(p.n, 2),
               "kernel: expected a matrix of words, a column for each of y, or 2 for one");
    const size_t groups = (p.k + p.block - 1) / p.block;
    CDL_CHECK(cdl_check_row(scale, groups * p.n, "scale: expected one for each group and column"));
    CDL_CHECK(cdl_check_row(node->param[ZERO], groups * p.n,
                            "zero: expected one for each group and column"));
    return cdl_check_row(node->param[BIAS], p.n,
                         "bias: expected a number for each column of the output");
}

static double flops(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    return 0.5 * (double)x->lines * (double)x->width * (double)y->width;
}

static size_t thread_floats(const struct cdl_node *node, size_t rows, bool training) {
    const struct cdl_int_product p = product_of(node);
    const size_t there = cdl_min(rows * node->in[0]->lines, CDL_INT_LINES) * cdl_int_floats(&p);
    return training ? cdl_max(there, cdl_padded(p.n)) : there;
}

static void forward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const int activation = (int)node->numbers[ACTIVATION];
    float *to = cdl_rows(y, first);
    struct cdl_int_product p = product_of(node);
    p.rows = (last - first) * x->lines;
    p.x = cdl_rows(x, first);
    p.y = to;
    p.scratch = ctx->scratch;
    ctx->kernels->int_product(&p);
    if (activation == CDL_ACTIVATION_linear) return;
    ctx->kernels->activation[activation](p.rows, p.n, to, y->ld, to, y->ld, node->row_param);
}

/* d = the gradient of the sums of group g, from that of the output; what zeros take of each. */
static float scaled(const struct cdl_int_product *p, size_t g, const float *dz, float *d) {
    float shift = 0.0f;
    for (size_t c = 0; c < p->n; c++) {
        const size_t at = g * p->n + c;
        d[c] = p->zero ? dz[c] * p->scale[at] : dz[c] / p->scale[c];
        if (p->zero) shift += d[c] * p->zero[at];
    }
    return shift;
}

static void backward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const struct cdl_int_product p = product_of(node);
    const size_t each = 32 / p.bits, group = cdl_int_words(p.block, p.bits);
    const size_t columns = cdl_padded(cdl_max(p.n, 2));
    cdl_take_gradient(node, ctx, first, last);
    for (size_t line = first * x->lines; line < last * x->lines && node->needs[0]; line++) {
        float *dx = x->grad + line * x->ld, shift = 0.0f;
        for (size_t k = 0; k < p.k; k++) {
            const size_t g = k / p.block, within = k % p.block, row = g * group + within / each;
            if (within == 0) shift = scaled(&p, g, y->grad + line * y->ld, ctx->scratch);
            dx[k] = -shift;
            for (size_t c = 0; c < p.n; c++) {
                const size_t panel = c / CDL_INT_PANEL * CDL_INT_PANEL;
                const size_t width = cdl_min(columns - panel, CDL_INT_PANEL);
                const float *word = p.w + panel * p.words + row * width + c - panel;
                dx[k] += ctx->scratch[c] * (float)cdl_int_of(word, p.bits, within % each);
            }
        }
        for (size_t k = p.k; k < cdl_padded(p.k); k++) dx[k] = 0.0f;
    }
}

static void update(CDL_UPDATE) {
    const struct cdl_tensor *y = node->out[0];
    if (!node->trained[BIAS]) return;
    const struct cdl_range own = cdl_own(ctx, cdl_blocks(node->param[BIAS]));
    float *g = ctx->scratch;
    for (size_t i = own.first; i < own.last; i++) {
        const struct cdl_block block = cdl_block_at(node->param[BIAS], i);
        cdl_column_sums(ctx->kernels, rows.n * y->lines, block.width,
                        cdl_grad_rows(y, rows.first) + block.column, y->ld, g);
        cdl_learn(node->trained[BIAS], ctx, to, block, g);
    }
}

const struct cdl_op cdl_op_dense_int = {
    .table = {"activations", CDL_N_ACTIVATIONS},
    .check = check,
    .flops = flops,
    .thread_floats = thread_floats,
    .forward = forward,
    .backward = backward,
    .update = update,
    .any_samples = true,
    .parts = CDL_BY_MICRO_BATCHES,
};
