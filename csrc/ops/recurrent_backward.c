/* recurrent_backward.c - a recurrent node's way back through time. */
#include "ops/recurrent.h"

/* Gradients on the way back of a group. d: lines of that of h, and behind it that of x if it is
 * wanted; dc that of c; held: of both, what masked samples had. */
struct back {
    size_t columns, ld; /* of d */
    float *d, *dc, *held, *cells;
    float *of_gate; /* lines as those of d: the gradients by one gate */
    float *z;       /* gates of a step, where products are of bfloat16 */
};

/* A thread's memory, from `room` on. */
static size_t room_floats(const struct cdl_steps *s) {
    const size_t low = s->low ? cdl_bf16_stride(s->gates.columns) / 2 : 0;
    return CDL_STEP_SAMPLES * (2 * cdl_stride(s->at.transposed_columns) + 3 * s->gates.lines +
                               CDL_PANEL + 2 * CDL_LINE + low);
}

static void lay_out(const struct cdl_steps *s, float *room, struct back *b) {
    const size_t m = CDL_STEP_SAMPLES, lines = s->gates.lines;
    b->columns = s->at.transposed_columns;
    b->ld = cdl_stride(b->columns);
    b->d = room;
    b->dc = b->d + m * b->ld;
    b->held = b->dc + m * lines;
    b->cells = b->held + m * 2 * lines;
    b->of_gate = b->cells + m * (CDL_PANEL + 2 * CDL_LINE);
    b->z = b->of_gate + m * b->ld;
}

size_t cdl_recurrent_backward_floats(const struct cdl_steps *s) {
    return room_floats(s) + cdl_slot_room(s);
}

/* A panel's step of a block of the group, on its way back. */
static struct cdl_cell_step step_of(const struct cdl_time_step *g,
                                    const struct cdl_time_step *block, const struct back *b,
                                    size_t panel) {
    struct cdl_cell_step step = cdl_cell_step_of(block, panel, b->cells);
    const size_t at = block->first - g->first, unit = cdl_unit_at(g->s, panel);
    step.dh = b->d + at * b->ld + unit;
    step.ldd = b->ld;
    step.dc = b->dc + at * g->s->gates.lines + unit;
    return step;
}

/* Masked samples: their gates got nothing, and what came goes on. It is saved before the step,
 * whose gates and gradient of c are cleared before its product, and that of h behind it. */
enum held { SAVE, CLEAR, RESTORE };

static void hold(const struct cdl_time_step *g, const struct back *b, enum held part) {
    const struct cdl_steps *s = g->s;
    const size_t lines = s->gates.lines, bytes = lines * sizeof(float);
    for (size_t i = 0; i < g->m && s->mask; i++) {
        if (!cdl_is_masked(s, g->t, g->first + i)) continue;
        float *d = b->d + i * b->ld, *dc = b->dc + i * lines, *held = b->held + 2 * i * lines;
        for (size_t p = 0; p < s->gates.panels && part == CLEAR; p++)
            memset(cdl_z_at(s, g->t, p, g->row + i), 0,
                   cdl_gate_width(&s->gates, p) * sizeof(float));
        if (part != CLEAR) memcpy(part == SAVE ? held : d, part == SAVE ? d : held, bytes);
        if (part == SAVE) memcpy(held + lines, dc, bytes);
        if (part == CLEAR) memcpy(dc, held + lines, bytes);
    }
}

/* Lines of a gradient, single columns too, added to rows of whole lines. */
static void add_lines(const struct cdl_time_step *g, const struct cdl_tensor *value,
                      const float *from, float *to, size_t ld) {
    for (size_t i = 0; i < g->m; i++, from += value->row_floats, to += ld) {
        if (value->width == 1)
            *to += *from;
        else
            g->ctx->kernels->add(cdl_padded(value->width), from, to);
    }
}

/* Lanes of z, from `lane` on, times the rows of the kernels' transpose of as many lanes from `of`
 * on: columns [first, end) of it. */
struct lanes_product {
    size_t lane, of, n, first, end;
    bool adds; /* to what is there */
    float *to;
};

