/* pairs.c - gradients of convolutions' weights: sums over all places of a tap's input times the
 * place's gradient.
 *
 * A thread's blocks of the weights go through the boxes of places together, so that image and map
 * are read from memory once. The sum over a box begins at 0 and is added to the block's: the error
 * does not grow with the number of samples.
 */
#include "kernels/kernels.h"
#include "products/boxes.h"
#include "products/convolve.h"
#include "products/unroll.h"

/* Blocks of 64 x 64 weights that a thread sums at a time, as blocking.h says. */
enum { BLOCKS = CDL_MOST_PAIR_BLOCKS, BLOCK_FLOATS = CDL_CHUNK * CDL_PANEL };

/* Most ones in a line of them: they lie where a map of one column would be widened. */
enum { ONES = CDL_BOX_PLACES * CDL_LINE };

/* Sums of one thread over all samples: blocks [first, first + n). */
struct pair_sums {
    const struct cdl_convolution *job;
    const struct cdl_kernels *kernels;
    size_t first, n, samples;
    bool w, bias; /* what learns */
    bool ones;    /* behind the lines there is one of ones: its row of g is the sums for the bias */
    float *g, *by_column, *block, *wide, *lines; /* lines: of unrolled windows, or NULL */
    struct cdl_offsets *offsets;                 /* of boxes that are read in place */
    const float *seen;                           /* start of such a box, or NULL */
    struct cdl_field map; /* map of the box: lines begin at its first number */
};

/* Pads a map of one column to lines of a register or more: those of a box. */
static void widen(struct pair_sums *sums, const struct cdl_box *box) {
    const struct cdl_field *map = &sums->job->map;
    const float *from = map->lines + cdl_box_offset(map, box);
    for (size_t i = 0; i < cdl_box_places(box); i++) sums->wide[i * CDL_LINE] = from[i];
    sums->map.lines = sums->wide;
    size_t pitch = CDL_LINE;
    for (int d = CDL_AXES - 1; d >= 0; d--) {
        sums->map.pitch[d] = pitch;
        pitch *= box->n[d + 1];
    }
    sums->map.sample = pitch;
}

/* Product of a tap in a box of places: p.m of the image's columns from `channel` on, of one
 * group, and p.n of the map's from `column` on, which begin a line. */
static void multiply(const struct pair_sums *sums, const struct cdl_box *box, size_t tap,
                     size_t channel, size_t column, struct cdl_product p) {
    const struct cdl_convolution *job = sums->job;
    struct cdl_pairs pairs = {.taps = {.n = {1, 1, 1}, .k = cdl_box_places(box)}};
    if (sums->seen) {
        p.a.at = sums->seen, p.k = cdl_box_places(box);
        p.rows = sums->offsets->lines + tap * job->image.columns + channel;
        p.steps = sums->offsets->places;
        p.b = (struct cdl_matrix){sums->map.lines + column, sums->map.pitch[2]};
        sums->kernels->gemm_offsets(&p, true);
        return;
    }
    if (sums->lines) {
        p.a.at = sums->lines + (tap * job->image.columns + channel) * CDL_UNROLLED_LINE;
        p.a.ld = CDL_UNROLLED_LINE;
        pairs.map_step = sums->map.pitch[2];
    } else {
        if (!cdl_pairs_of(job->window, box, tap, &job->image, &sums->map, &pairs)) return;
        p.a.at = job->image.lines + pairs.image + (ptrdiff_t)channel;
        p.a.ld = pairs.image_step, p.transposed = true;
    }
    p.b = (struct cdl_matrix){sums->map.lines + pairs.map + column, pairs.map_step};
    p.taps = &pairs.taps;
    sums->kernels->gemm_pairs(&p);
}

/* Sums for `live` of a panel's columns, all of one group, `skip` columns behind a whole line.
 * Columns with lines of their own are summed in place, others in a block beside. */
