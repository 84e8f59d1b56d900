/* recurrent_update.c - what a recurrent node's weights learn from: [x h]^T dz, by rows of the
 * kernels, summed over all steps of all samples.
 */
#if !defined(__clang__) /* as in gates.c */
#pragma GCC optimize("Os")
#endif
#include <string.h>

#include "ops/recurrent.h"

enum { KERNEL, RECURRENT_KERNEL, BIAS }; /* params */
enum { U = 3 * CDL_LINE };               /* the last lane of a GRU */

/* Steps times samples whose products are summed from zero and added to the gradient, so that its
 * error does not grow with the length; dz of a panel stays in L1 meanwhile. And floats of gradients
 * that go through all steps together: half of a common L2. */
enum { TOGETHER = 128, SUM_FLOATS = 128 * 1024 };

/* CDL_CHUNK rows of a kernel at most: its rows from `row` on, which lie at `above` more of xh. */
struct part {
    size_t row, rows, above;
    bool recurrent;
};

static struct part part_at(const struct cdl_gates *gates, size_t i) {
    const size_t parts = (gates->inputs + CDL_CHUNK - 1) / CDL_CHUNK;
    const bool recurrent = i >= parts;
    const size_t row = (recurrent ? i - parts : i) * CDL_CHUNK;
    const size_t rows = recurrent ? gates->units : gates->inputs;
    return (struct part){row, cdl_min(rows - row, CDL_CHUNK), recurrent ? gates->inputs : 0,
                         recurrent};
}

static size_t parts_of(const struct cdl_gates *gates) {
    return (gates->inputs + CDL_CHUNK - 1) / CDL_CHUNK + (gates->units + CDL_CHUNK - 1) / CDL_CHUNK;
}

static size_t parts_together(const struct cdl_gates *gates) {
    return cdl_max(1, SUM_FLOATS / (CDL_CHUNK * gates->columns));
}

/* Of bfloat16, lines of a slice: an even number for each step; and from a row of them to the next.
 */
enum { MOST_LINES = 2 * TOGETHER, LINES = MOST_LINES + CDL_BF16_LINE };

/* What gates see; or the parts of a slice as rows of lines, behind a panel of dz in pairs. */
static size_t room_floats(const struct cdl_steps *s) {
    const size_t parts = cdl_min(parts_of(&s->gates), parts_together(&s->gates));
    if (s->low) return MOST_LINES / 2 * CDL_PANEL + parts * CDL_CHUNK * LINES / 2;
    return cdl_drops(s) ? TOGETHER * s->ld : 0;
}

size_t cdl_recurrent_update_floats(const struct cdl_steps *s) {
    const size_t parts = cdl_min(parts_of(&s->gates), parts_together(&s->gates));
    return CDL_THREAD_SCRATCH + (parts * CDL_CHUNK + 1) * s->gates.columns + room_floats(s);
}

/* Steps [t, t + n) of samples [row, row + rows): what meets dz, lines `ld` apart, and floats from a
 * step to the next; and from this slice's xh to the next one's, or 0. Products read a few floats of
 * each line, which no machine foresees: lines that they do not prefetch took a tenth of a step. */
struct slice {
    size_t t, n, row, rows;
    const float *seen;
    size_t ld, ahead;
    ptrdiff_t next;
};

static size_t dz_ahead(const struct cdl_steps *s) { return s->panels * s->rows * CDL_PANEL; }

/* g += what `rows` columns of what is seen, from `column` on, and `width` of dz give. */
static void add_pairs(const struct cdl_steps *s, const struct cdl_kernels *kernels,
                      const struct slice *slice, size_t column, size_t rows, const float *dz,
                      size_t ldz, size_t width, float *g) {
    const bool first = dz == cdl_z_at(s, slice->t, 0, slice->row) && !cdl_drops(s);
    const struct cdl_taps taps = {.ahead = first ? slice->next : 0,
                                  .n = {slice->n, 1, 1},
                                  .a = {(ptrdiff_t)slice->ahead},
                                  .b = {(ptrdiff_t)dz_ahead(s)},
                                  .k = slice->rows};
    kernels->gemm_pairs(rows, width, &taps, slice->seen + column, 1, slice->ld, dz, ldz, g, ldz);
}

/* Parts [first, last), for the lanes that see the same: all that have weights, or one. */
static void add_lanes(const struct cdl_steps *s, const struct cdl_kernels *kernels,
                      const struct slice *slice, size_t first, size_t last, size_t lane,
                      float *sums) {
    for (size_t p = 0; p < s->panels; p++) {
        const size_t all = cdl_gate_width(s, p), column = p * CDL_PANEL;
        const float *dz = cdl_z_at(s, slice->t, p, slice->row);
        for (size_t i = first; i < last; i++) {
            const struct part part = part_at(&s->gates, i);
            struct cdl_lanes lanes = cdl_lanes_of(s->gates.cell, part.recurrent);
            if (cdl_drops(s)) lanes = (struct cdl_lanes){lane, 1};
            const size_t at = lanes.first * CDL_LINE;
            const size_t width = cdl_lanes(s) == 1 ? all : lanes.n * CDL_LINE;
            float *g = sums + (i - first) * CDL_CHUNK * s->gates.columns + column * part.rows;
            add_pairs(s, kernels, slice, part.above + part.row, part.rows, dz + at, all, width,
                      g + at);
        }
    }
}

