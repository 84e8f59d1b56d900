/* convolve.c - tiling of convolutions: the map of an image, and the image of a map. */
#include "products/convolve.h"

#include "kernels/kernels.h"
#include "products/unroll.h"
#include "products/winograd.h"

/* Arithmetic between two polls of the watch: some 0.2 ms. */
#define LOOK_FLOPS 2e7

/* Output columns [to, to + live), all of one group. The product has `width` of them and begins
 * `skip` before; if it is not direct it goes through a block of its own. */
struct column_slice {
    size_t group, to, live, skip, width;
    bool direct;
};

/* Slice of the columns from one on; `packed`: the weights are in panels, which begin at multiples
 * of lines. */
static struct column_slice slice_at(const struct cdl_field *field, size_t groups, size_t at,
                                    bool packed) {
    const size_t each = field->columns / groups, group = at / each;
    const size_t end =
        cdl_min((group + 1) * each, packed ? (at / CDL_PANEL + 1) * CDL_PANEL : at + CDL_PANEL);
    struct column_slice slice = {.group = group, .to = at, .live = end - at};
    slice.skip = packed ? at % CDL_LINE : 0;
    slice.width = cdl_round_up(slice.skip + slice.live, CDL_LINE);
    const bool fits = slice.live == slice.width || end == field->columns;
    slice.direct = slice.skip == 0 && at % CDL_LINE == 0 && fits && at + slice.width <= field->ld;
    return slice;
}

/* One slice of a product: its weights, rows ldb apart, and the work on its result. */
struct product {
    const struct cdl_context *ctx;
    struct column_slice slice;
    const float *b;
    size_t ldb, read;                  /* read: the first input column */
    bool unrolled;                     /* places lie side by side, the numbers of a run in lines */
    const struct cdl_offsets *offsets; /* of a box that is read in place, or NULL */
    float init[CDL_PANEL];
    bool begins, ends; /* current part of the runs: the first, the last */
    bool cuts, late;   /* relu within the tile; gradients after all is written */
    const struct cdl_epilogue *epilogue;
    const float *to; /* output of the first sample, and its `y` of the epilogue */
    float *block;    /* CDL_MOST_ROWS x CDL_PANEL */
    double work;     /* since the last poll of the watch */
};

/* Epilogue of m places of c, a slice or all columns, that belong to `first` and those behind it. */
static void finish(const struct product *p, size_t m, size_t width, const float *first, float *c,
                   size_t ldc, size_t ldy) {
    if (p->cuts) return;
    cdl_finish(p->ctx->kernels, p->epilogue, m, width, (size_t)(first - p->to), c, ldc, ldy);
}

static void multiply_places(void *who, const struct cdl_places *row) {
    struct product *p = who;
    const struct cdl_kernels *kernels = p->ctx->kernels;
    const struct cdl_taps *taps = &row->taps;
    const size_t width = p->slice.width;
    const bool in_one_run = taps->n[0] * taps->n[1] * taps->n[2] == 1;
    p->work +=
        2.0 * (double)(taps->n[0] * taps->n[1] * taps->n[2] * taps->k) * (double)(row->n * width);
    if (p->work >= LOOK_FLOPS) {
        if (cdl_stopped(p->ctx)) return;
        p->work = 0.0;
    }
    for (size_t i = 0, m; i < row->n; i += m) {
        const bool whole = p->offsets && p->cuts && p->slice.direct;
        m = whole ? row->n : cdl_rows_together(kernels, row->n - i);
        float *first = row->to + i * row->to_step + p->slice.to;
        float *to = p->slice.direct ? first : p->block;
        const size_t ld = p->slice.direct ? row->to_step : width;
        struct cdl_product product = {.m = m, .n = width, .transposed = p->unrolled, .c = {to, ld}};
        product.a = (struct cdl_matrix){row->from + i * row->from_step + p->read,
                                        p->unrolled ? CDL_UNROLLED_LINE : row->from_step};
        product.b = (struct cdl_matrix){p->b + row->weights, p->ldb};
        product.init = (struct cdl_matrix){p->begins ? p->init : to, p->begins ? 0 : ld};
        product.cuts = p->cuts && p->ends;
        if (in_one_run)
            product.k = taps->k;
        else
            product.taps = taps;
        if (p->offsets) {
            product.a = (struct cdl_matrix){row->from, 0};
            product.rows = p->offsets->places + i, product.steps = p->offsets->lines;
            kernels->gemm_offsets(&product, false);
        } else {
            (in_one_run ? kernels->gemm : kernels->gemm_places)(&product);
        }
        if (p->ends && !p->late) finish(p, m, width, first, to, ld, row->to_step);
        if (!p->slice.direct)
            kernels->copy_columns(m, p->slice.live, to + p->slice.skip, ld, first, row->to_step);
    }
}

