/* convolve.c - the map of an image, and the image of a map: which tile is computed when. */
#include "products/convolve.h"

#include <string.h>

#include "kernels/kernels.h"

/* Places that go through a panel together before their activation, as in matmul.c. */
enum { ROW_GROUP = 48 };

/* Arithmetic between two looks at the watch: some 0.2 ms. */
#define LOOK_FLOPS 2e7

/* Columns [to, to + live) of what is written, all of one group. The product has `width` of them
 * and begins `skip` before; if it is not direct it goes through a block of its own. */
struct slice {
    size_t group, to, live, skip, width;
    bool direct;
};

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* `packed`: the columns of the weights are those of panels, which begin at multiples of lines. */
static struct slice slice_at(const struct cdl_field *field, size_t groups, size_t at, bool packed) {
    const size_t each = field->columns / groups, group = at / each;
    const size_t end =
        least((group + 1) * each, packed ? (at / CDL_PANEL + 1) * CDL_PANEL : at + CDL_PANEL);
    struct slice slice = {.group = group, .to = at, .live = end - at};
    slice.skip = packed ? at % CDL_LINE : 0;
    slice.width = cdl_round_up(slice.skip + slice.live, CDL_LINE);
    const bool fits = slice.live == slice.width || end == field->columns;
    slice.direct = slice.skip == 0 && at % CDL_LINE == 0 && fits && at + slice.width <= field->ld;
    return slice;
}

/* One slice of a product: its weights, rows ldb apart, and what is done with it. */
struct product {
    const struct cdl_context *ctx;
    struct slice slice;
    const float *b;
    size_t ldb, read; /* read: the first column of what is read */
    float init[CDL_PANEL];
    int activation;
    const float *params;
    float *block; /* ROW_GROUP x CDL_PANEL */
    double work;  /* since the last look at the watch */
};

static void multiply_places(void *who, const struct cdl_places *row) {
    struct product *p = who;
    const struct cdl_kernels *kernels = p->ctx->kernels;
    const struct cdl_taps *taps = &row->taps;
    const size_t width = p->slice.width;
    p->work +=
        2.0 * (double)(taps->n[0] * taps->n[1] * taps->n[2] * taps->k) * (double)(row->n * width);
    if (p->work >= LOOK_FLOPS) {
        if (cdl_stopped(p->ctx)) return;
        p->work = 0.0;
    }
    for (size_t i = 0; i < row->n; i += ROW_GROUP) {
        const size_t m = least(row->n - i, ROW_GROUP);
        float *first = row->to + i * row->to_step + p->slice.to;
        float *to = p->slice.direct ? first : p->block;
        const size_t ld = p->slice.direct ? row->to_step : width;
        kernels->gemm_places(m, width, taps, row->from + i * row->from_step + p->read,
                             row->from_step, p->b + row->weights, p->ldb, p->init, 0, to, ld);
        if (p->activation != CDL_ACTIVATION_linear)
            kernels->activation[p->activation](m, width, to, ld, to, ld, p->params);
        if (!p->slice.direct)
            kernels->copy_columns(m, p->slice.live, to + p->slice.skip, ld, first, row->to_step);
    }
}

static void set_init(struct product *p, const float *bias) {
    memset(p->init, 0, sizeof p->init);
    if (bias) memcpy(p->init + p->slice.skip, bias + p->slice.to, p->slice.live * sizeof(float));
}

/* Pads of lines of which some part went through a block. */
static void clear_pads(const struct cdl_field *field, size_t samples) {
    const size_t pads = cdl_padded(field->columns) - field->columns;
    float *line = field->lines + field->columns;
    for (size_t l = 0; l < samples * (field->sample / field->ld) && pads; l++, line += field->ld)
        memset(line, 0, pads * sizeof(float));
}

/* A single column of weights as the first of a line of columns. */
static void widen(const struct cdl_param *w, float *to) {
    memset(to, 0, w->rows * CDL_LINE * sizeof(float));
    for (size_t r = 0; r < w->rows; r++) to[r * CDL_LINE] = w->w[r];
}

enum { BLOCK_FLOATS = ROW_GROUP * CDL_PANEL };

size_t cdl_map_floats(const struct cdl_convolution *job) {
    return BLOCK_FLOATS + (job->w->cols == 1 ? job->w->rows * CDL_LINE : 0);
}

