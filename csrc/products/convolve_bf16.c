/* convolve_bf16.c - im2col of windows of bfloat16, products of its rows, and the walk over the
 * weights' blocks. */
#include "products/convolve_bf16.h"

enum { LINE = CDL_BF16_LINE, BLOCK_FLOATS = CDL_CHUNK * CDL_PANEL };

/* Most places at a time, and most numbers in their windows: those of a tile or more, within L2. */
enum { MOST_PLACES = 256, MOST_NUMBERS = 64 << 10 };

/* Blocks of 64 x 64 weights summed at a time. */
enum { BLOCKS = 32 };

/* ---- rows ------------------------------------------------------------------------------------ */

/* Map from output to input along an axis: output n sees, by tap t (back: from the last one on),
 * line first + n step + t tap_step of `lines`, if `by` divides that. */
struct axis {
    ptrdiff_t first, step, tap_step, by, lines;
    size_t written, taps;
};

static struct axis axis_of(const struct cdl_bf16_view *view, int d) {
    const struct cdl_window_axis *axis = &view->window->axis[d];
    const ptrdiff_t stride = (ptrdiff_t)axis->stride, dilation = (ptrdiff_t)axis->dilation;
    const ptrdiff_t reach = ((ptrdiff_t)axis->taps - 1) * dilation;
    if (view->back)
        return (struct axis){.first = axis->before - reach,
                             .step = 1,
                             .tap_step = dilation,
                             .by = stride,
                             .lines = (ptrdiff_t)axis->map,
                             .written = axis->image,
                             .taps = axis->taps};
    return (struct axis){.first = -axis->before,
                         .step = stride,
                         .tap_step = dilation,
                         .by = 1,
                         .lines = (ptrdiff_t)axis->image,
                         .written = axis->map,
                         .taps = axis->taps};
}

/* Number of the line, or -1. */
static ptrdiff_t line_of(const struct axis *axis, size_t number, size_t tap) {
    const ptrdiff_t at =
        axis->first + (ptrdiff_t)number * axis->step + (ptrdiff_t)tap * axis->tap_step;
    return at < 0 || at % axis->by || at / axis->by >= axis->lines ? -1 : at / axis->by;
}

/* Numbers of a tap within a row: even, where weights are transposed in pairs. */
static size_t tap_width(const struct cdl_bf16_view *view) {
    return view->back ? cdl_round_up(view->width, 2) : view->width;
}

/* Stride of rows of so many numbers: an odd number of lines, with one for pads. */
static size_t row_stride(size_t numbers) {
    return (cdl_bf16_padded(numbers) / LINE | 1) * LINE + 2 * LINE;
}

/* Lays out the windows of outputs [line, line + n) by taps [first, end), as rows ldy apart; 0 up to
 * a whole line. */
static void lay_out(const struct cdl_kernels *kernels, const struct cdl_bf16_view *view,
                    size_t line, size_t n, size_t first, size_t end, uint16_t *y, size_t ldy) {
    const struct axis axis[CDL_AXES] = {axis_of(view, 0), axis_of(view, 1), axis_of(view, 2)};
    const size_t width = tap_width(view), numbers = (end - first) * width;
    for (size_t i = 0; i < n && numbers % LINE; i++)
        memset(y + i * ldy + numbers / LINE * LINE, 0, LINE * sizeof *y);
    for (size_t run; n; n -= run, line += run, y += run * ldy) {
        const size_t at = line % axis[2].written, row = line / axis[2].written;
        const size_t v = row % axis[1].written, u = row / axis[1].written % axis[0].written;
        const size_t sample = row / axis[1].written / axis[0].written;
        run = cdl_min(n, axis[2].written - at);
        for (size_t tap = first, part; tap < end; tap += part) {
            const size_t last = tap % axis[2].taps, taps = tap / axis[2].taps;
            const ptrdiff_t i = line_of(&axis[0], u, taps / axis[1].taps);
            const ptrdiff_t j = line_of(&axis[1], v, taps % axis[1].taps);
            part = cdl_min(end - tap, axis[2].taps - last);
            const ptrdiff_t from = (((ptrdiff_t)sample * axis[0].lines + i) * axis[1].lines + j) *
                                   axis[2].lines * (ptrdiff_t)view->ld;
            const struct cdl_bf16_seen seen = {
                .x = i < 0 || j < 0 ? NULL : view->x + from,
                .ld = view->ld,
                .width = width,
                .places = run,
                .taps = part,
                .first = axis[2].first + (ptrdiff_t)at * axis[2].step +
                         (ptrdiff_t)last * axis[2].tap_step,
                .step = axis[2].step,
                .tap_step = axis[2].tap_step,
                .by = axis[2].by,
                .lines = axis[2].lines,
                .y = y + (tap - first) * width,
                .ldy = ldy,
            };
            kernels->bf16_unroll(&seen);
        }
    }
}

