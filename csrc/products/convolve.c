/* convolve.c - the map of an image, and the image of a map: which tile is computed when. */
#include "products/convolve.h"

#include <string.h>

#include "kernels/kernels.h"

/* Places that go through a panel together before their activation, as in matmul.c. */
enum { ROW_GROUP = 48 };

/* Fewer places in a row than this leave tiles half empty: another axis is looked for. */
enum { FEW = 6 };

/* Floats of samples that are worked on before the next columns of them: they stay in L2. */
enum { SAMPLE_FLOATS = 64 * 1024 };

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
    const struct cdl_window *window;
    const struct cdl_spans *spans;
    const struct cdl_field *from, *to;
    struct slice slice;
    size_t read, depth; /* columns that are read */
    const float *b;
    size_t ldb;
    float init[CDL_PANEL];
    int activation;
    const float *params;
    float *block; /* ROW_GROUP x CDL_PANEL */
    double work;  /* since the last look at the watch */
};

/* `rows` places that lie lda and ldc apart. */
static void multiply_rows(struct product *p, const struct cdl_taps *taps, size_t rows,
                          const float *a, size_t lda, const float *b, float *c, size_t ldc) {
    const struct cdl_kernels *kernels = p->ctx->kernels;
    const size_t width = p->slice.width;
    for (size_t row = 0; row < rows; row += ROW_GROUP) {
        const size_t m = least(rows - row, ROW_GROUP);
        float *first = c + row * ldc, *to = p->slice.direct ? first : p->block;
        const size_t ld = p->slice.direct ? ldc : width;
        kernels->gemm_places(m, width, taps, a + row * lda, lda, b, p->ldb, p->init, 0, to, ld);
        if (p->activation != CDL_ACTIVATION_linear)
            kernels->activation[p->activation](m, width, to, ld, to, ld, p->params);
        if (!p->slice.direct)
            kernels->copy_columns(m, p->slice.live, to + p->slice.skip, ld, first, ldc);
    }
}

/* The axes of what is written, samples first: how many, and floats from one to the next. */
struct axes {
    size_t n[CDL_AXES + 1], a[CDL_AXES + 1], c[CDL_AXES + 1];
};

static void exchange(struct axes *axes, int d, int e) {
    const struct axes old = *axes;
    axes->n[d] = old.n[e], axes->a[d] = old.a[e], axes->c[d] = old.c[e];
    axes->n[e] = old.n[d], axes->a[e] = old.a[d], axes->c[e] = old.c[d];
}

/* The last axis becomes the rows of tiles: joined with those that go on in the same steps, or
 * another one if it is short. */
static void choose_rows(struct axes *axes) {
    const int last = CDL_AXES;
    for (int d = last - 1; d >= 0; d--) {
        if (axes->n[d] == 1) continue;
        if (axes->n[last] == 1) {
            exchange(axes, d, last);
            continue;
        }
        if (axes->a[d] != axes->n[last] * axes->a[last]) break;
        if (axes->c[d] != axes->n[last] * axes->c[last]) break;
        axes->n[last] *= axes->n[d];
        axes->n[d] = 1;
    }
    int most = last;
    for (int d = 0; d < last; d++) most = axes->n[d] > axes->n[most] ? d : most;
    if (axes->n[last] < FEW && most != last) exchange(axes, most, last);
}

/* Taps that follow each other without a gap in both factors are one run. */
static void join(struct cdl_taps *taps, size_t ldb) {
    for (int d = CDL_AXES - 1; d >= 0; d--) {
        if (taps->n[d] == 1) continue;
        if (taps->a[d] != (ptrdiff_t)taps->k || taps->b[d] != (ptrdiff_t)(taps->k * ldb)) return;
        taps->k *= taps->n[d];
        taps->n[d] = 1;
    }
}

