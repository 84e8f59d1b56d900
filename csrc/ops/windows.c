/* windows.c - windows from the integers of an instruction. */
#include "ops/windows.h"

#include "products/grid.h"

/* Places and numbers that are multiplied stay far from 2^63. */
enum { LARGEST = 1 << 30 };

static bool is_within(int64_t n, int64_t low) { return n >= low && n <= LARGEST; }

/* The numbers of an axis, of so many. */
static const int64_t *axis_of(const struct cdl_node *node, int axes, int axis) {
    return node->numbers + node->n_numbers - (size_t)(axes - axis) * CDL_AXIS_NUMBERS;
}

static const struct cdl_tensor *image_of(const struct cdl_node *node) {
    return cdl_writes_image(node) ? node->out[0] : node->in[0];
}
static const struct cdl_tensor *map_of(const struct cdl_node *node) {
    return cdl_writes_image(node) ? node->in[0] : node->out[0];
}

const char *cdl_check_window(const struct cdl_node *node, size_t first) {
    const struct cdl_tensor *image = image_of(node), *map = map_of(node);
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

struct cdl_window cdl_window_of(const struct cdl_node *node) {
    const struct cdl_tensor *image = image_of(node), *map = map_of(node);
    struct cdl_window window;
    const int axes = image->n_dims - 1;
    for (int d = 0; d < CDL_AXES; d++) {
        const int own = d - (CDL_AXES - axes);
        window.axis[d] =
            (struct cdl_window_axis){.image = 1, .map = 1, .taps = 1, .stride = 1, .dilation = 1};
        if (own < 0) continue;
        const int64_t *n = axis_of(node, axes, own);
        window.axis[d] = (struct cdl_window_axis){.image = image->dims[own],
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

size_t cdl_windowing_bytes(const struct cdl_node *node) {
    const struct cdl_window window = cdl_window_of(node);
    const size_t spans = cdl_count_spans(&window, false) + cdl_count_spans(&window, true);
    return sizeof(struct cdl_windowing) + spans * sizeof(struct cdl_span);
}

void cdl_derive_windowing(const struct cdl_node *node, cdl_band_fn *pass, cdl_bands_fn *bands) {
    struct cdl_windowing *windowing = node->code;
    windowing->window = cdl_window_of(node);
    windowing->pass = pass;
    windowing->bands = bands;
    const struct cdl_window *window = &windowing->window;
    cdl_find_spans(window, false, windowing->spans, &windowing->to_map);
    cdl_find_spans(window, true, windowing->spans + cdl_count_spans(window, false),
                   &windowing->to_image);
}

/* ---- passes, and their pieces ---------------------------------------------------------------- */

void cdl_window_forward(CDL_PASS) {
    const struct cdl_windowing *code = node->code;
    code->pass(&(struct cdl_window_pass){node, ctx, false}, first, last, NULL);
}

void cdl_window_backward(CDL_PASS) {
    const struct cdl_windowing *code = node->code;
    if (node->op->take_gradient) node->op->take_gradient(node, ctx, first, last);
    if (node->needs[0]) code->pass(&(struct cdl_window_pass){node, ctx, true}, first, last, NULL);
}

/* Samples from which on they are not cut. */
enum { MANY = 64 };

struct cdl_bands cdl_window_bands(const struct cdl_window_pass *pass, size_t rows) {
    const struct cdl_windowing *code = pass->node->code;
    const size_t numbers = cdl_band_numbers(&code->window, cdl_pass_writes_image(pass));
    return rows < MANY ? (struct cdl_bands){numbers, 1} : (struct cdl_bands){1, numbers};
}

size_t cdl_window_pieces(const struct cdl_node *node, size_t rows, bool back) {
    const struct cdl_windowing *code = node->code;
    const struct cdl_window_pass pass = {node, NULL, back};
    return back && !node->needs[0] ? 0 : rows * code->bands(&pass, rows).n;
}

void cdl_run_window_pieces(CDL_PASS, bool back) {
    const struct cdl_windowing *code = node->code;
    const struct cdl_window_pass pass = {node, ctx, back};
    const struct cdl_bands bands = code->bands(&pass, ctx->rows);
    const bool image = cdl_pass_writes_image(&pass);
    const size_t all = cdl_band_numbers(&code->window, image);
    while (first < last) {
        const struct cdl_rectangle at = cdl_next_rectangle(&first, last, bands.n);
        const size_t end = at.inner_end * bands.numbers;
        const struct cdl_band band = {cdl_band_axis(&code->window, image), at.inner * bands.numbers,
                                      cdl_min(end, all)};
        const bool whole = at.inner == 0 && at.inner_end == bands.n;
        code->pass(&pass, at.outer, at.outer_end, whole ? NULL : &band);
    }
}
