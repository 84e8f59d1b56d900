/* recurrent_update.c - the gradient of a recurrent node's weights: [x h]^T dz, summed over all
 * steps of all samples.
 */
#include "ops/recurrent.h"

enum { KERNEL, RECURRENT_KERNEL, BIAS }; /* params */

/* Steps times samples whose products are summed from zero and added to the gradient, so that its
 * error does not grow with the length; dz of a panel stays in L1 meanwhile. And floats of gradients
 * that go through all steps together: half of a common L2. */
enum { TOGETHER = 128, SUM_FLOATS = 128 * 1024 };

/* Rows [first, end) of both kernels' gradient and, if it is wanted, the bias's. A part is CDL_CHUNK
 * rows of one kernel at most; sums of it are panels of its rows. */
struct kernel_parts {
    size_t first, end; /* numbers of parts */
    bool bias;
};

struct kernel_part {
    size_t row, rows, above; /* above: rows of xh before the kernel's */
    bool recurrent;
};

static size_t chunks_of(size_t rows) { return (rows + CDL_CHUNK - 1) / CDL_CHUNK; }

static struct kernel_part part_at(const struct cdl_gates *gates, size_t i) {
    const size_t parts = chunks_of(gates->inputs);
    const bool recurrent = i >= parts;
    const size_t row = (recurrent ? i - parts : i) * CDL_CHUNK;
    const size_t rows = recurrent ? gates->units : gates->inputs;
    return (struct kernel_part){row, cdl_min(rows - row, CDL_CHUNK), recurrent ? gates->inputs : 0,
                                recurrent};
}

static size_t parts_of(const struct cdl_gates *gates) {
    return chunks_of(gates->inputs) + chunks_of(gates->units);
}

/* Offset of a part in sums of all of them; behind the last, that of the bias. */
static size_t offset_of(const struct cdl_gates *gates, size_t i) {
    const struct kernel_part part = part_at(gates, i);
    return i < parts_of(gates) ? (part.above + part.row) * gates->columns
                               : gates->rows * gates->columns;
}

/* Offset of a part in sums of some parts. */
static size_t offset_among(const struct cdl_gates *gates, const struct kernel_parts *parts,
                           size_t i) {
    return offset_of(gates, i) - offset_of(gates, parts->first);
}

static size_t parts_together(const struct cdl_gates *gates) {
    const size_t most = SUM_FLOATS / (CDL_CHUNK * gates->columns);
    return cdl_min(cdl_max(most, 1), parts_of(gates));
}

/* Floats of sums of that many parts and of the bias. */
static size_t sum_floats(const struct cdl_gates *gates) {
    return (parts_together(gates) * CDL_CHUNK + 1) * gates->columns;
}

/* Lines of a slice in bfloat16, an even number for each step; and the stride of rows of them. */
enum { MOST_LINES = 2 * TOGETHER, LINES = MOST_LINES + CDL_BF16_LINE };

/* [x h] as gates see it; or parts of a slice as rows of lines, behind a panel of dz in pairs. */
static size_t room_floats(const struct cdl_steps *s) {
    if (s->low)
        return MOST_LINES / 2 * CDL_PANEL + parts_together(&s->gates) * CDL_CHUNK * LINES / 2;
    return cdl_drops(s) ? TOGETHER * s->ld : 0;
}

size_t cdl_recurrent_update_floats(const struct cdl_steps *s) {
    return CDL_THREAD_SCRATCH + 2 * sum_floats(&s->gates) + room_floats(s);
}

/* ---- sums of a slice ------------------------------------------------------------------------- */

/* Steps [t, t + n) of samples [row, row + rows): lines that meet dz, `ld` apart, and floats from a
 * step to the next; and from this slice's xh to that of the next sum, or 0. Products read a few
 * floats of each line, which no machine foresees: lines that they do not prefetch took a tenth of a
 * step. */
struct step_slice {
    const struct cdl_steps *s;
    const struct cdl_context *ctx;
    size_t t, n, row, rows;
    const float *seen;
    size_t ld, ahead;
    ptrdiff_t next;
    float *room;
};

/* g += the product of `rows` columns of what is seen, from `column` on, and some lanes of a panel
 * of dz; g: the panel's, from lane `to` on. */