/* Places to which the same taps come: one span of each axis, samples [first, first + samples). */
static void multiply_box(struct product *p, const struct cdl_span *const spans[CDL_AXES],
                         size_t first, size_t samples) {
    struct cdl_taps taps = {.k = p->depth};
    struct axes axes = {.n = {samples}, .a = {p->from->sample}, .c = {p->to->sample}};
    size_t tap = 0, below = p->depth * p->ldb;
    ptrdiff_t from = (ptrdiff_t)p->read;
    float *c = p->to->lines + first * p->to->sample + p->slice.to;
    for (int d = CDL_AXES - 1; d >= 0; d--) {
        const struct cdl_span *s = spans[d];
        const size_t pitch = p->from->pitch[d];
        from += s->source * (ptrdiff_t)pitch;
        c += s->first * p->to->pitch[d];
        axes.n[d + 1] = s->count;
        axes.a[d + 1] = (size_t)s->source_step * pitch;
        axes.c[d + 1] = s->step * p->to->pitch[d];
        taps.n[d] = s->taps;
        taps.a[d] = s->source_tap * (ptrdiff_t)pitch;
        taps.b[d] = (ptrdiff_t)(s->tap_step * below);
        tap += s->tap * below;
        below *= p->window->axis[d].taps;
    }
    const float *a = p->from->lines + first * p->from->sample + from;
    join(&taps, p->ldb);
    choose_rows(&axes);
    const double flops = 2.0 * (double)(taps.n[0] * taps.n[1] * taps.n[2] * taps.k) *
                         (double)(axes.n[CDL_AXES] * p->slice.width);
    for (size_t s = 0; s < axes.n[0]; s++) {
        for (size_t u = 0; u < axes.n[1]; u++) {
            for (size_t v = 0; v < axes.n[2]; v++) {
                p->work += flops;
                if (p->work >= LOOK_FLOPS) {
                    if (cdl_stopped(p->ctx)) return;
                    p->work = 0.0;
                }
                multiply_rows(p, &taps, axes.n[CDL_AXES],
                              a + s * axes.a[0] + u * axes.a[1] + v * axes.a[2], axes.a[CDL_AXES],
                              p->b + tap, c + s * axes.c[0] + u * axes.c[1] + v * axes.c[2],
                              axes.c[CDL_AXES]);
            }
        }
    }
}

static void multiply(struct product *p, size_t first, size_t samples) {
    const struct cdl_spans *spans = p->spans;
    for (size_t u = 0; u < spans->n[0]; u++) {
        for (size_t v = 0; v < spans->n[1]; v++) {
            for (size_t w = 0; w < spans->n[2]; w++) {
                const struct cdl_span *const box[CDL_AXES] = {&spans->of[0][u], &spans->of[1][v],
                                                              &spans->of[2][w]};
                multiply_box(p, box, first, samples);
            }
        }
    }
}

static size_t samples_at_a_time(const struct cdl_convolution *job) {
    const size_t each = job->image.sample + job->map.sample;
    return each < SAMPLE_FLOATS ? SAMPLE_FLOATS / each : 1;
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
    struct product p = {.ctx = ctx,
                        .window = job->window,
                        .spans = job->spans,
                        .from = &job->image,
                        .to = &job->map,
                        .depth = job->image.columns / job->groups,
                        .activation = activation,
                        .params = params,
                        .block = scratch};
    if (w->cols == 1) widen(w, scratch + BLOCK_FLOATS);
    bool direct = true;
    const size_t each = samples_at_a_time(job);
    for (size_t first = 0; first < samples; first += each) {
        for (size_t at = 0; at < job->map.columns; at += p.slice.live) {
            p.slice = slice_at(&job->map, job->groups, at, true);
            direct &= p.slice.direct;
            const size_t begin = at - p.slice.skip, panel = begin / CDL_PANEL * CDL_PANEL;
            p.read = p.slice.group * p.depth;
            p.ldb = w->cols == 1 ? CDL_LINE : cdl_panel_width(w->cols, panel);
            p.b = w->cols == 1 ? scratch + BLOCK_FLOATS : w->w + panel * w->rows + begin - panel;
            set_init(&p, bias);
            multiply(&p, first, least(samples - first, each));
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
    struct product p = {.ctx = ctx,
                        .window = job->window,
                        .spans = job->spans,
                        .from = &job->map,
                        .to = &job->image,
                        .depth = job->map.columns / job->groups,
                        .activation = activation,
                        .params = params,
                        .block = scratch};
    bool direct = true;
    for (size_t at = 0; at < job->image.columns; at += p.slice.live) {
        p.slice = slice_at(&job->image, job->groups, at, false);
        direct &= p.slice.direct;
        p.read = p.slice.group * p.depth;
        p.ldb = p.slice.width;
        p.b = scratch + BLOCK_FLOATS;
        set_init(&p, bias);
        turn(job, ctx->kernels, &p.slice, p.depth, scratch + BLOCK_FLOATS);
        multiply(&p, 0, samples);
        if (cdl_stopped(ctx)) return;
    }
    if (!direct) clear_pads(&job->image, samples);
}