/* Columns of a run that go through all places before the next: their rows of a slice of the weights
 * are 384 KB at most, and stay in L2. The order of sums follows from this number, which is the same
 * for all caches. A block of its own takes no second part. */
static size_t depth_of(const struct cdl_convolution *job, size_t depth, bool direct) {
    enum { ROWS = 1536 };
    const size_t taps = cdl_window_taps(job->window);
    if (!direct || taps * depth <= ROWS) return depth;
    const size_t most = ROWS / taps < CDL_LINE ? CDL_LINE : ROWS / taps;
    const size_t parts = (depth + most - 1) / most;
    return cdl_round_up((depth + parts - 1) / parts, CDL_LINE);
}

/* Samples that go through a slice of the weights before the next slice: they are to stay in L2, but
 * to outweigh the slice, which is read anew for them. */
static size_t samples_at_a_time(const struct cdl_convolution *job, size_t most) {
    const size_t each = job->image.sample + job->map.sample;
    const size_t slice = job->w->rows * cdl_min(job->w->cols, CDL_PANEL);
    const size_t floats = cdl_max(slice, most);
    return each < floats ? floats / each : 1;
}

static bool all_direct(const struct cdl_field *field, size_t groups, bool packed) {
    bool all = true;
    struct column_slice slice;
    for (size_t at = 0; at < field->columns; at += slice.live) {
        slice = slice_at(field, groups, at, packed);
        all &= slice.direct;
    }
    return all;
}

static struct product product_of(const struct cdl_context *ctx, const struct cdl_field *to,
                                 const struct cdl_epilogue *epilogue, bool direct, float *block) {
    return (struct product){.ctx = ctx,
                            .begins = true,
                            .ends = true,
                            .cuts = cdl_cuts(epilogue),
                            .late = epilogue->gradient && !direct,
                            .epilogue = epilogue,
                            .to = to->lines,
                            .block = block};
}

static void set_init(struct product *p, const float *bias) {
    memset(p->init, 0, sizeof p->init);
    if (bias) memcpy(p->init + p->slice.skip, bias + p->slice.to, p->slice.live * sizeof(float));
}

/* Late work where part of the lines went through a block: their pads, and gradients. */
static void finish_lines(const struct product *p, const struct cdl_field *field, size_t samples) {
    const size_t pads = cdl_padded(field->columns) - field->columns;
    const size_t lines = samples * (field->sample / field->ld);
    float *line = field->lines + field->columns;
    for (size_t l = 0; l < lines && pads; l++, line += field->ld)
        memset(line, 0, pads * sizeof(float));
    if (p->late) finish(p, lines, field->columns, field->lines, field->lines, field->ld, field->ld);
}

/* Pads a single column of weights to a line of columns. */
static void widen(const struct cdl_param *w, float *to) {
    memset(to, 0, w->rows * CDL_LINE * sizeof(float));
    for (size_t r = 0; r < w->rows; r++) to[r * CDL_LINE] = w->w[r];
}