static void multiply_lanes(const struct cdl_time_step *g, const struct back *b,
                           struct lanes_product p) {
    const struct cdl_steps *s = g->s;
    const struct cdl_kernels *kernels = g->ctx->kernels;
    for (size_t column = p.first; column < p.end; column += CDL_PANEL) {
        const size_t width = cdl_panel_width(b->columns, column);
        const float *transposed = s->node->scratch + s->at.transposed + column * s->gates.columns;
        float *to = p.to + column;
        for (size_t panel = 0; panel < s->gates.panels; panel++) {
            const bool is_new = panel == 0 && !p.adds;
            const size_t all = cdl_gate_width(&s->gates, panel), ldi = is_new ? 0 : b->ld;
            const size_t depth = p.n * cdl_lane_width(s, panel);
            const float *w = transposed + (panel * CDL_PANEL + p.of * CDL_LINE) * width;
            const bool prefetches = column == 0 && g->t > 0 && width == CDL_PANEL;
            CDL_BLOCKS_OF(block, g) {
                const float *z = cdl_z_at(s, g->t, panel, block.row);
                float *c = to + (block.first - g->first) * b->ld;
                struct cdl_product product = {
                    .m = block.m, .n = width, .k = depth, .b = {w, width}};
                product.a = (struct cdl_matrix){z + p.lane * CDL_LINE, all};
                product.init = (struct cdl_matrix){is_new ? cdl_zeros : c, ldi};
                product.c = (struct cdl_output){c, b->ld};
                if (prefetches && depth == CDL_PANEL) { /* for the cells */
                    product.prefetch = cdl_z_at(s, g->t - 1, panel, block.row);
                    kernels->gemm_prefetch(&product, product.prefetch + block.m * CDL_PANEL);
                } else {
                    kernels->gemm(&product);
                }
            }
        }
    }
}

/* Lanes that are not zeros in the transpose: those of h, or of x, or, in a panel of both, all. */
static void multiply_all(const struct cdl_time_step *g, const struct back *b, bool adds) {
    const struct cdl_cell *cell = g->s->gates.cell;
    const size_t lines = g->s->gates.lines;
    for (size_t column = 0; column < b->columns; column += CDL_PANEL) {
        const size_t end = cdl_min(column + CDL_PANEL, b->columns);
        struct cdl_lanes lanes = end <= lines ? cdl_lanes_of_h(cell) : cell->of_x;
        if (column < lines && lines < end) lanes = (struct cdl_lanes){0, cell->lanes};
        multiply_lanes(
            g, b,
            (struct lanes_product){lanes.first, lanes.first, lanes.n, column, end, adds, b->d});
    }
}

static void multiply_low(const struct cdl_time_step *g, const struct back *b, bool adds) {
    const struct cdl_steps *s = g->s;
    const struct cdl_kernels *kernels = g->ctx->kernels;
    const size_t k = s->gates.columns;
    for (size_t p = 0; p < s->gates.panels; p++) {
        const size_t all = cdl_gate_width(&s->gates, p);
        CDL_BLOCKS_OF(block, g)
            kernels->bf16_from_floats(
                block.m, all, cdl_z_at(s, g->t, p, block.row), all,
                cdl_bf16(b->z) + (block.first - g->first) * cdl_bf16_stride(k) + p * CDL_PANEL,
                cdl_bf16_stride(k));
    }
    for (size_t column = 0; column < b->columns; column += CDL_PANEL)
        cdl_multiply_low(
            kernels,
            (struct cdl_bf16_gemm){.m = g->m,
                                   .n = cdl_panel_width(b->columns, column),
                                   .k = k,
                                   .init = {adds ? b->d + column : cdl_zeros, adds ? b->ld : 0},
                                   .c = {b->d + column, b->ld}},
            b->z, s->node->scratch + s->at.transposed_low, column);
}

/* Lane by lane, each with the factors of its gate. */
static void multiply_dropped(const struct cdl_time_step *g, const struct back *b) {
    const struct cdl_steps *s = g->s;
    const size_t lines = s->gates.lines, inputs = s->gates.inputs, units = s->gates.units;
    for (size_t lane = 0; lane < s->gates.cell->lanes; lane++) {
        const size_t gate = s->gates.cell->gate[lane];
        multiply_lanes(g, b,
                       (struct lanes_product){lane, lane, 1, 0, b->columns, false, b->of_gate});
        for (size_t i = 0; i < g->m; i++) {
            const float *from = b->of_gate + i * b->ld;
            float *to = b->d + i * b->ld;
            const size_t row = g->first + i;
            const float *h = s->h_drop ? cdl_rows(s->h_drop, row) + gate * units : NULL;
            const float *x = s->x_drop ? cdl_rows(s->x_drop, row) + gate * inputs : NULL;
            for (size_t j = 0; j < units; j++) to[j] += h ? from[j] * h[j] : from[j];
            for (size_t j = 0; j < inputs && b->columns > lines; j++)
                to[lines + j] += x ? from[lines + j] * x[j] : from[lines + j];
        }
    }
}

