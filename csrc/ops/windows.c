/* windows.c - windows as instructions state them. */
#include "ops/windows.h"

#include "products/convolve_bf16.h"
#include "products/grid.h"
#include "products/winograd.h"

/* Places and numbers that are multiplied stay far from 2^63. */
enum { LARGEST = 1 << 30 };

static bool is_within(int64_t n, int64_t low) { return n >= low && n <= LARGEST; }

/* The numbers of an axis, of so many. */
static const int64_t *axis_of(const struct cdl_node *node, int axes, int axis) {
    return node->numbers + node->n_numbers - (size_t)(axes - axis) * CDL_AXIS_NUMBERS;
}

const char *cdl_check_window(const struct cdl_node *node, const struct cdl_tensor *image,
                             const struct cdl_tensor *map, size_t first) {
    const int axes = image->n_dims - 1;
    CDL_EXPECT(!cdl_is_int(image) && !cdl_is_int(map), "x, output: expected floats");
    CDL_EXPECT(axes >= 1 && axes <= CDL_AXES, "x: expected one to three axes and columns");
    CDL_EXPECT(map->n_dims == image->n_dims, "output: expected as many axes as x");
    CDL_EXPECT(node->n_numbers == first + (size_t)axes * CDL_AXIS_NUMBERS,
               "window: expected size, stride, dilation and place of each axis");
    for (int d = 0; d < axes; d++) {
        const int64_t *n = axis_of(node, axes, d);
        CDL_EXPECT(is_within(n[CDL_SIZE], 0), "sizes of the window: expected 0 to 2^30");
        CDL_EXPECT(is_within(n[CDL_STRIDE], 1), "strides: expected 1 to 2^30");
        CDL_EXPECT(is_within(n[CDL_DILATION], 1), "dilations: expected 1 to 2^30");
        CDL_EXPECT(is_within(n[CDL_BEFORE], -LARGEST), "places: expected -2^30 to 2^30");
        CDL_EXPECT(image->dims[d] <= LARGEST && map->dims[d] <= LARGEST,
                   "x, output: expected axes of at most 2^30");
    }
    return NULL;
}

struct cdl_window cdl_window_of(const struct cdl_node *node, const struct cdl_tensor *image,
                                const struct cdl_tensor *map) {
    struct cdl_window window;
    const int axes = image->n_dims - 1;
    for (int d = 0; d < CDL_AXES; d++) {
        const int own = d - (CDL_AXES - axes);
        window.axis[d] =
            (struct cdl_axis){.image = 1, .map = 1, .taps = 1, .stride = 1, .dilation = 1};
        if (own < 0) continue;
        const int64_t *n = axis_of(node, axes, own);
        window.axis[d] = (struct cdl_axis){.image = image->dims[own],
                                           .map = map->dims[own],
                                           .taps = (size_t)n[CDL_SIZE],
                                           .stride = (size_t)n[CDL_STRIDE],
                                           .dilation = (size_t)n[CDL_DILATION],
                                           .before = (ptrdiff_t)n[CDL_BEFORE]};
    }
    return window;
}

struct cdl_field cdl_field_of(const struct cdl_tensor *value, const float *data, size_t first) {
    const size_t ld = cdl_is_bf16(value) ? value->ld / 2 : value->ld;
    struct cdl_field field = {.lines = (float *)data + first * value->row_floats,
                              .columns = value->width,
                              .ld = ld,
                              .sample = value->lines * ld};
    size_t pitch = ld;
    for (int d = CDL_AXES - 1, own = value->n_dims - 2; d >= 0; d--, own--) {
        field.pitch[d] = pitch;
        if (own >= 0) pitch *= value->dims[own];
    }
    return field;
}

const char *cdl_check_kernel(const struct cdl_param *w, const struct cdl_window *window,
                             size_t read, size_t columns) {
    double rows = (double)read;
    for (int d = 0; d < CDL_AXES; d++) rows *= (double)window->axis[d].taps;
    CDL_EXPECT(w && w->matrix, "kernel: expected a matrix");
    CDL_EXPECT(rows >= 1.0 && (double)w->rows == rows,
               "kernel: expected a row for each tap and each column that it reads");
    CDL_EXPECT(w->cols == columns, "kernel: expected a column for each that it gives");
    return NULL;
}

struct cdl_epilogue cdl_activation_of(const struct cdl_node *node) {
    return (struct cdl_epilogue){.activation = (int)node->numbers[0], .params = node->row_param};
}