/* Bands of a sample: none where lines go through a block, as these are finished sample by sample;
 * by Winograd's way places are written two by two. */
struct cdl_bands cdl_convolution_bands(const struct cdl_convolution *job, bool back) {
    const size_t numbers = cdl_band_numbers(job->window, back);
    if (cdl_winograds(job, back)) {
        const bool along = cdl_band_axis(job->window, back) == 1;
        return along ? (struct cdl_bands){(numbers + 1) / 2, 2} : (struct cdl_bands){1, numbers};
    }
    const bool direct = all_direct(back ? &job->image : &job->map, job->groups, !back);
    return direct ? (struct cdl_bands){numbers, 1} : (struct cdl_bands){1, numbers};
}

enum { BLOCK_FLOATS = CDL_MOST_ROWS * CDL_PANEL };

static size_t wide_floats(const struct cdl_param *w) {
    return w->cols == 1 ? w->rows * CDL_LINE : 0;
}

/* Job of a product: of images and weights to maps, or (back) of maps and the weights' transpose. */
struct mapping {
    const struct cdl_convolution *job;
    bool back;
    const struct cdl_field *from, *to;
    struct product p;
    const float *bias, *wide;    /* wide: the only column of the weights, padded */
    float *room;                 /* lines of unrolled windows, or transposed weights */
    struct cdl_offsets *offsets; /* of boxes that are read in place */
    size_t samples;
};

/* Prepares the slice that begins at column `at`, for `depth` columns of the input from `first` on,
 * of those of a group. */
static void set_slice(struct mapping *m, size_t at, size_t first, size_t depth) {
    const struct cdl_convolution *job = m->job;
    const struct cdl_param *w = job->w;
    struct product *p = &m->p;
    p->slice = slice_at(m->to, job->groups, at, !m->back);
    p->read = p->slice.group * (m->from->columns / job->groups) + first;
    set_init(p, m->bias);
    if (m->back) {
        p->ldb = p->slice.width;
        p->b = m->room;
        cdl_transpose_weights(job, p->ctx->kernels, at, p->slice.live, p->ldb, p->read, depth,
                              m->room);
        return;
    }
    const size_t begin = at - p->slice.skip, panel = begin / CDL_PANEL * CDL_PANEL;
    p->ldb = m->wide ? CDL_LINE : cdl_panel_width(w->cols, panel);
    p->b = (m->wide ? m->wide : w->w + panel * w->rows + begin - panel) + first * p->ldb;
}

static void multiply_box(void *who, const struct cdl_box *box) {
    struct mapping *m = who;
    const struct cdl_convolution *job = m->job;
    const float *seen = cdl_seen_in_place(job, m->samples, box, m->offsets);
    m->p.offsets = seen ? m->offsets : NULL;
    m->p.unrolled = !seen;
    if (!seen) cdl_unroll(job, m->p.ctx->kernels, box, m->room);
    const struct cdl_places row = {.taps = {.n = {1, 1, 1}, .k = job->w->rows},
                                   .n = cdl_box_places(box),
                                   .from = seen ? seen : m->room,
                                   .to = job->map.lines + cdl_box_offset(&job->map, box),
                                   .from_step = 1,
                                   .to_step = job->map.ld};
    for (size_t at = 0; at < job->map.columns; at += m->p.slice.live) {
        set_slice(m, at, 0, job->image.columns);
        multiply_places(&m->p, &row);
    }
}