static void add_pairs(const struct step_slice *slice, struct kernel_part part, size_t panel,
                      struct cdl_lanes lanes, size_t to, float *g) {
    const struct cdl_steps *s = slice->s;
    const size_t all = cdl_gate_width(&s->gates, panel);
    const float *dz = cdl_z_at(s, slice->t, panel, slice->row) + lanes.first * CDL_LINE;
    const bool first = panel == 0;
    const bool full = slice->rows == s->rows; /* lines of all steps are as far apart */
    const struct cdl_taps taps = {.ahead = first ? slice->next : 0,
                                  .n = {full ? 1 : slice->n, 1, 1},
                                  .a = {(ptrdiff_t)slice->ahead},
                                  .b = {(ptrdiff_t)(s->rows * all)},
                                  .k = full ? slice->n * slice->rows : slice->rows};
    struct cdl_product p = {.m = part.rows, .transposed = true, .b = {dz, all}, .taps = &taps};
    p.n = lanes.n * cdl_lane_width(s, panel);
    p.a = (struct cdl_matrix){slice->seen + part.above + part.row, slice->ld};
    p.c = (struct cdl_output){g + panel * CDL_PANEL * part.rows + to * CDL_LINE, all};
    p.init = (struct cdl_matrix){p.c.at, all};
    slice->ctx->kernels->gemm_pairs(&p);
}

/* For the lanes that see the same: all that have weights, or (n: 1) one. */
static void add_lanes(const struct step_slice *slice, const struct kernel_parts *parts,
                      struct cdl_lanes some, float *sums) {
    const struct cdl_gates *gates = &slice->s->gates;
    for (size_t p = 0; p < gates->panels; p++) {
        for (size_t i = parts->first; i < parts->end; i++) {
            const struct kernel_part part = part_at(gates, i);
            const struct cdl_lanes all =
                part.recurrent ? cdl_lanes_of_h(gates->cell) : gates->cell->of_x;
            const struct cdl_lanes lanes = some.n ? some : all;
            add_pairs(slice, part, p, lanes, lanes.first, sums + offset_among(gates, parts, i));
        }
    }
}

/* Gates that see [x h] each in its own way. */
static void add_dropped(struct step_slice slice, const struct kernel_parts *parts, float *sums) {
    const struct cdl_steps *s = slice.s;
    struct cdl_time_step g = {s, slice.ctx, slice.row, slice.row, slice.rows, slice.t, NULL};
    slice.seen = slice.room;
    slice.ahead = slice.rows * s->ld;
    slice.next = 0;
    for (size_t lane = 0; lane < s->gates.cell->lanes; lane++) {
        for (size_t u = 0; u < slice.n; u++) {
            g.t = slice.t + u;
            cdl_drop(&g, s->gates.cell->gate[lane], slice.room + u * slice.ahead);
        }
        add_lanes(&slice, parts, (struct cdl_lanes){lane, 1}, sums);
    }
}

/* `n` columns of a slice's lines, `from` the first step's, `ahead` from step to step, in pairs,
 * `step` apart; 0 up to a whole line. */
static size_t pair_lines(const struct step_slice *slice, size_t n, const float *from, size_t ld,
                         size_t ahead, float *to, size_t step) {
    uint32_t *pairs = (uint32_t *)(void *)to;
    const size_t each = (slice->rows + 1) / 2, full = slice->n * each;
    const size_t all = cdl_bf16_padded(2 * full) / 2;
    for (size_t u = 0; u < slice->n; u++)
        slice->ctx->kernels->bf16_pack(slice->rows, cdl_round_up(n, CDL_LINE), from + u * ahead, ld,
                                       pairs + u * each * step, step);
    memset(pairs + full * step, 0, (all - full) * step * sizeof *pairs);
    return all;
}

/* Adds a slice in bfloat16. Lanes without weights get sums that are never read. */
static void add_low(const struct step_slice *slice, const struct kernel_parts *parts, float *sums) {
    const struct cdl_steps *s = slice->s;
    const struct cdl_gates *gates = &s->gates;
    const struct cdl_kernels *kernels = slice->ctx->kernels;
    float *dz = slice->room, *transposed = dz + MOST_LINES / 2 * CDL_PANEL;
    size_t half = 0; /* pairs of lines */
    for (size_t i = parts->first; i < parts->end; i++) {
        const struct kernel_part part = part_at(gates, i);
        half = pair_lines(slice, part.rows, slice->seen + part.above + part.row, slice->ld,
                          slice->ahead, dz, CDL_PANEL);
        kernels->transpose(half, part.rows, dz, CDL_PANEL,
                           transposed + (i - parts->first) * CDL_CHUNK * LINES / 2, LINES / 2);
    }
    for (size_t p = 0; p < gates->panels; p++) {
        const size_t all = cdl_gate_width(gates, p), column = p * CDL_PANEL;
        const float *z = cdl_z_at(s, slice->t, p, slice->row);
        for (size_t j = 0; j < all; j += CDL_BF16_LINE)
            pair_lines(slice, cdl_min(all - j, CDL_BF16_LINE), z + j, all, s->rows * all,
                       dz + j * half, CDL_BF16_LINE);
        for (size_t i = parts->first; i < parts->end; i++) {
            const size_t rows = part_at(gates, i).rows, at = i - parts->first;
            float *g = sums + offset_among(gates, parts, i) + column * rows;
            struct cdl_bf16_gemm product = {.m = rows, .n = all, .k = 2 * half, .lda = LINES};
            product.a = cdl_bf16(transposed + at * CDL_CHUNK * LINES / 2);
            product.b = (const uint32_t *)(const void *)dz, product.step = half * CDL_BF16_LINE;
            product.init = (struct cdl_matrix){g, all}, product.c = (struct cdl_output){g, all};
            kernels->gemm_bf16(&product);
        }
    }
}