/* d = z times both kernels' transpose; a cell that keeps h has given its h something already. */
static void multiply_back(const struct cdl_time_step *g, const struct back *b) {
    const struct cdl_steps *s = g->s;
    const bool adds = s->gates.cell->keeps_h, drops = cdl_drops(s);
    const size_t kept = adds ? s->gates.lines : 0;
    for (size_t i = 0; i < g->m && (adds || drops); i++)
        memset(b->d + i * b->ld + kept, 0, (b->columns - kept) * sizeof(float));
    if (drops)
        multiply_dropped(g, b);
    else
        (s->low ? multiply_low : multiply_all)(g, b, adds);
}

/* Gradients of r, and of h through r h, from that of n, for a cell that resets first. */
static void reset_back(const struct cdl_time_step *g, const struct back *b) {
    const struct cdl_steps *s = g->s;
    const size_t last = s->gates.cell->lanes - 1;
    multiply_lanes(g, b, (struct lanes_product){0, last, 1, 0, s->gates.lines, false, b->of_gate});
    cdl_drop_reset(g, b->of_gate, b->ld);
    for (size_t p = 0; p < s->gates.panels; p++) {
        CDL_BLOCKS_OF(block, g) {
            struct cdl_cell_step step = step_of(g, &block, b, p);
            step.dc = b->of_gate + (block.first - g->first) * b->ld + cdl_unit_at(s, p);
            s->gates.cell->reset_back(&step);
        }
    }
}

static void take_step_back(const struct cdl_time_step *g, const struct back *b) {
    const struct cdl_node *node = g->s->node;
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    if (y->grad && (y->lines > 1 || g->t + 1 == g->s->steps))
        add_lines(g, y, cdl_grad_rows(y, g->first) + (y->lines > 1 ? g->t * y->ld : 0), b->d,
                  b->ld);
    hold(g, b, SAVE);
    for (size_t p = 0; p < g->s->gates.panels; p++) {
        CDL_BLOCKS_OF(block, g) {
            const struct cdl_cell_step step = step_of(g, &block, b, p);
            g->s->gates.cell->back(&step); /* z becomes its gradient */
        }
    }
    if (g->s->gates.cell->reset) reset_back(g, b);
    hold(g, b, CLEAR);
    multiply_back(g, b);
    hold(g, b, RESTORE);
    if (node->needs[0])
        g->ctx->kernels->copy_columns(g->m, cdl_padded(x->width), b->d + g->s->gates.lines, b->ld,
                                      cdl_grad_rows(x, g->first) + cdl_step_offset(g->s, x, g->t),
                                      x->row_floats);
}

static void take_back(struct cdl_time_step g, const struct back *b) {
    const struct cdl_steps *s = g.s;
    const struct cdl_node *node = s->node;
    const struct cdl_tensor *c = node->n_out > 1 ? node->out[1] : NULL;
    const size_t lines = s->gates.lines;
    memset(b->d, 0, g.m * b->ld * sizeof(float));
    memset(b->dc, 0, g.m * lines * sizeof(float));
    if (c && c->grad) add_lines(&g, c, cdl_grad_rows(c, g.first), b->dc, lines);
    cdl_begin_slots(&g);
    for (g.t = s->steps; g.t-- > 0;) {
        if (cdl_stopped(g.ctx)) return;
        take_step_back(&g, b);
        cdl_add_to_slots(&g);
    }
    for (int k = 0; k < (int)s->gates.cell->states && s->state; k++) {
        const struct cdl_tensor *state = node->in[s->state + k];
        if (node->needs[s->state + k])
            g.ctx->kernels->copy_columns(g.m, cdl_padded(s->gates.units), k ? b->dc : b->d,
                                         k ? lines : b->ld, cdl_grad_rows(state, g.first),
                                         state->row_floats);
    }
}

void cdl_recurrent_backward(CDL_PASS) {
    const struct cdl_steps s = cdl_steps_of(node, ctx->rows, NULL);
    struct back b;
    struct cdl_time_step g = {.s = &s, .ctx = ctx, .room = ctx->scratch + room_floats(&s)};
    lay_out(&s, ctx->scratch, &b);
    for (g.first = g.row = first; g.first < last; g.first = g.row += g.m) {
        g.m = cdl_together(&s, g.first, last);
        take_back(g, &b);
    }
}