static void multiply_samples(struct mapping *m, bool direct, size_t first, size_t samples) {
    const struct cdl_convolution *job = m->job;
    struct product *p = &m->p;
    const size_t depth = m->from->columns / job->groups, part = depth_of(job, depth, direct);
    struct cdl_window_walk walk = {.window = job->window,
                                   .spans = job->spans,
                                   .from = m->from,
                                   .to = m->to,
                                   .band = job->band};
    for (size_t at = 0; at < m->to->columns; at += p->slice.live) {
        for (size_t c = 0; c < depth; c += part) {
            walk.depth = cdl_min(part, depth - c);
            set_slice(m, at, c, walk.depth);
            p->begins = c == 0;
            p->ends = c + part >= depth;
            walk.ldb = p->ldb;
            walk.each = (m->back ? walk.depth : depth) * p->ldb;
            cdl_walk(&walk, first, samples, multiply_places, p);
            if (cdl_stopped(p->ctx)) return;
        }
    }
}

size_t cdl_convolve_floats(const struct cdl_convolution *job, bool back) {
    if (cdl_winograds(job, back)) return cdl_winograd_floats(job, back);
    if (!back) return BLOCK_FLOATS + wide_floats(job->w) + cdl_unrolled_floats(job);
    const bool direct = all_direct(&job->image, job->groups, false);
    const size_t depth = depth_of(job, job->map.columns / job->groups, direct);
    return BLOCK_FLOATS + cdl_window_taps(job->window) * depth * CDL_PANEL;
}

void cdl_convolve(const struct cdl_convolution *job, bool back, const struct cdl_context *ctx,
                  size_t samples, const float *bias, const struct cdl_epilogue *epilogue,
                  float *scratch) {
    if (cdl_winograds(job, back)) {
        cdl_winograd(job, back, ctx, samples, bias, epilogue, scratch);
        return;
    }
    const struct cdl_field *to = back ? &job->image : &job->map;
    const bool direct = all_direct(to, job->groups, !back), widens = !back && job->w->cols == 1;
    float *wide = scratch + BLOCK_FLOATS;
    struct cdl_offsets offsets;
    struct mapping m = {.job = job,
                        .back = back,
                        .from = back ? &job->map : &job->image,
                        .to = to,
                        .p = product_of(ctx, to, epilogue, direct, scratch),
                        .bias = bias,
                        .wide = widens ? wide : NULL,
                        .room = wide + (back ? 0 : wide_floats(job->w)),
                        .offsets = &offsets,
                        .samples = samples};
    if (widens) widen(job->w, wide);
    if (!back && cdl_unrolls(job)) {
        offsets.span = 0;
        cdl_each_box(job->window, ctx, samples, job->band, multiply_box, &m);
    } else {
        const size_t most = ctx->kernels->blocking->sample_floats;
        const size_t each = back ? samples : samples_at_a_time(job, most);
        for (size_t first = 0; first < samples && !cdl_stopped(ctx); first += each)
            multiply_samples(&m, direct, first, cdl_min(samples - first, each));
    }
    if (!direct) finish_lines(&m.p, to, samples);
}

void cdl_transpose_weights(const struct cdl_convolution *job, const struct cdl_kernels *kernels,
                           size_t column, size_t live, size_t width, size_t first, size_t depth,
                           float *to) {
    const struct cdl_param *w = job->w;
    const size_t each = job->image.columns / job->groups, taps = cdl_window_taps(job->window);
    memset(to, 0, taps * depth * width * sizeof(float));
    for (size_t tap = 0; tap < taps; tap++) {
        for (size_t f = first, columns; f < first + depth; f += columns) {
            const size_t panel = f / CDL_PANEL * CDL_PANEL, end = panel + CDL_PANEL;
            const size_t ld = cdl_panel_width(w->cols, panel);
            columns = cdl_min(end, first + depth) - f;
            const float *from =
                w->w + panel * w->rows + (tap * each + column % each) * ld + (f - panel);
            if (f % CDL_LINE == 0) {
                kernels->transpose(live, columns, from, ld, to, width);
            } else { /* no kernel, which reads whole registers: the last may end behind w */
                for (size_t i = 0; i < columns * live; i++)
                    to[i / live * width + i % live] = from[i % live * ld + i / live];
            }
            to += columns * width;
        }
    }
}
