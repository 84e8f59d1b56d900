/* pairs.c - gradients of weights behind windows: sums over all places of what a tap sees times
 * what the place's gradient is.
 *
 * A thread's blocks of the weights go through the samples together, some places at a time, so that
 * image and map are read from memory once. Each block is the sum of what these places come to, and
 * each of these sums begins at 0: the error does not grow with the number of samples. Which places
 * are taken together depends on shapes alone, so the bits are those of any number of threads.
 */
#include <string.h>

#include "kernels/kernels.h"
#include "products/convolve.h"

/* Places at a time: 256 lines of 64 floats of the map stay in L1 or are near. */
enum { PLACES = 256 };

/* Blocks of 64 x 64 weights that a thread sums at a time: 256 KB. */
enum { BLOCKS = 16, BLOCK_FLOATS = CDL_CHUNK * CDL_PANEL };

/* Samples, then places of the map's axes: [first, first + n) of each. */
struct box {
    size_t first[CDL_AXES + 1], n[CDL_AXES + 1];
};

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* How many numbers of each axis are taken at a time: inner axes whole, if they are few enough. */
static void choose_box(const struct cdl_convolution *job, size_t samples, struct box *box) {
    size_t left = PLACES;
    for (int d = CDL_AXES; d >= 0; d--) {
        const size_t all = d ? job->window->axis[d - 1].map : samples;
        box->n[d] = least(all, left ? left : 1);
        left /= all;
    }
}

/* What one thread sums: blocks [first, first + n). */
struct sums {
    const struct cdl_convolution *job;
    const struct cdl_kernels *kernels;
    size_t first, n;
    bool w, bias; /* which of them learns */
    float *g, *by_column, *block, *wide;
};

/* Places of an axis from where a tap sees something, within those of a box. */
static void clip(const struct cdl_axis *axis, size_t tap, size_t *first, size_t *n) {
    const ptrdiff_t stride = (ptrdiff_t)axis->stride;
    const ptrdiff_t lack = axis->before - (ptrdiff_t)(tap * axis->dilation);
    const ptrdiff_t low = lack <= 0 ? 0 : (lack + stride - 1) / stride;
    const ptrdiff_t room = (ptrdiff_t)axis->image + lack;
    const ptrdiff_t high = room <= 0 ? 0 : (room + stride - 1) / stride;
    const ptrdiff_t begin = (ptrdiff_t)*first < low ? low : (ptrdiff_t)*first;
    const ptrdiff_t last = (ptrdiff_t)(*first + *n), end = last < high ? last : high;
    *first = (size_t)begin;
    *n = end > begin ? (size_t)(end - begin) : 0;
}

/* One column of the map as the first of lines of a register or more: those of a box. */
static void widen(const struct sums *sums, const struct box *box) {
    const struct cdl_field *map = &sums->job->map;
    float *to = sums->wide;
    for (size_t s = 0; s < box->n[0]; s++) {
        for (size_t u = 0; u < box->n[1]; u++) {
            for (size_t v = 0; v < box->n[2]; v++) {
                const float *from = map->lines + (box->first[0] + s) * map->sample +
                                    (box->first[1] + u) * map->pitch[0] +
                                    (box->first[2] + v) * map->pitch[1] +
                                    box->first[3] * map->pitch[2];
                for (size_t w = 0; w < box->n[3]; w++, to += CDL_LINE) to[0] = from[w];
            }
        }
    }
}

/* A tap with `rows` of the image's columns from `channel` on, of one group, and `width` of the
 * map's from `column` on, which begin a line; in a box of places. */