void cdl_convolve(const struct cdl_convolution *job, const struct cdl_context *ctx, size_t samples,
                  const float *bias, int activation, const float *params, float *scratch) {
    const struct cdl_param *w = job->w;
    struct product p = {.ctx = ctx, .activation = activation, .params = params, .block = scratch};
    struct cdl_walk walk = {.window = job->window,
                            .spans = job->spans,
                            .from = &job->image,
                            .to = &job->map,
                            .depth = job->image.columns / job->groups};
    if (w->cols == 1) widen(w, scratch + BLOCK_FLOATS);
    bool direct = true;
    const size_t each = cdl_samples_at_a_time(&job->image, &job->map);
    for (size_t first = 0; first < samples; first += each) {
        for (size_t at = 0; at < job->map.columns; at += p.slice.live) {
            p.slice = slice_at(&job->map, job->groups, at, true);
            direct &= p.slice.direct;
            const size_t begin = at - p.slice.skip, panel = begin / CDL_PANEL * CDL_PANEL;
            p.read = p.slice.group * walk.depth;
            p.ldb = w->cols == 1 ? CDL_LINE : cdl_panel_width(w->cols, panel);
            p.b = w->cols == 1 ? scratch + BLOCK_FLOATS : w->w + panel * w->rows + begin - panel;
            set_init(&p, bias);
            walk.each = walk.depth * p.ldb;
            cdl_walk(&walk, first, least(samples - first, each), multiply_places, &p);
            if (cdl_stopped(ctx)) return;
        }
    }
    if (!direct) clear_pads(&job->map, samples);
}

size_t cdl_image_floats(const struct cdl_convolution *job) {
    const size_t depth = job->map.columns / job->groups;
    return BLOCK_FLOATS + cdl_window_taps(job->window) * depth * CDL_PANEL;
}

/* The weights between a slice of the image's columns and its group of the map's, tap by tap
 * turned over: a row for each of the map's columns. */
static void turn(const struct cdl_convolution *job, const struct cdl_kernels *kernels,
                 const struct slice *slice, size_t depth, float *to) {
    const struct cdl_param *w = job->w;
    const size_t each = job->image.columns / job->groups, taps = cdl_window_taps(job->window);
    const size_t first = slice->group * depth, row = slice->to - slice->group * each;
    memset(to, 0, taps * depth * slice->width * sizeof(float));
    for (size_t tap = 0; tap < taps; tap++) {
        for (size_t f = first, columns; f < first + depth; f += columns) {
            const size_t panel = f / CDL_PANEL * CDL_PANEL;
            const size_t width = cdl_panel_width(w->cols, panel);
            columns = least(first + depth, panel + CDL_PANEL) - f;
            const float *from = w->w + panel * w->rows + (tap * each + row) * width + (f - panel);
            if (f % CDL_LINE == 0) {
                kernels->transpose(slice->live, columns, from, width, to, slice->width);
            } else { /* the kernel reads whole registers, of which the last may end behind w */
                for (size_t i = 0; i < columns * slice->live; i++) {
                    const size_t c = i / slice->live, r = i % slice->live;
                    to[c * slice->width + r] = from[r * width + c];
                }
            }
            to += columns * slice->width;
        }
    }
}

void cdl_convolve_back(const struct cdl_convolution *job, const struct cdl_context *ctx,
                       size_t samples, const float *bias, int activation, const float *params,
                       float *scratch) {
    struct product p = {.ctx = ctx, .activation = activation, .params = params, .block = scratch};
    struct cdl_walk walk = {.window = job->window,
                            .spans = job->spans,
                            .from = &job->map,
                            .to = &job->image,
                            .depth = job->map.columns / job->groups};
    bool direct = true;
    for (size_t at = 0; at < job->image.columns; at += p.slice.live) {
        p.slice = slice_at(&job->image, job->groups, at, false);
        direct &= p.slice.direct;
        p.read = p.slice.group * walk.depth;
        p.ldb = p.slice.width;
        p.b = scratch + BLOCK_FLOATS;
        set_init(&p, bias);
        turn(job, ctx->kernels, &p.slice, walk.depth, scratch + BLOCK_FLOATS);
        walk.each = walk.depth * p.ldb;
        cdl_walk(&walk, 0, samples, multiply_places, &p);
        if (cdl_stopped(ctx)) return;
    }
    if (!direct) clear_pads(&job->image, samples);
}