/* Adds the gradient of the last lane's recurrent weights, which multiply r h in the argument of n,
 * for a cell that resets before its product. */
static void add_reset(struct step_slice slice, const struct kernel_parts *parts, float *sums) {
    const struct cdl_steps *s = slice.s;
    slice.seen = cdl_c_at(s, slice.t, slice.row);
    slice.ld = s->gates.lines;
    slice.ahead = s->rows * s->gates.lines;
    slice.next = 0;
    for (size_t i = parts->first; i < parts->end; i++) {
        struct kernel_part part = part_at(&s->gates, i);
        float *g = sums + offset_among(&s->gates, parts, i);
        part.above = 0;
        for (size_t p = 0; p < s->gates.panels && part.recurrent; p++)
            add_pairs(&slice, part, p, (struct cdl_lanes){0, 1}, s->gates.cell->lanes - 1, g);
    }
}

static void add_bias(const struct step_slice *slice, float *bias) {
    const struct cdl_steps *s = slice->s;
    for (size_t p = 0; p < s->gates.panels; p++) {
        const size_t width = cdl_gate_width(&s->gates, p);
        for (size_t u = 0; u < slice->n; u++) {
            float part[CDL_PANEL];
            slice->ctx->kernels->column_sums(slice->rows, width,
                                             cdl_z_at(s, slice->t + u, p, slice->row), width, part);
            for (size_t j = 0; j < width; j++) bias[p * CDL_PANEL + j] += part[j];
        }
    }
}

/* Adds a slice to the sums of some parts, behind which those of the bias are. */
static void add_slice(struct step_slice slice, const struct kernel_parts *parts, float *sums) {
    const struct cdl_steps *s = slice.s;
    const size_t end = offset_among(&s->gates, parts, parts->end);
    slice.seen = cdl_xh_at(s, slice.t, slice.row);
    slice.ld = s->ld;
    slice.ahead = s->rows * s->ld;
    if (s->low)
        add_low(&slice, parts, sums);
    else if (cdl_drops(s))
        add_dropped(slice, parts, sums);
    else
        add_lanes(&slice, parts, (struct cdl_lanes){0, 0}, sums);
    if (s->gates.cell->reset) add_reset(slice, parts, sums);
    if (parts->bias) add_bias(&slice, sums + end);
}

/* ---- sums of a block, and their slots -------------------------------------------------------- */

/* A slot is a line that tells whether there are sums in it, and the sums of all parts. */
size_t cdl_slot_floats(const struct cdl_steps *s, size_t kept) {
    const size_t weights = s->gates.rows * s->gates.columns;
    if (parts_together(&s->gates) < parts_of(&s->gates) || weights > kept) return 0;
    return CDL_LINE + weights + s->gates.columns;
}

static float *slot_at(const struct cdl_steps *s, struct cdl_row_block block) {
    return s->node->scratch + s->at.slots + block.number * s->at.slot;
}

size_t cdl_slot_room(const struct cdl_steps *s) { return s->at.slot ? room_floats(s) : 0; }

/* Slice of a block that ends before step `end`. */
static struct step_slice slice_at(const struct cdl_time_step *g, struct cdl_row_block block,
                                  size_t end) {
    const size_t n = cdl_min(TOGETHER / block.rows, end);
    struct step_slice slice = {g->s, g->ctx, end - n, n, block.first, block.rows,
                               NULL, 0,      0,       0, g->room};
    if (end > n)
        slice.next = -(ptrdiff_t)(cdl_min(TOGETHER / block.rows, end - n) * g->s->rows * g->s->ld);
    return slice;
}

static struct kernel_parts all_parts(const struct cdl_steps *s) {
    return (struct kernel_parts){0, parts_of(&s->gates), s->node->trained[BIAS] != NULL};
}

/* Blocks of which a group has all samples, and others. */
void cdl_begin_slots(const struct cdl_time_step *g) {
    const size_t end = g->row + g->m, first = cdl_round_up(g->row, CDL_ROW_BLOCK);
    if (!g->s->at.slot) return;
    CDL_EACH_BLOCK(block, first, g->ctx->rows) {
        if (block.first >= end) break;
        float *slot = slot_at(g->s, block);
        memset(slot, 0, g->s->at.slot * sizeof(float));
        slot[0] = block.last <= end ? 1.0f : 0.0f;
    }
}

