/* conv.c - y = f(x * W + b), a convolution over one to three axes of a sample, and the transposed
 * one, which computes y from x as a convolution computes dx from dy.
 *
 * x is (image..., c), y (map..., f) and W (window..., c / groups, f), a matrix in panels whose rows
 * are all axes but the last. Nothing is flipped: a window's first tap sees its first number. The
 * numbers end with the window's (windows.h). Backward: with dz = dy * df, each place of dz, times
 * W, is added to its window in dx; dW is summed block by block, as that of dense is.
 *
 * Transposed, y is the image and x the map: x is (map..., c), y (image..., f) and W (window..., f,
 * c). Numbers of y that no window sees are f(b). dx is the convolution of dz, and dW is summed with
 * dz as the image.
 */
#include "ops/windows.h"
#include "products/convolve_bf16.h"
#include "products/winograd.h"

enum { ACTIVATION, GROUPS, WINDOW };                /* numbers of conv */
enum { TRANSPOSE_ACTIVATION, TRANSPOSE_WINDOW };    /* numbers of conv_transpose */
enum { KERNEL, BIAS, GAMMA, BETA, MEAN, VARIANCE }; /* params, the last four to fold (op.h) */

static size_t groups_of(const struct cdl_node *node) {
    return cdl_writes_image(node) ? 1 : (size_t)node->numbers[GROUPS];
}

static const char *check_transposed(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    CDL_CHECK(cdl_check_window(node, TRANSPOSE_WINDOW));
    const struct cdl_window window = cdl_window_of(node);
    CDL_CHECK(cdl_check_kernel(node->param[KERNEL], &window, y->width, x->width));
    return cdl_check_row(node->param[BIAS], y->width,
                         "bias: expected a number for each column of the output");
}

static const char *check(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    CDL_CHECK(cdl_check_window(node, WINDOW));
    const size_t g = groups_of(node);
    CDL_EXPECT(g >= 1 && x->width % g == 0 && y->width % g == 0,
               "groups: expected a divisor of the columns of x and of the output");
    const struct cdl_window window = cdl_window_of(node);
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
    const struct cdl_tensor *map = cdl_writes_image(node) ? node->in[0] : node->out[0];
    return 2.0 * (double)map->lines * (double)node->param[KERNEL]->rows * (double)map->width;
}

/* Convolution of arrays that stand for the node's input and output from sample `first` on. */
static struct cdl_convolution convolution_of(const struct cdl_node *node,
                                             const struct cdl_window *window, const float *in,
                                             const float *out, size_t first) {
    const struct cdl_field x = cdl_field_of(node->in[0], in, first);
    const struct cdl_field y = cdl_field_of(node->out[0], out, first);
    const bool transposed = cdl_writes_image(node);
    return (struct cdl_convolution){.window = window,
                                    .image = transposed ? y : x,
                                    .map = transposed ? x : y,
                                    .groups = groups_of(node),
                                    .w = node->param[KERNEL]};
}

/* Winograd's weights; a kernel that learns has others in each step. */
static size_t scratch_floats(const struct cdl_node *node, size_t rows) {
    if (cdl_writes_image(node) || node->trained[KERNEL] || cdl_is_bf16(node->in[0])) return 0;
    const struct cdl_window window = cdl_window_of(node);
    const struct cdl_convolution job = convolution_of(node, &window, NULL, NULL, 0);
    return cdl_winograd_weights_floats(&job);
}

static bool follows(const struct cdl_node *node, bool training) {
    return scratch_floats(node, 1) > 0;
}

/* ---- bfloat16 -------------------------------------------------------------------------------- */

/* View of the input of a pass, from sample `first` on: of x, or (image) of the gradient of y. */
static struct cdl_bf16_view view_of(const struct cdl_node *node, const struct cdl_window *window,
                                    bool image, size_t first) {
    const struct cdl_tensor *from = image ? node->out[0] : node->in[0];
    return (struct cdl_bf16_view){
        .window = window,
        .back = image,
        .x = cdl_bf16(image ? cdl_grad_rows(from, first) : cdl_rows(from, first)),
        .ld = from->ld,
        .width = from->width};
}

static size_t bf16_floats(const struct cdl_node *node, const struct cdl_window *window,
                          bool training) {
    const struct cdl_param *w = node->param[KERNEL];
    const struct cdl_bf16_view map = view_of(node, window, false, 0);
    const struct cdl_bf16_view image = view_of(node, window, true, 0);
    const size_t forward = cdl_bf16_convolve_floats(&map, w);
    if (!training) return forward;
    return cdl_max(forward,
                   cdl_max(cdl_bf16_convolve_floats(&image, w), cdl_bf16_pairs_floats(&map, w)));
}

static void convolve_bf16(const struct cdl_node *node, const struct cdl_context *ctx, bool image,
                          size_t first, size_t last, const struct cdl_band *band) {
    const struct cdl_windowing *code = node->code;
    const struct cdl_bf16_view view = view_of(node, &code->window, image, first);
    const struct cdl_tensor *to = image ? node->in[0] : node->out[0];
    const struct cdl_param *b = image ? NULL : node->param[BIAS];
    const struct cdl_bf16_product product = {
        .w = node->param[KERNEL],
        .bias = b ? b->w : NULL,
        .c = cdl_bf16(image ? cdl_grad_rows(to, first) : cdl_rows(to, first)),
        .ldc = to->ld,
        .activation = image ? node->dx_activation : (int)node->numbers[0],
        .gradient = image,
        .y = cdl_bf16(cdl_rows(to, first)),
        .params = image ? node->dx_row_param : node->row_param,
    };
    size_t line = 0, lines = (last - first) * to->lines;
    if (band) {
        const size_t each = to->lines / cdl_band_numbers(&code->window, image);
        line = band->first * each;
        lines = (band->end - band->first) * each;
    }
    cdl_bf16_convolve(ctx, &view, &product, line, lines, ctx->scratch);
}

