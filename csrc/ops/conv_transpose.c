/* conv_transpose.c - y = f(b + what each number of x gives to those that its window sees): what a
 * convolution's dx is of dy.
 *
 * y is the image of a convolution and x the map: x is (map..., c), y (image..., f) and W
 * (window..., f, c). The numbers are the window's (windows.h). Numbers of y that no window sees are
 * f(b). dx is the convolution of dz, and dW is summed as in conv.c, with dz as the image.
 */
#include "ops/windows.h"

enum { ACTIVATION, WINDOW };                        /* numbers */
enum { KERNEL, BIAS, GAMMA, BETA, MEAN, VARIANCE }; /* params, the last four to fold (op.h) */

static const char *check(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    CDL_CHECK(cdl_check_window(node, y, x, WINDOW));
    const struct cdl_window window = cdl_window_of(node, y, x);
    CDL_CHECK(cdl_check_kernel(node->param[KERNEL], &window, y->width, x->width));
    return cdl_check_row(node->param[BIAS], y->width,
                         "bias: expected a number for each column of the output");
}

static double flops(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0];
    return 2.0 * (double)x->lines * (double)node->param[KERNEL]->rows * (double)x->width;
}

static size_t code_bytes(const struct cdl_node *node) { return cdl_windowing_bytes(node, true); }

static void derive(const struct cdl_node *node, const struct cdl_kernels *kernels) {
    (void)kernels;
    cdl_fill_windowing(node, true);
}

static size_t thread_floats(const struct cdl_node *node, size_t rows, bool training) {
    (void)rows;
    return cdl_convolution_floats(node, 1, true, training);
}

static void forward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                    size_t last) {
    cdl_convolution_forward(node, ctx, 1, true, first, last);
}

static void backward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                     size_t last) {
    cdl_convolution_backward(node, ctx, 1, true, first, last);
}

static size_t pieces(const struct cdl_node *node, size_t rows, bool back) {
    return cdl_convolution_pieces(node, 1, true, rows, back);
}

static void forward_pieces(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                           size_t last) {
    cdl_convolution_forward_pieces(node, ctx, 1, true, first, last);
}

static void backward_pieces(const struct cdl_node *node, const struct cdl_context *ctx,
                            size_t first, size_t last) {
    cdl_convolution_backward_pieces(node, ctx, 1, true, first, last);
}

static void update(const struct cdl_node *node, const struct cdl_context *ctx, struct cdl_rows rows,
                   const struct cdl_sink *to) {
    const struct cdl_windowing *code = node->code;
    const struct cdl_convolution job = cdl_convolution_of(
        node, &code->window, 1, true, node->in[0]->data, node->out[0]->grad, rows.first);
    if (node->trained[KERNEL]) cdl_learn_pairs(&job, ctx, rows.n, to, node->trained[KERNEL], NULL);
    cdl_learn_columns(node->trained[BIAS], ctx, rows.n, to, &job.image);
}

const struct cdl_op cdl_op_conv_transpose = {
    .role = CDL_WINDOWS,
    .table = "activations",
    .table_rows = CDL_N_ACTIVATIONS,
    .check = check,
    .code_bytes = code_bytes,
    .derive = derive,
    .folds = CDL_FOLDS_ROWS,
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
    .applies_gradient = cdl_always,
    .parts = CDL_BY_MICRO_BATCHES,
};