/* ---- image and map --------------------------------------------------------------------------- */

/* Weights as the matrix that rows are multiplied by. */
static struct cdl_param factor_of(const struct cdl_bf16_view *view, const struct cdl_param *w,
                                  float *room) {
    if (!view->back) return *w;
    const size_t taps = cdl_window_taps(view->window);
    return (struct cdl_param){.rows = taps * tap_width(view),
                              .cols = w->rows / taps,
                              .matrix = true,
                              .pairs = (uint32_t *)(void *)room};
}

static size_t pairs_floats(const struct cdl_param *w) {
    return cdl_bf16_padded(w->rows) / 2 * cdl_bf16_padded(w->cols);
}

/* Transposed weights of each tap; taps from the last to the first. */
static void turn(const struct cdl_kernels *kernels, const struct cdl_param *w, size_t taps,
                 const struct cdl_param *to) {
    const size_t each = w->rows / taps, width = to->rows / taps;
    memset(to->pairs, 0, pairs_floats(to) * sizeof *to->pairs);
    for (size_t tap = 0; tap < taps; tap++) {
        for (size_t i = 0; i < each; i += LINE) {
            const size_t row = tap * each + i, rows = cdl_min(each - i, LINE);
            for (size_t j = 0; j < width; j += LINE) {
                _Alignas(64) uint16_t numbers[(LINE + 2) * LINE];
                _Alignas(64) float columns[LINE / 2 * LINE];
                kernels->bf16_unpair((row % 2 + rows + 1) / 2, LINE,
                                     cdl_param_pairs(w, 0, j) + row / 2 * LINE, LINE, numbers,
                                     LINE);
                kernels->transpose(rows, LINE / 2,
                                   (const float *)(const void *)(numbers + row % 2 * LINE),
                                   LINE / 2, columns, LINE);
                uint32_t *pairs =
                    cdl_param_pairs(to, 0, i) + ((taps - 1 - tap) * width + j) / 2 * LINE;
                for (size_t p = 0; p < cdl_min(width - j, LINE) / 2; p++)
                    memcpy(pairs + p * LINE, columns + p * LINE, rows * sizeof(float));
            }
        }
    }
}

static size_t places_of(size_t numbers) {
    const size_t fit = MOST_NUMBERS / cdl_bf16_padded(numbers) / LINE * LINE;
    return cdl_max(cdl_min(fit, MOST_PLACES), LINE);
}

size_t cdl_bf16_convolve_floats(const struct cdl_bf16_view *view, const struct cdl_param *w) {
    const struct cdl_param factor = factor_of(view, w, NULL);
    const size_t places = places_of(factor.rows), rows = places * row_stride(factor.rows) / 2;
    return rows + cdl_bf16_matmul_floats(w, places) + (view->back ? pairs_floats(&factor) : 0);
}

/* Does each place see the line of its own number, and nothing else? */
static bool sees_itself(const struct cdl_bf16_view *view) {
    bool all = true;
    for (int d = 0; d < CDL_AXES; d++) {
        const struct cdl_window_axis *axis = &view->window->axis[d];
        all &=
            axis->taps == 1 && axis->stride == 1 && axis->before == 0 && axis->image == axis->map;
    }
    return all;
}

void cdl_bf16_convolve(const struct cdl_context *ctx, const struct cdl_bf16_view *view,
                       const struct cdl_bf16_product *product, size_t line, size_t lines,
                       float *scratch) {
    const size_t taps = cdl_window_taps(view->window);
    struct cdl_bf16_product part = *product;
    const struct cdl_param *w = product->w, factor = factor_of(view, w, scratch);
    if (view->back) {
        turn(ctx->kernels, w, taps, &factor);
        scratch += pairs_floats(&factor);
    }
    const size_t most = places_of(factor.rows);
    uint16_t *rows = cdl_bf16(scratch);
    part.w = &factor;
    part.a = rows;
    const bool direct = sees_itself(view);
    part.lda = direct ? view->ld : row_stride(factor.rows);
    part.columns = cdl_padded(factor.cols);
    for (const size_t end = line + lines; line < end; line += part.m) {
        if (cdl_stopped(ctx)) return;
        part.m = cdl_min(end - line, most);
        part.c = product->c + line * product->ldc;
        part.y = product->y ? product->y + line * product->ldc : NULL;
        if (direct)
            part.a = view->x + line * view->ld;
        else
            lay_out(ctx->kernels, view, line, part.m, 0, taps, rows, part.lda);
        cdl_bf16_matmul(ctx, &part, scratch + most * row_stride(factor.rows) / 2);
    }
}