static void add_columns(const struct pair_sums *sums, const struct cdl_box *box,
                        struct cdl_block block, size_t group, size_t column, size_t live,
                        float *g) {
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
        rows = sums->lines ? block.rows + sums->ones : cdl_min(each - channel, block.rows - row);
        const struct cdl_output c = {to + row * ld, ld};
        multiply(sums, box, tap, group * each + channel, column - skip,
                 (struct cdl_product){.m = rows, .n = width, .c = c, .init = {c.at, c.ld}});
    }
    if (direct) return;
    for (size_t r = 0; r < block.rows; r++) {
        for (size_t j = 0; j < live; j++)
            g[r * block.width + offset + j] += to[r * width + skip + j];
    }
}

static void add_block(const struct pair_sums *sums, const struct cdl_box *box,
                      struct cdl_block block, float *g) {
    const size_t columns = sums->job->map.columns, each = columns / sums->job->groups;
    const size_t end = cdl_min(block.column + block.width, columns);
    for (size_t column = block.column, live; column < end; column += live) {
        const size_t group = column / each;
        live = cdl_min((group + 1) * each, end) - column;
        add_columns(sums, box, block, group, column, live, g);
    }
}

static void add_sums(const struct pair_sums *sums, const struct cdl_box *box,
                     struct cdl_block block, float *sum) {
    const struct cdl_field *map = &sums->job->map;
    float part[CDL_PANEL];
    sums->kernels->column_sums(cdl_box_places(box), block.width,
                               map->lines + cdl_box_offset(map, box) + block.column, map->ld, part);
    for (size_t j = 0; j < block.width; j++) sum[j] += part[j];
}

static void write_ones(float *to, size_t n) {
    for (size_t i = 0; i < CDL_LINE; i++) to[i] = 1.0f;
    for (size_t i = CDL_LINE, more; i < n; i += more) {
        more = cdl_min(i, n - i);
        memcpy(to + i, to, more * sizeof(float));
    }
}

/* Finds what a box sees, in place or in lines. The line of ones, of which a box reads a span, gives
 * the sums for the bias: the bits are those of add_sums, without waiting for one sum after the
 * other. */
static void look(struct pair_sums *sums, const struct cdl_box *box) {
    const struct cdl_convolution *job = sums->job;
    struct cdl_offsets *offsets = sums->offsets;
    const bool begins = !offsets->span;
    sums->seen = cdl_seen_in_place(job, sums->samples, box, offsets);
    if (sums->seen && offsets->span > ONES) sums->seen = NULL;
    if (!sums->seen) {
        cdl_unroll(job, sums->kernels, box, sums->lines);
    } else if (sums->ones) {
        if (begins) write_ones(sums->wide, offsets->span);
        offsets->lines[job->w->rows] = sums->wide - sums->seen;
    }
}

static void add_box(void *who, const struct cdl_box *box) {
    struct pair_sums *sums = who;
    const struct cdl_field *map = &sums->job->map;
    if (sums->lines && sums->w) look(sums, box);
    if (map->columns == 1)
        widen(sums, box);
    else
        sums->map.lines = map->lines + cdl_box_offset(map, box);
    for (size_t i = 0; i < sums->n; i++) {
        const struct cdl_block block = cdl_block_at(sums->job->w, sums->first + i);
        if (sums->w) add_block(sums, box, block, sums->g + i * BLOCK_FLOATS);
        if (sums->bias && block.row == 0 && !sums->ones)
            add_sums(sums, box, block, sums->by_column + i * CDL_PANEL);
    }
}

/* Clears pads of the gradient: those of a map that is a value hold any numbers. */
static void clear_pads(const struct cdl_convolution *job, struct cdl_block block, float *g) {
    const size_t left = job->map.columns - block.column;
    for (size_t r = 0; r < block.rows; r++) {
        for (size_t j = left; j < block.width; j++) g[r * block.width + j] = 0.0f;
    }
}