static void multiply(const struct sums *sums, const struct box *box, size_t tap, size_t channel,
                     size_t rows, size_t column, size_t width, float *g, size_t ldg) {
    const struct cdl_convolution *job = sums->job;
    const struct cdl_field *image = &job->image, *map = &job->map;
    const bool wide = map->columns == 1;
    size_t pitch = CDL_LINE; /* of the wide copy */
    struct cdl_taps taps = {.k = 1};
    size_t n[CDL_AXES], a_step = 0, b_step = 0;
    ptrdiff_t a = (ptrdiff_t)(box->first[0] * image->sample + channel);
    size_t b = wide ? 0 : box->first[0] * map->sample + column;
    for (int d = CDL_AXES - 1; d >= 0; d--) {
        const struct cdl_axis *axis = &job->window->axis[d];
        const size_t at = tap % axis->taps;
        size_t first = box->first[d + 1];
        tap /= axis->taps;
        n[d] = box->n[d + 1];
        clip(axis, at, &first, &n[d]);
        if (n[d] == 0) return;
        a += ((ptrdiff_t)(first * axis->stride + at * axis->dilation) - axis->before) *
             (ptrdiff_t)image->pitch[d];
        const size_t b_pitch = wide ? pitch : map->pitch[d];
        b += (wide ? first - box->first[d + 1] : first) * b_pitch;
        pitch *= box->n[d + 1];
        if (d == CDL_AXES - 1) {
            taps.k = n[d], a_step = axis->stride * image->pitch[d], b_step = b_pitch;
        } else {
            taps.n[d + 1] = n[d];
            taps.a[d + 1] = (ptrdiff_t)(axis->stride * image->pitch[d]);
            taps.b[d + 1] = (ptrdiff_t)b_pitch;
        }
    }
    taps.n[0] = box->n[0];
    taps.a[0] = (ptrdiff_t)image->sample;
    taps.b[0] = (ptrdiff_t)(wide ? pitch : map->sample);
    sums->kernels->gemm_pairs(rows, width, &taps, image->lines + a, a_step,
                              (wide ? sums->wide : map->lines) + b, b_step, g, ldg);
}

/* `live` of a panel's columns, all of one group, `skip` columns behind a whole line. Where they
 * have lines of their own they are summed where they stay, else in a block beside. */
static void add_columns(const struct sums *sums, const struct box *box, struct cdl_block block,
                        size_t group, size_t column, size_t live, float *g) {
    const struct cdl_convolution *job = sums->job;
    const size_t each = job->image.columns / job->groups, skip = column % CDL_LINE;
    const size_t width = cdl_round_up(skip + live, CDL_LINE), offset = column - block.column;
    const bool fits = live == width || column + live == job->map.columns;
    const bool direct = skip == 0 && fits && offset + width <= block.width;
    float *to = direct ? g + offset : sums->block;
    const size_t ld = direct ? block.width : width;
    if (!direct) memset(to, 0, block.rows * width * sizeof(float));
    for (size_t row = 0, rows; row < block.rows; row += rows) {
        const size_t tap = (block.row + row) / each, channel = (block.row + row) % each;
        rows = least(each - channel, block.rows - row);
        multiply(sums, box, tap, group * each + channel, rows, column - skip, width, to + row * ld,
                 ld);
    }
    if (direct) return;
    for (size_t r = 0; r < block.rows; r++) {
        for (size_t j = 0; j < live; j++)
            g[r * block.width + offset + j] += to[r * width + skip + j];
    }
}

static void add_block(const struct sums *sums, const struct box *box, struct cdl_block block,
                      float *g) {
    const size_t columns = sums->job->map.columns, each = columns / sums->job->groups;
    const size_t end = least(block.column + block.width, columns);
    for (size_t column = block.column, live; column < end; column += live) {
        const size_t group = column / each;
        live = least((group + 1) * each, end) - column;
        add_columns(sums, box, block, group, column, live, g);
    }
}

/* Sums of a field's columns over a box of places. */
static void add_sums(const struct cdl_kernels *kernels, const struct cdl_field *field,
                     const struct box *box, struct cdl_block block, float *sum) {
    for (size_t s = 0; s < box->n[0]; s++) {
        for (size_t u = 0; u < box->n[1]; u++) {
            for (size_t v = 0; v < box->n[2]; v++) {
                float part[CDL_PANEL];
                const float *from = field->lines + (box->first[0] + s) * field->sample +
                                    (box->first[1] + u) * field->pitch[0] +
                                    (box->first[2] + v) * field->pitch[1] +
                                    box->first[3] * field->pitch[2] + block.column;
                kernels->column_sums(box->n[3], block.width, from, field->ld, part);
                for (size_t j = 0; j < block.width; j++) sum[j] += part[j];
            }
        }
    }
}

static void add_box(const struct sums *sums, const struct box *box) {
    if (sums->job->map.columns == 1) widen(sums, box);
    for (size_t i = 0; i < sums->n; i++) {
        const struct cdl_block block = cdl_block_at(sums->job->w, sums->first + i);
        if (sums->w) add_block(sums, box, block, sums->g + i * BLOCK_FLOATS);
        if (sums->bias && block.row == 0)
            add_sums(sums->kernels, &sums->job->map, box, block, sums->by_column + i * CDL_PANEL);
    }
}