static size_t thread_floats(const struct cdl_node *node, size_t rows, bool training) {
    const struct cdl_window window = cdl_window_of(node);
    if (cdl_is_bf16(node->in[0])) return bf16_floats(node, &window, training);
    const struct cdl_convolution job = convolution_of(node, &window, NULL, NULL, 0);
    if (!training) return cdl_convolve_floats(&job, cdl_writes_image(node));
    return cdl_max(cdl_max(cdl_convolve_floats(&job, false), cdl_convolve_floats(&job, true)),
                   cdl_pairs_floats(&job));
}

/* ---- passes ---------------------------------------------------------------------------------- */

static void convolve(const struct cdl_window_pass *pass, size_t first, size_t last,
                     const struct cdl_band *band) {
    const struct cdl_node *node = pass->node;
    const bool image = cdl_pass_writes_image(pass);
    const struct cdl_windowing *code = node->code;
    const struct cdl_tensor *in = node->in[0], *out = node->out[0];
    if (cdl_is_bf16(in)) {
        convolve_bf16(node, pass->ctx, image, first, last, band);
        return;
    }
    const struct cdl_param *b = pass->back ? NULL : node->param[BIAS];
    const struct cdl_epilogue epilogue =
        pass->back ? cdl_activation_gradient_of(node, first) : cdl_activation_of(node);
    struct cdl_convolution job =
        convolution_of(node, &code->window, pass->back ? in->grad : in->data,
                       pass->back ? out->grad : out->data, first);
    job.spans = image ? &code->to_image : &code->to_map;
    job.band = band;
    if (code->keeps_winograd) job.winograd_weights = node->scratch;
    cdl_convolve(&job, image, pass->ctx, last - first, b ? b->w : NULL, &epilogue,
                 pass->ctx->scratch);
}

/* Pieces of a pass over samples: bands of what is written of each. With many samples they are
 * whole, since what is made ready for a call is made for each band. */
static struct cdl_bands bands_of(const struct cdl_window_pass *pass, size_t rows) {
    const struct cdl_node *node = pass->node;
    const struct cdl_windowing *code = node->code;
    const struct cdl_bands bands = cdl_window_bands(pass, rows);
    if (cdl_is_bf16(node->in[0]) || bands.n == 1) return bands;
    const struct cdl_convolution job = convolution_of(node, &code->window, NULL, NULL, 0);
    return cdl_convolution_bands(&job, cdl_pass_writes_image(pass));
}

static void derive(const struct cdl_node *node, const struct cdl_kernels *kernels) {
    struct cdl_windowing *code = node->code;
    cdl_derive_windowing(node, convolve, bands_of);
    code->keeps_winograd = scratch_floats(node, 1) > 0;
    if (!code->keeps_winograd) return;
    const struct cdl_convolution job = convolution_of(node, &code->window, NULL, NULL, 0);
    cdl_winograd_weights(&job, kernels, node->scratch);
}

static void update(CDL_UPDATE) {
    const struct cdl_windowing *code = node->code;
    const struct cdl_tensor *y = node->out[0];
    if (cdl_is_bf16(node->in[0])) {
        const struct cdl_bf16_view view = view_of(node, &code->window, false, rows.first);
        cdl_bf16_learn_pairs(ctx, to, &view, node->param[KERNEL],
                             cdl_bf16(cdl_grad_rows(y, rows.first)), y->ld, rows.n * y->lines,
                             &node->trained[KERNEL]);
        return;
    }
    const bool transposed = cdl_writes_image(node);
    const struct cdl_convolution job =
        convolution_of(node, &code->window, node->in[0]->data, y->grad, rows.first);
    struct cdl_trained *kernel = node->trained[KERNEL], *bias = node->trained[BIAS];
    if (kernel || !transposed)
        cdl_learn_pairs(&job, ctx, rows.n, to, kernel, transposed ? NULL : bias);
    if (transposed) cdl_learn_columns(bias, ctx, rows.n, to, &job.image);
}

#define CONVOLUTION                                                                                \
    .role = CDL_WINDOWS, .table = {"activations", CDL_N_ACTIVATIONS},                              \
    .code_bytes = cdl_windowing_bytes, .derive = derive, .flops = flops,                           \
    .thread_floats = thread_floats, .forward = cdl_window_forward,                                 \
    .backward = cdl_window_backward, .update = update, .pieces = cdl_window_pieces,                \
    .run_pieces = cdl_run_window_pieces, .take_gradient = cdl_take_gradient, .any_samples = true,  \
    .absorbs_gradient = true, .polls = true, .applies_gradient = cdl_always

const struct cdl_op cdl_op_conv = {
    CONVOLUTION,
    .check = check,
    .follows = follows,
    .scratch_floats = scratch_floats,
    .folds = CDL_FOLDS_COLUMNS,
    .reads_back = cdl_product_reads_back,
    .bf16 = CDL_BF16_PAIRS,
    .parts = CDL_BY_LINES,
};

const struct cdl_op cdl_op_conv_transpose = {
    CONVOLUTION,
    .row = CDL_TO_IMAGE,
    .check = check_transposed,
    .folds = CDL_FOLDS_ROWS,
    .parts = CDL_BY_MICRO_BATCHES,
};
