/* recurrent.c - y = h of each step of a recurrent cell, or of the last one; the loop over time.
 *
 * x is (T, c) a sample, its lines are the steps, which are taken from the last on if it is
 * `reverse`: y has the order of computing. A step is [x h] times both kernels (gates.h), a panel of
 * gates at a time, and while that is in the L1 cache its activations and the new state. Samples are
 * independent: a thread takes a group of its own through all steps. A step that the mask
 * leaves out keeps the state. z of a step are the gates, and backward their gradient in its place;
 * the weights' gradient is a product of both over all steps of all samples (recurrent_update.c).
 */
#include "ops/recurrent.h"

enum { ACTIVATION, GATE, CELL, REVERSE, GIVEN }; /* numbers */
enum { KERNEL, RECURRENT_KERNEL, BIAS };         /* params */

/* given: which inputs stand behind x, in this order. */
enum { HAS_MASK = 1, HAS_STATES = 2, HAS_X_DROP = 4, HAS_H_DROP = 8, HAS_ALL = 15 };

static const struct cdl_cell *cell_of(const struct cdl_node *node) {
    return &cdl_cells[node->numbers[CELL]];
}

static struct cdl_gates gates_of(const struct cdl_node *node) {
    return cdl_gates_of(cell_of(node), node->in[0]->width, node->param[RECURRENT_KERNEL]->rows);
}

/* The places of the mask among the inputs, of h, behind which c is, and of what drops; or 0. */
static int place_of(const struct cdl_node *node, int64_t what) {
    const int64_t given = node->numbers[GIVEN], before = given & (what - 1);
    if (!(given & what)) return 0;
    int place = 1;
    if (before & HAS_MASK) place++;
    if (before & HAS_STATES) place += (int)cell_of(node)->states;
    if (before & HAS_X_DROP) place++;
    return place;
}

static bool is_row_of(const struct cdl_tensor *value, size_t n) {
    return !cdl_is_int(value) && !value->shared && value->lines == 1 && value->width == n;
}

/* The inputs behind x. */
static const char *check_given(const struct cdl_node *node, const struct cdl_gates *gates) {
    const int mask = place_of(node, HAS_MASK), state = place_of(node, HAS_STATES);
    const int x_drop = place_of(node, HAS_X_DROP), h_drop = place_of(node, HAS_H_DROP);
    const int states = state ? (int)gates->cell->states : 0;
    const size_t n = gates->cell->gates;
    CDL_EXPECT(node->n_in == 1 + (mask > 0) + states + (x_drop > 0) + (h_drop > 0),
               "inputs: expected those that are given");
    CDL_EXPECT(!mask || is_row_of(node->in[mask], node->in[0]->lines),
               "mask: expected a number for each line of x");
    for (int k = 0; k < states; k++)
        CDL_EXPECT(is_row_of(node->in[state + k], gates->units),
                   "h, c: expected a number for each unit");
    CDL_EXPECT(!x_drop || is_row_of(node->in[x_drop], n * gates->inputs),
               "x_drop: expected a number for each gate and column of x");
    CDL_EXPECT(!h_drop || is_row_of(node->in[h_drop], n * gates->units),
               "h_drop: expected a number for each gate and unit");
    return NULL;
}