void cdl_add_to_slots(const struct cdl_time_step *g) {
    const struct cdl_steps *s = g->s;
    const size_t end = g->row + g->m, first = cdl_round_up(g->row, CDL_ROW_BLOCK);
    const struct kernel_parts all = all_parts(s);
    if (!s->at.slot) return;
    CDL_EACH_BLOCK(block, first, g->ctx->rows) {
        const size_t n = TOGETHER / block.rows, done = s->steps - g->t;
        if (block.last > end) break;
        if (done % n && g->t) continue;
        add_slice(slice_at(g, block, g->t + (done - 1) % n + 1), &all,
                  slot_at(s, block) + CDL_LINE);
    }
}

/* ---- update ---------------------------------------------------------------------------------- */

/* Sums of a block, from its slot or made here in `sums`. */
static const float *sums_of(const struct cdl_time_step *g, struct cdl_row_block block,
                            const struct kernel_parts *parts, float *sums) {
    const struct cdl_steps *s = g->s;
    const struct cdl_gates *gates = &s->gates;
    const size_t floats = offset_among(gates, parts, parts->end);
    if (s->at.slot && slot_at(s, block)[0] != 0.0f) return slot_at(s, block) + CDL_LINE;
    memset(sums, 0, (floats + gates->columns) * sizeof(float));
    for (size_t end = s->steps, n; end > 0; end -= n) {
        const struct step_slice slice = slice_at(g, block, end);
        if (cdl_stopped(g->ctx)) break;
        add_slice(slice, parts, sums);
        n = slice.n;
    }
    return sums;
}

static void learn_part(const struct cdl_time_step *g, const struct cdl_sink *to,
                       struct kernel_part part, const float *sums) {
    struct cdl_trained *trained = g->s->node->trained[part.recurrent ? RECURRENT_KERNEL : KERNEL];
    float *block_sums = g->ctx->scratch;
    for (size_t column = 0; trained && column < trained->param->cols; column += CDL_PANEL) {
        const struct cdl_block block = {.column = column,
                                        .row = part.row,
                                        .rows = part.rows,
                                        .width = cdl_panel_width(trained->param->cols, column)};
        cdl_unpack_block(&g->s->gates, part.recurrent, sums, block, block_sums);
        cdl_learn(trained, g->ctx, to, block, block_sums);
    }
}

static void learn_bias(const struct cdl_time_step *g, const struct cdl_sink *to,
                       const float *sums) {
    struct cdl_trained *trained = g->s->node->trained[BIAS];
    for (size_t i = 0; i < cdl_blocks(trained->param); i++) {
        const struct cdl_block block = cdl_block_at(trained->param, i);
        cdl_unpack_bias(&g->s->gates, sums, block, g->ctx->scratch);
        cdl_learn(trained, g->ctx, to, block, g->ctx->scratch);
    }
}

void cdl_recurrent_update(CDL_UPDATE) {
    const struct cdl_steps s = cdl_steps_of(node, ctx->rows, NULL);
    const struct cdl_gates *gates = &s.gates;
    const struct cdl_range own = cdl_own(ctx, parts_of(gates));
    float *sum = ctx->scratch + CDL_THREAD_SCRATCH, *sums = sum + sum_floats(gates);
    const struct cdl_time_step g = {.s = &s, .ctx = ctx, .room = sums + sum_floats(gates)};
    struct kernel_parts parts = {.first = own.first};
    for (; parts.first < own.last; parts.first = parts.end) {
        parts.end = cdl_min(own.last, parts.first + parts_together(gates));
        parts.bias = parts.first == 0 && node->trained[BIAS];
        const size_t from = offset_of(gates, parts.first);
        const size_t floats = offset_of(gates, parts.end) - from;
        memset(sum, 0, (floats + gates->columns) * sizeof(float));
        CDL_EACH_BLOCK(block, rows.first, rows.first + rows.n) {
            const float *one = sums_of(&g, block, &parts, sums);
            const bool slot = one != sums;
            ctx->kernels->add(floats, one + (slot ? from : 0), sum);
            if (parts.bias)
                ctx->kernels->add(gates->columns,
                                  one + (slot ? gates->rows * gates->columns : floats),
                                  sum + floats);
        }
        if (cdl_stopped(ctx)) return;
        if (parts.bias) learn_bias(&g, to, sum + floats);
        for (size_t i = parts.first; i < parts.end; i++)
            learn_part(&g, to, part_at(gates, i), sum + offset_of(gates, i) - from);
    }
}