/* `n` columns of a slice's lines, `from` the first step's, in pairs; 0 up to a whole line. */
static size_t pair_lines(const struct cdl_kernels *kernels, const struct slice *slice, size_t n,
                         const float *from, size_t ld, size_t ahead, float *to, size_t step) {
    uint32_t *pairs = (uint32_t *)(void *)to;
    const size_t each = (slice->rows + 1) / 2, full = slice->n * each;
    const size_t all = cdl_bf16_padded(2 * full) / 2;
    for (size_t u = 0; u < slice->n; u++)
        kernels->bf16_pack(slice->rows, cdl_round_up(n, CDL_LINE), from + u * ahead, ld,
                           pairs + u * each * step, step);
    memset(pairs + full * step, 0, (all - full) * step * sizeof *pairs);
    return all;
}

/* Parts [first, last), of bfloat16. Lanes that have no weights get sums that nobody reads. */
static void add_low(const struct cdl_steps *s, const struct cdl_kernels *kernels,
                    const struct slice *slice, size_t first, size_t last, float *sums,
                    float *room) {
    float *dz = room, *turned = room + MOST_LINES / 2 * CDL_PANEL;
    size_t half = 0; /* pairs of lines */
    for (size_t i = first; i < last; i++) {
        const struct part part = part_at(&s->gates, i);
        half = pair_lines(kernels, slice, part.rows, slice->seen + part.above + part.row, slice->ld,
                          slice->ahead, dz, CDL_PANEL);
        kernels->transpose(half, part.rows, dz, CDL_PANEL,
                           turned + (i - first) * CDL_CHUNK * LINES / 2, LINES / 2);
    }
    for (size_t p = 0; p < s->panels; p++) {
        const size_t all = cdl_gate_width(s, p), column = p * CDL_PANEL;
        const float *z = cdl_z_at(s, slice->t, p, slice->row);
        for (size_t j = 0; j < all; j += CDL_BF16_LINE)
            pair_lines(kernels, slice, cdl_min(all - j, CDL_BF16_LINE), z + j, all, dz_ahead(s),
                       dz + j * half, CDL_BF16_LINE);
        for (size_t i = first; i < last; i++) {
            const struct part part = part_at(&s->gates, i);
            float *g = sums + (i - first) * CDL_CHUNK * s->gates.columns + column * part.rows;
            kernels->gemm_bf16(
                part.rows, all, 2 * half, cdl_bf16(turned + (i - first) * CDL_CHUNK * LINES / 2),
                LINES, (const uint32_t *)(const void *)dz, half * CDL_BF16_LINE, g, all, g, all);
        }
    }
}

/* Of a cell that resets first, n's recurrent kernel, which has met r h. */
static void add_reset(const struct cdl_steps *s, const struct cdl_kernels *kernels,
                      struct slice slice, size_t first, size_t last, float *sums) {
    slice.seen = cdl_c_at(s, slice.t, slice.row);
    slice.ld = s->gates.lines;
    slice.ahead = s->rows * s->gates.lines;
    for (size_t i = first; i < last; i++) {
        const struct part part = part_at(&s->gates, i);
        for (size_t p = 0; p < s->panels && part.recurrent; p++) {
            float *g = sums + (i - first) * CDL_CHUNK * s->gates.columns;
            add_pairs(s, kernels, &slice, part.row, part.rows, cdl_z_at(s, slice.t, p, slice.row),
                      CDL_PANEL, CDL_LINE, g + p * CDL_PANEL * part.rows + U);
        }
    }
}

static void add_bias(const struct cdl_steps *s, const struct cdl_kernels *kernels,
                     const struct slice *slice, float *bias) {
    for (size_t p = 0; p < s->panels; p++) {
        const size_t width = cdl_gate_width(s, p);
        for (size_t u = 0; u < slice->n; u++) {
            float part[CDL_PANEL];
            kernels->column_sums(slice->rows, width, cdl_z_at(s, slice->t + u, p, slice->row),
                                 width, part);
            for (size_t j = 0; j < width; j++) bias[p * CDL_PANEL + j] += part[j];
        }
    }
}