size_t cdl_pairs_floats(const struct cdl_convolution *job) {
    return (BLOCKS + 1) * BLOCK_FLOATS + BLOCKS * CDL_PANEL + CDL_BOX_PLACES * CDL_LINE +
           cdl_unrolled_floats(job);
}

void cdl_learn_pairs(const struct cdl_convolution *job, const struct cdl_context *ctx,
                     size_t samples, const struct cdl_sink *to, struct cdl_trained *w,
                     struct cdl_trained *bias) {
    struct cdl_offsets offsets;
    offsets.span = 0;
    struct pair_sums sums = {.job = job,
                             .kernels = ctx->kernels,
                             .samples = samples,
                             .offsets = &offsets,
                             .w = w != NULL,
                             .bias = bias != NULL,
                             .map = job->map};
    sums.g = ctx->scratch;
    sums.by_column = sums.g + BLOCKS * BLOCK_FLOATS;
    sums.block = sums.by_column + BLOCKS * CDL_PANEL;
    sums.wide = sums.block + BLOCK_FLOATS;
    if (cdl_unrolls(job)) {
        sums.lines = sums.wide + CDL_BOX_PLACES * CDL_LINE;
        sums.ones = w && bias && job->w->rows < CDL_CHUNK && job->w->cols > 1;
        if (sums.ones) write_ones(sums.lines + job->w->rows * CDL_UNROLLED_LINE, CDL_BOX_PLACES);
    }
    if (job->map.columns == 1) memset(sums.wide, 0, CDL_BOX_PLACES * CDL_LINE * sizeof(float));
    const struct cdl_range own = cdl_own(ctx, cdl_blocks(job->w));
    for (sums.first = own.first; sums.first < own.last; sums.first += sums.n) {
        sums.n = cdl_min(own.last - sums.first, ctx->kernels->blocking->pair_blocks);
        for (size_t i = 0; i < sums.n; i++) {
            const struct cdl_block block = cdl_block_at(job->w, sums.first + i);
            memset(sums.g + i * BLOCK_FLOATS, 0,
                   (block.rows + sums.ones) * block.width * sizeof(float));
        }
        memset(sums.by_column, 0, sums.n * CDL_PANEL * sizeof(float));
        cdl_each_box(job->window, ctx, samples, NULL, add_box, &sums);
        if (cdl_stopped(ctx)) return;
        for (size_t i = 0; i < sums.n; i++) {
            const struct cdl_block block = cdl_block_at(job->w, sums.first + i);
            if (bias && block.row == 0) {
                const struct cdl_block part = {
                    .column = block.column, .rows = 1, .width = block.width};
                float *behind = sums.g + i * BLOCK_FLOATS + block.rows * block.width;
                cdl_learn(bias, ctx, to, part, sums.ones ? behind : sums.by_column + i * CDL_PANEL);
            }
            if (!w) continue;
            clear_pads(job, block, sums.g + i * BLOCK_FLOATS);
            cdl_learn(w, ctx, to, block, sums.g + i * BLOCK_FLOATS);
        }
    }
}

void cdl_learn_columns(struct cdl_trained *row, const struct cdl_context *ctx, size_t samples,
                       const struct cdl_sink *to, const struct cdl_field *field) {
    if (!row) return;
    const size_t lines = samples * (field->sample / field->ld);
    const struct cdl_range own = cdl_own(ctx, cdl_blocks(row->param));
    float *g = ctx->scratch;
    for (size_t i = own.first; i < own.last; i++) {
        const struct cdl_block block = cdl_block_at(row->param, i);
        memset(g, 0, block.width * sizeof(float));
        for (size_t line = 0, n; line < lines; line += n) {
            float part[CDL_PANEL];
            n = cdl_min(lines - line, CDL_BOX_PLACES);
            ctx->kernels->column_sums(
                n, block.width, field->lines + line * field->ld + block.column, field->ld, part);
            for (size_t j = 0; j < block.width; j++) g[j] += part[j];
        }
        cdl_learn(row, ctx, to, block, g);
    }
}