/* ---- gradients of weights -------------------------------------------------------------------- */

/* Sums of one thread: blocks [first, end), those of all panels of a chunk of 64 rows before those
 * of the next; transposed, with a row for each column of the weights. */
struct bf16_sums {
    const struct cdl_context *ctx;
    const struct cdl_bf16_view *view;
    const struct cdl_param *w;
    size_t panels, first, end;
    float *g, *by_column, *rows, *columns, *pairs;
};

static size_t panels_of(const struct cdl_param *w) { return (w->cols + CDL_PANEL - 1) / CDL_PANEL; }
static size_t chunks_of(const struct cdl_param *w) { return (w->rows + CDL_CHUNK - 1) / CDL_CHUNK; }

enum { PLACES = MOST_PLACES, PLACES_LINE = PLACES + LINE }; /* sizes of rows of places */

/* Most rows of weights in a group of blocks, and most taps that they are of. */
static size_t group_rows(const struct cdl_param *w) {
    const size_t chunks = (BLOCKS + panels_of(w) - 1) / panels_of(w) + 1;
    return cdl_min(chunks, chunks_of(w)) * CDL_CHUNK;
}

static size_t rows_stride(const struct cdl_bf16_view *view, const struct cdl_param *w) {
    return row_stride(cdl_min(group_rows(w) + 2 * view->width, w->rows));
}

size_t cdl_bf16_pairs_floats(const struct cdl_bf16_view *view, const struct cdl_param *w) {
    return BLOCKS * (BLOCK_FLOATS + CDL_PANEL) + PLACES / 2 * rows_stride(view, w) +
           panels_of(w) * CDL_PANEL * PLACES_LINE / 2 + PLACES / 2 * CDL_PANEL + BLOCK_FLOATS;
}

/* Transposes the lines of dz to rows of places, 0 up to a whole line; and sums them, where a block
 * is the first of its panel. */
static void turn_lines(const struct bf16_sums *sums, const uint16_t *dz, size_t ld, size_t n) {
    const struct cdl_kernels *kernels = sums->ctx->kernels;
    for (size_t panel = 0; panel < sums->panels; panel++, dz += CDL_PANEL) {
        const size_t width = cdl_min(cdl_bf16_padded(sums->w->cols - panel * CDL_PANEL), CDL_PANEL);
        float *to = sums->columns + panel * CDL_PANEL * PLACES_LINE / 2;
        const bool adds = panel >= sums->first && panel < sums->end;
        for (size_t i = 0; i < n; i += LINE) {
            _Alignas(64) float pairs[LINE / 2 * CDL_PANEL], part[CDL_PANEL];
            const size_t rows = cdl_min(n - i, LINE);
            if (rows < LINE) memset(pairs, 0, sizeof pairs);
            kernels->bf16_pair(rows, width, dz + i * ld, ld, (uint32_t *)(void *)pairs, CDL_PANEL);
            kernels->transpose(LINE / 2, width, pairs, CDL_PANEL, to + i / 2, PLACES_LINE / 2);
            if (!adds) continue;
            kernels->bf16_pair_sums(LINE / 2, width, (uint32_t *)(void *)pairs, CDL_PANEL, part);
            float *sum = sums->by_column + (panel - sums->first) * CDL_PANEL;
            for (size_t j = 0; j < width; j++) sum[j] += part[j];
        }
    }
}

/* Adds to blocks [at, end) of one chunk, over n places: `rows` has the windows, from the chunk's
 * first row on. */
static void add_chunk(const struct bf16_sums *sums, size_t n, const uint16_t *rows, size_t ld,
                      size_t width, size_t at, size_t end) {
    const struct cdl_kernels *kernels = sums->ctx->kernels;
    const size_t padded = cdl_bf16_padded(n), half = padded / 2 * LINE;
    const size_t panel = at % sums->panels, columns = sums->w->cols - panel * CDL_PANEL;
    uint32_t *pairs = (uint32_t *)(void *)sums->pairs;
    float *g = sums->g + (at - sums->first) * BLOCK_FLOATS;
    for (size_t j = 0; j < width; j += LINE) {
        uint32_t *to = pairs + j / LINE * half;
        kernels->bf16_pair(n, LINE, rows + j, ld, to, LINE);
        memset(to + (n + 1) / 2 * LINE, 0, (padded - n) / 2 * LINE * sizeof *to);
    }
    struct cdl_bf16_gemm p = {.m = cdl_min(columns, (end - at) * CDL_PANEL), .k = padded};
    p.n = cdl_round_up(width, LINE);
    p.a = cdl_bf16(sums->columns + panel * CDL_PANEL * PLACES_LINE / 2), p.lda = PLACES_LINE;
    p.b = pairs, p.step = half, p.init = (struct cdl_matrix){g, CDL_CHUNK};
    p.c = (struct cdl_output){g, CDL_CHUNK};
    kernels->gemm_bf16(&p);
}