struct cdl_epilogue cdl_activation_gradient_of(const struct cdl_node *node, size_t first) {
    return (struct cdl_epilogue){.activation = node->dx_activation,
                                 .gradient = true,
                                 .y = cdl_rows(node->in[0], first),
                                 .ldy = node->in[0]->ld,
                                 .params = node->dx_row_param};
}

static struct cdl_window window_of(const struct cdl_node *node, bool back) {
    const struct cdl_tensor *in = node->in[0], *out = node->out[0];
    return cdl_window_of(node, back ? out : in, back ? in : out);
}

size_t cdl_windowing_bytes(const struct cdl_node *node, bool back) {
    const struct cdl_window window = window_of(node, back);
    const size_t spans = cdl_count_spans(&window, false) + cdl_count_spans(&window, true);
    return sizeof(struct cdl_windowing) + spans * sizeof(struct cdl_span);
}

void cdl_fill_windowing(const struct cdl_node *node, bool back) {
    struct cdl_windowing *windowing = node->code;
    windowing->window = window_of(node, back);
    const struct cdl_window *window = &windowing->window;
    cdl_find_spans(window, false, windowing->spans, &windowing->to_map);
    cdl_find_spans(window, true, windowing->spans + cdl_count_spans(window, false),
                   &windowing->to_image);
}

enum { KERNEL, BIAS }; /* params */

struct cdl_convolution cdl_convolution_of(const struct cdl_node *node,
                                          const struct cdl_window *window, size_t groups, bool back,
                                          const float *in, const float *out, size_t first) {
    const struct cdl_field x = cdl_field_of(node->in[0], in, first);
    const struct cdl_field y = cdl_field_of(node->out[0], out, first);
    return (struct cdl_convolution){.window = window,
                                    .image = back ? y : x,
                                    .map = back ? x : y,
                                    .groups = groups,
                                    .w = node->param[KERNEL]};
}

/* A kernel that learns has other weights in each step. */
size_t cdl_convolution_scratch_floats(const struct cdl_node *node, size_t groups) {
    if (node->trained[KERNEL] || cdl_is_bf16(node->in[0])) return 0;
    const struct cdl_window window = window_of(node, false);
    const struct cdl_convolution job =
        cdl_convolution_of(node, &window, groups, false, NULL, NULL, 0);
    return cdl_winograd_weights_floats(&job);
}

void cdl_derive_convolution(const struct cdl_node *node, const struct cdl_kernels *kernels,
                            size_t groups) {
    struct cdl_windowing *code = node->code;
    cdl_fill_windowing(node, false);
    code->keeps_winograd = cdl_convolution_scratch_floats(node, groups) > 0;
    if (!code->keeps_winograd) return;
    const struct cdl_convolution job =
        cdl_convolution_of(node, &code->window, groups, false, NULL, NULL, 0);
    cdl_winograd_weights(&job, kernels, node->scratch);
}

/* ---- bfloat16 -----------------------------------------------------------------------------------
 */

/* What a pass of a convolution reads, from sample `first` on: x, or (image) the gradient of y. */
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

/* Lines of samples [first, last), or of a band of one. */
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

void cdl_convolution_update_bf16(const struct cdl_node *node, const struct cdl_context *ctx,
                                 struct cdl_rows rows, const struct cdl_sink *to) {
    const struct cdl_windowing *code = node->code;
    const struct cdl_tensor *y = node->out[0];
    const struct cdl_bf16_view view = view_of(node, &code->window, false, rows.first);
    cdl_bf16_learn_pairs(ctx, to, &view, node->param[KERNEL],
                         cdl_bf16(cdl_grad_rows(y, rows.first)), y->ld, rows.n * y->lines,
                         &node->trained[KERNEL]);
}

size_t cdl_convolution_floats(const struct cdl_node *node, size_t groups, bool back,
                              bool training) {
    const struct cdl_window window = window_of(node, back);
    if (cdl_is_bf16(node->in[0])) return bf16_floats(node, &window, training);
    const struct cdl_convolution job =
        cdl_convolution_of(node, &window, groups, back, NULL, NULL, 0);
    const size_t map = cdl_map_floats(&job), image = cdl_image_floats(&job);
    if (!training) return back ? image : map;
    const size_t both = cdl_max(map, image), pairs = cdl_pairs_floats(&job);
    return both > pairs ? both : pairs;
}

/* A pass of a convolution: `image` if it writes its image. */
struct pass {
    const struct cdl_node *node;
    const struct cdl_context *ctx;
    size_t groups;
    bool back, image, forward;
};