static const char *check(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const struct cdl_param *w = node->param[KERNEL], *u = node->param[RECURRENT_KERNEL];
    const struct cdl_param *b = node->param[BIAS];
    CDL_EXPECT(node->numbers[CELL] >= 0 && node->numbers[CELL] < CDL_N_CELLS,
               "cell: expected 0 for a simple cell, 1 for LSTM, 2 for GRU, 3 if it resets first");
    CDL_EXPECT(node->numbers[GATE] >= 0 && node->numbers[GATE] < CDL_N_ACTIVATIONS,
               "gate: expected a row of the activations");
    CDL_EXPECT(node->numbers[GIVEN] >= 0 && node->numbers[GIVEN] <= HAS_ALL,
               "given: expected 1 for a mask, 2 for states, 4, 8 for what drops, or their sum");
    CDL_EXPECT(!cdl_is_int(x) && !x->shared, "x: expected floats of each sample");
    CDL_EXPECT(w && w->matrix && u && u->matrix, "kernels: expected matrices");
    const struct cdl_cell *cell = cell_of(node);
    const size_t units = u->rows, width = cell->gates * units;
    CDL_EXPECT(w->rows == x->width, "kernel: expected a row for each column of x");
    CDL_EXPECT(w->cols == width && u->cols == width,
               "kernels: expected a column for each gate of each unit");
    CDL_CHECK(cdl_check_row(b, cell->biases * width,
                            "bias: expected a number for each gate of each unit, two of a GRU"));
    CDL_EXPECT(y->width == units && (y->lines == 1 || y->lines == x->lines),
               "output: expected the units, of each step or of the last");
    CDL_EXPECT(node->n_out == 1 || cell->states == 2, "c: expected an LSTM");
    if (node->n_out == 2)
        CDL_EXPECT(node->out[1]->lines == 1 && node->out[1]->width == units,
                   "c: expected a number for each unit");
    const struct cdl_gates gates = gates_of(node);
    return check_given(node, &gates);
}

static double flops(const struct cdl_node *node) {
    const struct cdl_gates gates = gates_of(node);
    return 2.0 * (double)node->in[0]->lines * (double)gates.rows * (double)gates.columns;
}