static void add_places(const struct bf16_sums *sums, const uint16_t *dz, size_t ld, size_t line,
                       size_t n) {
    const struct cdl_param *w = sums->w;
    const size_t width = sums->view->width, stride = rows_stride(sums->view, w);
    const size_t first = sums->first / sums->panels * CDL_CHUNK;
    const size_t last = cdl_min(((sums->end - 1) / sums->panels + 1) * CDL_CHUNK, w->rows);
    const size_t tap = first / width;
    uint16_t *rows = cdl_bf16(sums->rows);
    turn_lines(sums, dz + line * ld, ld, n);
    lay_out(sums->ctx->kernels, sums->view, line, n, tap, (last + width - 1) / width, rows, stride);
    for (size_t at = sums->first, end; at < sums->end; at = end) {
        const size_t chunk = at / sums->panels, row = chunk * CDL_CHUNK;
        end = cdl_min((chunk + 1) * sums->panels, sums->end);
        add_chunk(sums, n, rows + row - tap * width, stride, cdl_min(w->rows - row, CDL_CHUNK), at,
                  end);
    }
}

static void learn(const struct bf16_sums *sums, const struct cdl_sink *to,
                  struct cdl_trained *const *trained, float *g) {
    struct cdl_trained *kernel = trained[0], *bias = trained[1];
    const struct cdl_param *w = sums->w;
    for (size_t i = sums->first; i < sums->end; i++) {
        const size_t chunk = i / sums->panels, panel = i % sums->panels;
        const struct cdl_block block = cdl_block_at(w, panel * chunks_of(w) + chunk);
        if (bias && chunk == 0) {
            const struct cdl_block part = {.column = block.column, .rows = 1, .width = block.width};
            cdl_learn(bias, sums->ctx, to, part,
                      sums->by_column + panel * CDL_PANEL - sums->first * CDL_PANEL);
        }
        if (!kernel) continue;
        const size_t live = cdl_min(w->cols - block.column, CDL_PANEL);
        const size_t pads = live % CDL_LINE ? CDL_LINE - live % CDL_LINE : 0;
        float *transposed = sums->g + (i - sums->first) * BLOCK_FLOATS;
        memset(transposed + live * CDL_CHUNK, 0, pads * CDL_CHUNK * sizeof *transposed);
        sums->ctx->kernels->transpose(live + pads, block.rows, transposed, CDL_CHUNK, g,
                                      block.width);
        cdl_learn(kernel, sums->ctx, to, block, g);
    }
}

void cdl_bf16_learn_pairs(const struct cdl_context *ctx, const struct cdl_sink *to,
                          const struct cdl_bf16_view *view, const struct cdl_param *w,
                          const uint16_t *dz, size_t lddz, size_t lines,
                          struct cdl_trained *const *trained) {
    struct bf16_sums sums = {
        .ctx = ctx, .view = view, .w = w, .panels = panels_of(w), .g = ctx->scratch};
    const struct cdl_range own = cdl_own(ctx, cdl_blocks(w));
    sums.by_column = sums.g + BLOCKS * BLOCK_FLOATS;
    sums.rows = sums.by_column + BLOCKS * CDL_PANEL;
    sums.columns = sums.rows + PLACES / 2 * rows_stride(view, w);
    sums.pairs = sums.columns + sums.panels * CDL_PANEL * PLACES_LINE / 2;
    float *g = sums.pairs + PLACES / 2 * CDL_PANEL;
    for (sums.first = own.first; sums.first < own.last; sums.first = sums.end) {
        sums.end = cdl_min(own.last, sums.first + BLOCKS);
        memset(sums.g, 0, (sums.end - sums.first) * BLOCK_FLOATS * sizeof *sums.g);
        memset(sums.by_column, 0, BLOCKS * CDL_PANEL * sizeof *sums.by_column);
        for (size_t line = 0; line < lines; line += PLACES) {
            if (cdl_stopped(ctx)) return;
            add_places(&sums, dz, lddz, line, cdl_min(lines - line, PLACES));
        }
        learn(&sums, to, trained, g);
    }
}