static void convolve(const void *who, size_t first, size_t last, const struct cdl_band *band) {
    const struct pass *pass = who;
    const struct cdl_node *node = pass->node;
    const struct cdl_windowing *code = node->code;
    const struct cdl_tensor *in = node->in[0], *out = node->out[0];
    if (cdl_is_bf16(in)) {
        convolve_bf16(node, pass->ctx, pass->image, first, last, band);
        return;
    }
    const struct cdl_param *b = pass->forward ? node->param[BIAS] : NULL;
    const struct cdl_epilogue epilogue =
        pass->forward ? cdl_activation_of(node) : cdl_activation_gradient_of(node, first);
    struct cdl_convolution job = cdl_convolution_of(node, &code->window, pass->groups, pass->back,
                                                    pass->forward ? in->data : in->grad,
                                                    pass->forward ? out->data : out->grad, first);
    job.spans = pass->image ? &code->to_image : &code->to_map;
    job.band = band;
    if (code->keeps_winograd) job.winograd_weights = node->scratch;
    (pass->image ? cdl_convolve_back : cdl_convolve)(&job, pass->ctx, last - first, b ? b->w : NULL,
                                                     &epilogue, pass->ctx->scratch);
}

void cdl_convolution_forward(const struct cdl_node *node, const struct cdl_context *ctx,
                             size_t groups, bool back, size_t first, size_t last) {
    const struct pass pass = {node, ctx, groups, back, back, true};
    convolve(&pass, first, last, NULL);
}

void cdl_convolution_backward(const struct cdl_node *node, const struct cdl_context *ctx,
                              size_t groups, bool back, size_t first, size_t last) {
    const struct pass pass = {node, ctx, groups, back, !back, false};
    cdl_take_gradient(node, ctx, first, last);
    if (node->needs[0]) convolve(&pass, first, last, NULL);
}

/* ---- pieces -----------------------------------------------------------------------------------
 */

/* Samples from which on they are not cut. */
enum { MANY = 64 };

struct cdl_bands cdl_window_bands(const struct cdl_window *window, bool back, size_t rows) {
    const size_t numbers = cdl_band_numbers(window, back);
    return rows < MANY ? (struct cdl_bands){numbers, 1} : (struct cdl_bands){1, numbers};
}

void cdl_each_band(struct cdl_bands bands, const struct cdl_window *window, bool back, size_t first,
                   size_t last, cdl_band_fn *visit, const void *who) {
    const size_t all = cdl_band_numbers(window, back);
    while (first < last) {
        const struct cdl_rectangle at = cdl_next_rectangle(&first, last, bands.n);
        const size_t end = at.inner_end * bands.numbers;
        const struct cdl_band band = {cdl_band_axis(window, back), at.inner * bands.numbers,
                                      end < all ? end : all};
        const bool whole = at.inner == 0 && at.inner_end == bands.n;
        visit(who, at.outer, at.outer_end, whole ? NULL : &band);
    }
}

static struct cdl_bands bands_of(const struct pass *pass, size_t rows) {
    const struct cdl_node *node = pass->node;
    const struct cdl_windowing *code = node->code;
    if (cdl_is_bf16(node->in[0])) return cdl_window_bands(&code->window, pass->image, rows);
    const struct cdl_convolution job =
        cdl_convolution_of(node, &code->window, pass->groups, pass->back, NULL, NULL, 0);
    return rows < MANY ? cdl_convolution_bands(&job, pass->image) : (struct cdl_bands){1, 0};
}

size_t cdl_convolution_pieces(const struct cdl_node *node, size_t groups, bool back, size_t rows,
                              bool pass_back) {
    const struct pass pass = {node, NULL, groups, back, back != pass_back, !pass_back};
    return pass_back && !node->needs[0] ? 0 : rows * bands_of(&pass, rows).n;
}

static void run_pieces(const struct pass *pass, size_t first, size_t last) {
    const struct cdl_windowing *code = pass->node->code;
    cdl_each_band(bands_of(pass, pass->ctx->rows), &code->window, pass->image, first, last,
                  convolve, pass);
}

void cdl_convolution_forward_pieces(const struct cdl_node *node, const struct cdl_context *ctx,
                                    size_t groups, bool back, size_t first, size_t last) {
    const struct pass pass = {node, ctx, groups, back, back, true};
    run_pieces(&pass, first, last);
}

void cdl_convolution_backward_pieces(const struct cdl_node *node, const struct cdl_context *ctx,
                                     size_t groups, bool back, size_t first, size_t last) {
    const struct pass pass = {node, ctx, groups, back, !back, false};
    run_pieces(&pass, first, last);
}