static void add_all(const struct sums *sums, const struct cdl_context *ctx) {
    const struct cdl_axis *axis = sums->job->window->axis;
    struct box all, box;
    choose_box(sums->job, ctx->rows, &all);
    for (size_t s = 0; s < ctx->rows; s += all.n[0]) {
        if (cdl_stopped(ctx)) return;
        for (size_t u = 0; u < axis[0].map; u += all.n[1]) {
            for (size_t v = 0; v < axis[1].map; v += all.n[2]) {
                for (size_t w = 0; w < axis[2].map; w += all.n[3]) {
                    box = (struct box){
                        {s, u, v, w},
                        {least(ctx->rows - s, all.n[0]), least(axis[0].map - u, all.n[1]),
                         least(axis[1].map - v, all.n[2]), least(axis[2].map - w, all.n[3])}};
                    add_box(sums, &box);
                }
            }
        }
    }
}

/* Pads of a map that is a value hold any numbers. */
static void clear_pads(const struct cdl_convolution *job, struct cdl_block block, float *g) {
    const size_t left = job->map.columns - block.column;
    for (size_t r = 0; r < block.rows; r++) {
        for (size_t j = left; j < block.width; j++) g[r * block.width + j] = 0.0f;
    }
}

size_t cdl_pairs_floats(void) {
    return (BLOCKS + 1) * BLOCK_FLOATS + BLOCKS * CDL_PANEL + PLACES * CDL_LINE;
}

void cdl_learn_pairs(const struct cdl_convolution *job, const struct cdl_context *ctx,
                     struct cdl_trained *w, struct cdl_trained *bias, float *scratch, int thread,
                     int n_threads) {
    struct sums sums = {.job = job, .kernels = ctx->kernels, .w = w != NULL, .bias = bias != NULL};
    sums.g = scratch;
    sums.by_column = sums.g + BLOCKS * BLOCK_FLOATS;
    sums.block = sums.by_column + BLOCKS * CDL_PANEL;
    sums.wide = sums.block + BLOCK_FLOATS;
    memset(sums.wide, 0, PLACES * CDL_LINE * sizeof(float));
    const size_t blocks = cdl_blocks(job->w),
                 end = blocks * (size_t)(thread + 1) / (size_t)n_threads;
    sums.first = blocks * (size_t)thread / (size_t)n_threads;
    for (; sums.first < end; sums.first += sums.n) {
        sums.n = least(end - sums.first, BLOCKS);
        memset(sums.g, 0, (size_t)(sums.block - sums.g) * sizeof(float));
        add_all(&sums, ctx);
        if (cdl_stopped(ctx)) return;
        for (size_t i = 0; i < sums.n; i++) {
            const struct cdl_block block = cdl_block_at(job->w, sums.first + i);
            if (bias && block.row == 0) {
                const struct cdl_block part = {
                    .column = block.column, .rows = 1, .width = block.width};
                cdl_learn(bias, ctx, part, sums.by_column + i * CDL_PANEL);
            }
            if (!w) continue;
            clear_pads(job, block, sums.g + i * BLOCK_FLOATS);
            cdl_learn(w, ctx, block, sums.g + i * BLOCK_FLOATS);
        }
    }
}

void cdl_learn_columns(struct cdl_trained *row, const struct cdl_context *ctx,
                       const struct cdl_field *field, float *g, int thread, int n_threads) {
    if (!row) return;
    const size_t blocks = cdl_blocks(row->param), lines = field->sample / field->ld;
    const size_t end = blocks * (size_t)(thread + 1) / (size_t)n_threads;
    for (size_t i = blocks * (size_t)thread / (size_t)n_threads; i < end; i++) {
        const struct cdl_block block = cdl_block_at(row->param, i);
        memset(g, 0, block.width * sizeof(float));
        for (size_t line = 0, n; line < ctx->rows * lines; line += n) {
            float part[CDL_PANEL];
            n = least(ctx->rows * lines - line, PLACES);
            ctx->kernels->column_sums(
                n, block.width, field->lines + line * field->ld + block.column, field->ld, part);
            for (size_t j = 0; j < block.width; j++) g[j] += part[j];
        }
        cdl_learn(row, ctx, block, g);
    }
}
