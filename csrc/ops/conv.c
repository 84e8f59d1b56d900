/* conv.c - y = f(x * W + b), a convolution over one to three axes of a sample.
 *
 * x is (image..., c), y (map..., f) and W (window..., c / groups, f), a matrix in panels whose rows
 * are all axes but the last. Nothing is turned: a window's first tap sees its first number. The
 * numbers end with the window's (windows.h). Backward: with dz = dy * df, dx is what
 * each place of dz gives to what it sees; dW is summed block by block, as that of dense is.
 */
#include "ops/windows.h"

enum { ACTIVATION, GROUPS, WINDOW };                /* numbers */
enum { KERNEL, BIAS, GAMMA, BETA, MEAN, VARIANCE }; /* params, the last four to fold (op.h) */

static size_t groups_of(const struct cdl_node *node) { return (size_t)node->numbers[GROUPS]; }

static const char *check(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    CDL_CHECK(cdl_check_window(node, x, y, WINDOW));
    const size_t g = groups_of(node);
    CDL_EXPECT(g >= 1 && x->width % g == 0 && y->width % g == 0,
               "groups: expected a divisor of the columns of x and of the output");
    const struct cdl_window window = cdl_window_of(node, x, y);
    CDL_CHECK(cdl_check_kernel(node->param[KERNEL], &window, x->width / g, y->width));
    const bool bf16 = cdl_is_bf16(x);
    CDL_EXPECT(bf16 == cdl_is_bf16(y) && bf16 == (node->param[KERNEL]->pairs != NULL),
               "x, kernel, output: expected all to be of bfloat16, or none");
    CDL_EXPECT(!bf16 || (g == 1 && y->width > 1),
               "groups, output: expected one group and two columns, at least, of bfloat16");
    return cdl_check_row(node->param[BIAS], y->width,
                         "bias: expected a number for each column of the output");
}

static double flops(const struct cdl_node *node) {
    const struct cdl_tensor *y = node->out[0];
    return 2.0 * (double)y->lines * (double)node->param[KERNEL]->rows * (double)y->width;
}

static size_t code_bytes(const struct cdl_node *node) { return cdl_windowing_bytes(node, false); }

static void derive(const struct cdl_node *node, const struct cdl_kernels *kernels) {
    cdl_derive_convolution(node, kernels, groups_of(node));
}

static bool follows(const struct cdl_node *node, bool training) {
    return (void)training, cdl_convolution_scratch_floats(node, groups_of(node)) > 0;
}

static size_t scratch_floats(const struct cdl_node *node, size_t rows) {
    (void)rows;
    return cdl_convolution_scratch_floats(node, groups_of(node));
}

static size_t thread_floats(const struct cdl_node *node, size_t rows, bool training) {
    (void)rows;
    return cdl_convolution_floats(node, groups_of(node), false, training);
}

static void forward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                    size_t last) {
    cdl_convolution_forward(node, ctx, groups_of(node), false, first, last);
}

static void backward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                     size_t last) {
    cdl_convolution_backward(node, ctx, groups_of(node), false, first, last);
}

static size_t pieces(const struct cdl_node *node, size_t rows, bool back) {
    return cdl_convolution_pieces(node, groups_of(node), false, rows, back);
}

static void forward_pieces(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                           size_t last) {
    cdl_convolution_forward_pieces(node, ctx, groups_of(node), false, first, last);
}

static void backward_pieces(const struct cdl_node *node, const struct cdl_context *ctx,
                            size_t first, size_t last) {
    cdl_convolution_backward_pieces(node, ctx, groups_of(node), false, first, last);
}

static void update(const struct cdl_node *node, const struct cdl_context *ctx, struct cdl_rows rows,
                   const struct cdl_sink *to) {
    const struct cdl_windowing *code = node->code;
    if (cdl_is_bf16(node->in[0])) {
        cdl_convolution_update_bf16(node, ctx, rows, to);
        return;
    }
    const struct cdl_convolution job =
        cdl_convolution_of(node, &code->window, groups_of(node), false, node->in[0]->data,
                           node->out[0]->grad, rows.first);
    cdl_learn_pairs(&job, ctx, rows.n, to, node->trained[KERNEL], node->trained[BIAS]);
}

const struct cdl_op cdl_op_conv = {
    .role = CDL_WINDOWS,
    .table = "activations",
    .table_rows = CDL_N_ACTIVATIONS,
    .check = check,
    .code_bytes = code_bytes,
    .derive = derive,
    .follows = follows,
    .scratch_floats = scratch_floats,
    .folds = CDL_FOLDS_COLUMNS,
    .flops = flops,
    .thread_floats = thread_floats,
    .forward = forward,
    .backward = backward,
    .update = update,
    .pieces = pieces,
    .forward_pieces = forward_pieces,
    .backward_pieces = backward_pieces,
    .take_gradient = cdl_take_gradient,
    .any_samples = true,
    .absorbs_gradient = true,
    .looks = true,
    .reads_back = cdl_product_reads_back,
    .applies_gradient = cdl_always,
    .bf16 = CDL_BF16_PAIRS,
    .parts = CDL_BY_LINES,
};