/* True for x, h and c, the inputs that get a gradient. */
static bool gives(const struct cdl_node *node, int k) {
    const int state = place_of(node, HAS_STATES);
    const int states = state ? (int)cell_of(node)->states : 0;
    return k == 0 || (k >= state && k < state + states);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static bool is_low(const struct cdl_node *node) {
    const bool drops = (node->numbers[GIVEN] & (HAS_X_DROP | HAS_H_DROP)) != 0;
    return node->arithmetic == CDL_BY_TILES && !drops && !cell_of(node)->reset;
}

static const struct cdl_tensor *given(const struct cdl_node *node, int64_t what) {
    const int place = place_of(node, what);
    return place ? node->in[place] : NULL;
}

struct sizes {
    size_t xh, c, z;
};
static struct sizes sizes_of(const struct cdl_steps *s, size_t blocks) {
    const size_t lines = blocks * s->rows, states = lines * (s->kept + 1);
    return (struct sizes){states * s->ld, s->gates.cell->uses_c ? states * s->gates.lines : 0,
                          lines * s->kept * s->gates.panels * CDL_PANEL};
}
static size_t total(struct sizes sizes) { return sizes.xh + sizes.c + sizes.z; }

/* A matrix of so many rows in panels, as products of bfloat16 read it. */
static size_t low_floats(size_t rows, size_t columns) {
    return cdl_bf16_padded(rows) / 2 * cdl_bf16_padded(columns);
}

static struct cdl_layout layout_of(const struct cdl_steps *s, size_t rows) {
    const struct cdl_gates *gates = &s->gates;
    struct cdl_layout at = {.bias = gates->rows * gates->columns};
    at.low = at.bias + gates->columns;
    at.transposed = at.low + (s->low ? low_floats(gates->rows, gates->columns) : 0);
    if (s->keeps) at.transposed_columns = cdl_transposed_columns(gates, s->node->needs[0]);
    at.transposed_low = at.transposed + gates->columns * at.transposed_columns;
    const bool both = s->low && s->keeps;
    at.kept = at.transposed_low + (both ? low_floats(gates->columns, at.transposed_columns) : 0);
    at.slots = at.kept + (s->keeps ? total(sizes_of(s, cdl_row_blocks(rows))) : 0);
    if (s->node->learns) at.slot = cdl_slot_floats(s, total(sizes_of(s, 1)));
    at.all = at.slots + cdl_row_blocks(rows) * at.slot;
    return at;
}

/* Without the addresses. */
static struct cdl_steps shape_of(const struct cdl_node *node, size_t rows) {
    struct cdl_steps s = {.node = node,
                          .gates = gates_of(node),
                          .reverse = node->numbers[REVERSE] != 0,
                          .keeps = node->goes_back,
                          .low = is_low(node),
                          .mask = given(node, HAS_MASK),
                          .x_drop = given(node, HAS_X_DROP),
                          .h_drop = given(node, HAS_H_DROP),
                          .state = place_of(node, HAS_STATES),
                          .steps = node->in[0]->lines};
    s.apart = cdl_drops(&s) || s.gates.cell->reset;
    s.rows = s.keeps ? cdl_min(rows, CDL_ROW_BLOCK) : CDL_STEP_SAMPLES;
    s.kept = s.keeps ? s.steps : 1;
    s.ld = cdl_stride(s.gates.inputs + s.gates.lines);
    s.at = layout_of(&s, rows);
    return s;
}

struct cdl_steps cdl_steps_of(const struct cdl_node *node, size_t rows, float *room) {
    struct cdl_steps s = shape_of(node, rows);
    const struct sizes sizes = sizes_of(&s, s.keeps ? cdl_row_blocks(rows) : 1);
    s.xh = s.keeps ? node->scratch + s.at.kept : room;
    s.c = s.xh + sizes.xh;
    s.z = s.c + sizes.c;
    return s;
}

static size_t scratch_floats(const struct cdl_node *node, size_t rows) {
    return shape_of(node, rows).at.all;
}

/* ---- derived weights ------------------------------------------------------------------------- */

/* Rows [first, first + n) of a matrix in panels of columns, first a multiple of CDL_PANEL. */
static void pack_low(const struct cdl_kernels *kernels, size_t rows, size_t columns, size_t first,
                     size_t n, const float *w, float *to) {
    const size_t full = (first + n + 1) / 2, half = cdl_bf16_padded(rows) / 2;
    for (size_t column = 0; column < columns; column += CDL_BF16_LINE) {
        const size_t panel = column / CDL_PANEL * CDL_PANEL,
                     width = cdl_panel_width(columns, panel);
        uint32_t *pairs = (uint32_t *)(void *)(to + column * half);
        kernels->bf16_pack(n, cdl_min(columns - column, CDL_BF16_LINE),
                           w + panel * rows + first * width + column - panel, width,
                           pairs + first / 2 * CDL_BF16_LINE, CDL_BF16_LINE);
        if (first + n == rows)
            memset(pairs + full * CDL_BF16_LINE, 0, (half - full) * CDL_BF16_LINE * sizeof *pairs);
    }
}

static size_t derived_parts(const struct cdl_node *node) { return gates_of(node).panels; }

/* A panel of gates: its columns of the packed kernels, and its rows of their transpose. */
static void derive_part(const struct cdl_node *node, const struct cdl_kernels *kernels,
                        size_t panel) {
    const struct cdl_steps s = shape_of(node, 1);
    const struct cdl_gates *gates = &s.gates;
    const size_t column = panel * CDL_PANEL, width = cdl_gate_width(gates, panel);
    const size_t half = cdl_bf16_padded(gates->rows) / 2;
    float *packed = node->scratch, *transposed = packed + s.at.transposed;
    cdl_pack_gates(gates, panel, node->param[KERNEL], node->param[RECURRENT_KERNEL], packed);
    cdl_pack_bias(gates, panel, node->param[BIAS], packed + s.at.bias);
    if (s.low)
        pack_low(kernels, gates->rows, width, 0, gates->rows, packed + column * gates->rows,
                 packed + s.at.low + column * half);
    if (!s.keeps) return;
    cdl_turn_gates(gates, kernels, panel, packed, node->needs[0], transposed);
    if (s.low)
        pack_low(kernels, gates->columns, s.at.transposed_columns, column, width, transposed,
                 packed + s.at.transposed_low);
}

/* ---- forward --------------------------------------------------------------------------------- */

bool cdl_is_masked(const struct cdl_steps *s, size_t t, size_t sample) {
    if (!s->mask) return false;
    return cdl_rows(s->mask, sample)[s->reverse ? s->steps - 1 - t : t] == 0.0f;
}

void cdl_drop(const struct cdl_time_step *g, size_t gate, float *to) {
    const struct cdl_steps *s = g->s;
    const float *xh = cdl_xh_at(s, g->t, g->row);
    const size_t inputs = s->gates.inputs, units = s->gates.units;
    for (size_t i = g->first; i < g->first + g->m; i++, xh += s->ld, to += s->ld) {
        memcpy(to, xh, (inputs + units) * sizeof(float));
        const float *x = s->x_drop ? cdl_rows(s->x_drop, i) + gate * inputs : NULL;
        const float *h = s->h_drop ? cdl_rows(s->h_drop, i) + gate * units : NULL;
        for (size_t j = 0; j < inputs && x; j++) to[j] *= x[j];
        for (size_t j = 0; j < units && h; j++) to[inputs + j] *= h[j];
    }
}

void cdl_drop_reset(const struct cdl_time_step *g, float *rh, size_t ld) {
    const struct cdl_steps *s = g->s;
    const size_t units = s->gates.units;
    for (size_t i = 0; i < g->m && s->h_drop; i++) {
        const float *h = cdl_rows(s->h_drop, g->first + i) + s->gates.cell->gate[0] * units;
        for (size_t j = 0; j < units; j++) rh[i * ld + j] *= h[j];
    }
}

struct cdl_cell_step cdl_cell_step_of(const struct cdl_time_step *g, size_t panel, float *room) {
    const struct cdl_steps *s = g->s;
    const size_t unit = cdl_unit_at(s, panel);
    const bool c = s->gates.cell->uses_c;
    return (struct cdl_cell_step){.kernels = g->ctx->kernels,
                                  .activation = (int)s->node->numbers[ACTIVATION],
                                  .gate = (int)s->node->numbers[GATE],
                                  .m = g->m,
                                  .width = cdl_gate_width(&s->gates, panel),
                                  .z = cdl_z_at(s, g->t, panel, g->row),
                                  .h = cdl_h_at(s, g->t + 1, g->row) + unit,
                                  .h_before = cdl_h_at(s, g->t, g->row) + unit,
                                  .ldh = s->ld,
                                  .c = c ? cdl_c_at(s, g->t + 1, g->row) + unit : NULL,
                                  .c_before = c ? cdl_c_at(s, g->t, g->row) + unit : NULL,
                                  .ldc = s->gates.lines,
                                  .room = room};
}

/* The states before the first step. */
static void begin(const struct cdl_time_step *g) {
    const struct cdl_steps *s = g->s;
    const size_t units = s->gates.units, pads = s->gates.lines - units;
    for (size_t i = 0; i < g->m; i++) {
        for (size_t k = 0; k < s->gates.cell->states; k++) {
            float *to = k ? cdl_c_at(s, 0, g->row + i) : cdl_h_at(s, 0, g->row + i);
            memset(to + units, 0, pads * sizeof(float));
            if (s->state)
                memcpy(to, cdl_rows(s->node->in[s->state + (int)k], g->first + i),
                       units * sizeof(float));
            else
                memset(to, 0, units * sizeof(float));
        }
    }
}

/* Masked samples keep their states. */
static void hold(const struct cdl_time_step *g) {
    const struct cdl_steps *s = g->s;
    const size_t bytes = s->gates.lines * sizeof(float);
    for (size_t i = g->row; i < g->row + g->m && s->mask; i++) {
        if (!cdl_is_masked(s, g->t, g->first + i - g->row)) continue;
        memcpy(cdl_h_at(s, g->t + 1, i), cdl_h_at(s, g->t, i), bytes);
        if (s->gates.cell->states == 2)
            memcpy(cdl_c_at(s, g->t + 1, i), cdl_c_at(s, g->t, i), bytes);
    }
}

/* The products of a panel: of [x h], or of lane after lane where rows of it differ. */
static void multiply(const struct cdl_time_step *g, size_t panel) {
    const struct cdl_steps *s = g->s;
    const struct cdl_lanes of_h = cdl_lanes_of_h(s->gates.cell);
    const size_t k = s->gates.rows, column = panel * CDL_PANEL, ld = s->ld;
    const size_t all = cdl_gate_width(&s->gates, panel), inputs = s->gates.inputs;
    const float *w = s->node->scratch + column * k, *bias = s->node->scratch + s->at.bias + column;
    const float *xh = cdl_xh_at(s, g->t, g->row);
    float *z = cdl_z_at(s, g->t, panel, g->row);
    const bool together = of_h.n == s->gates.cell->lanes;
    struct cdl_product p = {.m = g->m, .n = all, .k = together ? k : inputs, .a = {xh, ld}};
    p.b = (struct cdl_matrix){w, all}, p.init.at = bias, p.c = (struct cdl_output){z, all};
    g->ctx->kernels->gemm(&p);
    if (together) return;
    const size_t at = of_h.first * CDL_LINE;
    p.n = of_h.n * CDL_LINE, p.k = s->gates.units;
    p.a.at += inputs, p.b.at += inputs * all + at, p.c.at += at;
    p.init = (struct cdl_matrix){p.c.at, all};
    g->ctx->kernels->gemm(&p);
}

/* Gates that see x and h each in its own way: a product for each. */
static void multiply_dropped(const struct cdl_time_step *g) {
    const struct cdl_steps *s = g->s;
    const struct cdl_cell *cell = s->gates.cell;
    const float *w = s->node->scratch, *bias = w + s->at.bias;
    const size_t k = s->gates.rows;
    for (size_t lane = 0; lane < cell->lanes; lane++) {
        cdl_drop(g, cell->gate[lane], g->room);
        for (size_t p = 0; p < s->gates.panels; p++) {
            const size_t all = cdl_gate_width(&s->gates, p), at = lane * CDL_LINE;
            struct cdl_product product = {.m = g->m, .n = cdl_lane_width(s, p), .k = k};
            product.a = (struct cdl_matrix){g->room, s->ld};
            product.b = (struct cdl_matrix){w + p * CDL_PANEL * k + at, all};
            product.init.at = bias + p * CDL_PANEL + at;
            product.c = (struct cdl_output){cdl_z_at(s, g->t, p, g->row) + at, all};
            g->ctx->kernels->gemm(&product);
        }
    }
}

static void multiply_low(const struct cdl_time_step *g, size_t panel) {
    const struct cdl_steps *s = g->s;
    const size_t k = s->gates.rows, column = panel * CDL_PANEL;
    const float *w = s->node->scratch;
    if (panel == 0)
        g->ctx->kernels->bf16_from_floats(g->m, k, cdl_xh_at(s, g->t, g->row), s->ld,
                                          cdl_bf16(g->room), cdl_bf16_stride(k));
    const size_t width = cdl_gate_width(&s->gates, panel);
    struct cdl_bf16_gemm p = {.m = g->m, .n = width, .k = k};
    p.init.at = w + s->at.bias + column;
    p.c = (struct cdl_output){cdl_z_at(s, g->t, panel, g->row), width};
    cdl_multiply_low(g->ctx->kernels, p, g->room, w + s->at.low, column);
}

/* The second product of a cell that resets first: of r h, with the last lane's weights, into the
 * first, which is x W so far. */
static void multiply_reset(const struct cdl_time_step *g, float *room) {
    const struct cdl_steps *s = g->s;
    const size_t lines = s->gates.lines, lane = (s->gates.cell->lanes - 1) * CDL_LINE;
    float *rh = cdl_c_at(s, g->t, g->row);
    for (size_t p = 0; p < s->gates.panels; p++) {
        const struct cdl_cell_step step = cdl_cell_step_of(g, p, room);
        s->gates.cell->reset(&step);
    }
    cdl_drop_reset(g, rh, lines);
    for (size_t p = 0; p < s->gates.panels; p++) {
        float *z = cdl_z_at(s, g->t, p, g->row);
        const float *u = s->node->scratch + (p * s->gates.rows + s->gates.inputs) * CDL_PANEL;
        struct cdl_product product = {
            .m = g->m, .n = CDL_LINE, .k = s->gates.units, .a = {rh, lines}};
        product.b = (struct cdl_matrix){u + lane, CDL_PANEL};
        product.init = (struct cdl_matrix){z, CDL_PANEL},
        product.c = (struct cdl_output){z, CDL_PANEL};
        g->ctx->kernels->gemm(&product);
    }
}

static void step_cell(const struct cdl_time_step *g, size_t panel, float *room) {
    const struct cdl_cell_step step = cdl_cell_step_of(g, panel, room);
    g->s->gates.cell->forward(&step);
}

/* cells: room of the cells' own. */
static void step(const struct cdl_time_step *g, float *cells) {
    const struct cdl_steps *s = g->s;
    for (size_t p = 0; p < s->gates.panels && !cdl_drops(s); p++) {
        CDL_BLOCKS_OF(b, g) {
            (s->low ? multiply_low : multiply)(&b, p);
            if (!s->apart) step_cell(&b, p, cells);
        }
    }
    CDL_BLOCKS_OF(b, g) {
        if (cdl_drops(s)) multiply_dropped(&b);
        if (s->gates.cell->reset) multiply_reset(&b, cells);
        for (size_t p = 0; p < s->gates.panels && s->apart; p++) step_cell(&b, p, cells);
    }
}

static void read_x(const struct cdl_time_step *b) {
    const struct cdl_tensor *x = b->s->node->in[0];
    b->ctx->kernels->copy_columns(b->m, x->width,
                                  cdl_rows(x, b->first) + cdl_step_offset(b->s, x, b->t),
                                  x->row_floats, cdl_xh_at(b->s, b->t, b->row), b->s->ld);
}

/* h behind the step, and c behind the last one. */
static void write_y(const struct cdl_time_step *b) {
    const struct cdl_steps *s = b->s;
    const struct cdl_kernels *kernels = b->ctx->kernels;
    const struct cdl_tensor *y = s->node->out[0];
    const bool last = b->t + 1 == s->steps;
    if (y->lines > 1 || last)
        kernels->copy_columns(b->m, cdl_padded(y->width), cdl_h_at(s, b->t + 1, b->row), s->ld,
                              cdl_rows(y, b->first) + (y->lines > 1 ? b->t * y->ld : 0),
                              y->row_floats);
    if (s->node->n_out < 2 || !last) return;
    const struct cdl_tensor *c = s->node->out[1];
    kernels->copy_columns(b->m, cdl_padded(c->width), cdl_c_at(s, s->steps, b->row), s->gates.lines,
                          cdl_rows(c, b->first), c->row_floats);
}

static void take(struct cdl_time_step g, float *cells) {
    CDL_BLOCKS_OF(b, &g) begin(&b);
    for (g.t = 0; g.t < g.s->steps; g.t++) {
        if (cdl_stopped(g.ctx)) return;
        CDL_BLOCKS_OF(b, &g) read_x(&b);
        step(&g, cells);
        CDL_BLOCKS_OF(b, &g) {
            hold(&b);
            write_y(&b);
        }
    }
}

/* A thread's room: lines for cells, [x h] as a gate sees them, or rounded; states. */
enum { CELLS = CDL_STEP_SAMPLES * CDL_LINE };

static void forward(CDL_PASS) {
    const struct cdl_gates gates = gates_of(node);
    float *room = ctx->scratch + CELLS;
    const size_t seen = CDL_STEP_SAMPLES * cdl_stride(gates.inputs + gates.lines);
    const struct cdl_steps s = cdl_steps_of(node, ctx->rows, room + seen);
    struct cdl_time_step g = {.s = &s, .ctx = ctx, .room = room};
    for (g.first = first; g.first < last; g.first += g.m) {
        g.m = cdl_together(&s, g.first, last);
        g.row = s.keeps ? g.first : 0;
        take(g, ctx->scratch);
    }
}

static size_t thread_floats(const struct cdl_node *node, size_t rows, bool training) {
    const struct cdl_steps s = shape_of(node, rows);
    const size_t ahead = CELLS + CDL_STEP_SAMPLES * s.ld + (s.keeps ? 0 : total(sizes_of(&s, 1)));
    if (!training) return ahead;
    const size_t back = s.keeps ? cdl_recurrent_backward_floats(&s) : 0;
    const size_t update = node->learns ? cdl_recurrent_update_floats(&s) : 0;
    return cdl_max(ahead, cdl_max(back, update));
}

const struct cdl_op cdl_op_recurrent = {
    .table = {"activations", CDL_N_ACTIVATIONS},
    .check = check,
    .scratch_floats = scratch_floats,
    .derived_parts = derived_parts,
    .derive_part = derive_part,
    .follows = cdl_follows_all,
    .flops = flops,
    .thread_floats = thread_floats,
    .forward = forward,
    .backward = cdl_recurrent_backward,
    .update = cdl_recurrent_update,
    .gives = gives,
    .all_inputs = true,
    .any_samples = true,
    .polls = true,
    .parts = CDL_BY_ROWS,
};