/* Adds what a slice gives to some parts, and to the bias; `room`: for what gates see. */
static void add_slice(const struct cdl_steps *s, const struct cdl_kernels *kernels,
                      struct slice slice, size_t first, size_t last, float *sums, float *bias,
                      float *room) {
    slice.seen = cdl_xh_at(s, slice.t, slice.row);
    slice.ld = s->ld;
    slice.ahead = s->rows * s->ld;
    if (s->low)
        add_low(s, kernels, &slice, first, last, sums, room);
    else if (!cdl_drops(s))
        add_lanes(s, kernels, &slice, first, last, 0, sums);
    for (size_t lane = 0; lane < cdl_lanes(s) && cdl_drops(s); lane++) {
        for (size_t u = 0; u < slice.n; u++)
            cdl_drop(s, cdl_gate_of(s->gates.cell, lane), cdl_xh_at(s, slice.t + u, slice.row),
                     slice.row, slice.rows, room + u * slice.rows * s->ld);
        slice.seen = room;
        slice.ahead = slice.rows * s->ld;
        add_lanes(s, kernels, &slice, first, last, lane, sums);
    }
    if (s->gates.cell == CDL_CELL_RESET_FIRST) add_reset(s, kernels, slice, first, last, sums);
    if (bias) add_bias(s, kernels, &slice, bias);
}

/* Their sums over all steps of all samples. */
static void sum_parts(const struct cdl_steps *s, const struct cdl_context *ctx,
                      struct cdl_rows samples, size_t first, size_t last, float *sums, float *bias,
                      float *room) {
    const size_t columns = s->gates.columns;
    memset(sums, 0, (last - first) * CDL_CHUNK * columns * sizeof(float));
    if (bias) memset(bias, 0, columns * sizeof(float));
    const size_t begin = samples.first, end = begin + samples.n;
    const size_t each = cdl_max(1, TOGETHER / samples.n);
    for (size_t t = 0, n; t < s->steps; t += n) {
        if (cdl_stopped(ctx)) return;
        n = cdl_min(s->steps - t, each);
        for (size_t row = begin, rows; row < end; row += rows) {
            rows = cdl_min(end - row, TOGETHER);
            struct slice slice = {.t = t, .n = n, .row = row, .rows = rows};
            const bool ends = row + rows == end;
            if (!ends || t + n < s->steps)
                slice.next = cdl_xh_at(s, ends ? t + n : t, ends ? begin : row + rows) -
                             cdl_xh_at(s, t, row);
            add_slice(s, ctx->kernels, slice, first, last, sums, bias, room);
        }
    }
}

static void learn_part(const struct cdl_steps *s, const struct cdl_context *ctx,
                       const struct cdl_sink *to, struct part part, const float *sums) {
    struct cdl_trained *trained = s->node->trained[part.recurrent ? RECURRENT_KERNEL : KERNEL];
    for (size_t column = 0; column < trained->param->cols; column += CDL_PANEL) {
        const struct cdl_block block = {.column = column,
                                        .row = part.row,
                                        .rows = part.rows,
                                        .width = cdl_panel_width(trained->param->cols, column)};
        cdl_unpack_block(&s->gates, part.recurrent, sums, block, ctx->scratch);
        cdl_learn(trained, ctx, to, block, ctx->scratch);
    }
}

static void learn_bias(const struct cdl_steps *s, const struct cdl_context *ctx,
                       const struct cdl_sink *to, const float *sums) {
    struct cdl_trained *trained = s->node->trained[BIAS];
    for (size_t i = 0; i < cdl_blocks(trained->param); i++) {
        const struct cdl_block block = cdl_block_at(trained->param, i);
        cdl_unpack_bias(&s->gates, sums, block, ctx->scratch);
        cdl_learn(trained, ctx, to, block, ctx->scratch);
    }
}

void cdl_recurrent_update(const struct cdl_node *node, const struct cdl_context *ctx,
                          struct cdl_rows rows, const struct cdl_sink *to) {
    const struct cdl_steps s = cdl_steps_of(node, ctx->rows, NULL);
    const struct cdl_gates *gates = &s.gates;
    const struct cdl_range own = cdl_own(ctx, parts_of(gates));
    float *sum = ctx->scratch + CDL_THREAD_SCRATCH, *room = sum + gates->columns;
    float *sums = room + room_floats(&s);
    for (size_t i = own.first, last; i < own.end; i = last) {
        last = cdl_min(own.end, i + parts_together(gates));
        float *bias = i == 0 && node->trained[BIAS] ? sum : NULL;
        sum_parts(&s, ctx, rows, i, last, sums, bias, room);
        if (cdl_stopped(ctx)) return;
        if (bias) learn_bias(&s, ctx, to, bias);
        for (size_t k = i; k < last; k++) {
            const struct part part = part_at(gates, k);
            if (node->trained[part.recurrent ? RECURRENT_KERNEL : KERNEL])
                learn_part(&s, ctx, to, part, sums + (k - i) * CDL_CHUNK * gates->columns);
        }
    }
}
