/* dense_int.c - y = f(x W + b) with W integers of eight or four bits, each with its column's scale
 * or with that and the zero of a group of rows (kernels/integers.h).
 *
 * For predictions: no gradient goes through.
 */
#include "ops/op.h"

enum { ACTIVATION, BITS, BLOCK, DYNAMIC }; /* numbers, of which BLOCK is rows of a group, or 0 */
enum { LOW, HIGH, EPSILON };               /* attributes */
enum { KERNEL, SCALE, ZERO, BIAS };        /* params */

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
    const struct cdl_int_product p = product_of(node);
    CDL_EXPECT(w->matrix && w->rows == cdl_int_depth(p.k, p.block, p.bits) &&
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
    (void)training;
    const struct cdl_int_product p = product_of(node);
    return cdl_min(rows * node->in[0]->lines, CDL_INT_LINES) * cdl_int_floats(&p);
}

static void forward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                    size_t last) {
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

const struct cdl_op cdl_op_dense_int = {
    .table = "activations",
    .table_rows = CDL_N_ACTIVATIONS,
    .check = check,
    .flops = flops,
    .thread_floats = thread_floats,
    .forward = forward,
    .splits = true,
    .any_samples = true,
};
