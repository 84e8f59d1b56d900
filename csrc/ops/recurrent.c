/* recurrent.c - y = h of each step of a recurrent cell, or of the last one; the loop over time.
 *
 * x is (T, c) a sample, its lines are the steps, which are taken from the last on if it is
 * `reverse`: y has the order of computing. A step is [x h] times both kernels (gates.h), a panel of
 * gates at a time, and while that is in the L1 cache its activations and the new state. Samples see
 * nothing of each other: a thread takes a group of its own through all steps. A step that the mask
 * leaves out keeps the state. z of a step are the gates, and backward their gradient in its place;
 * then the weights' gradient is one product over all steps of all samples (update).
 */
#if !defined(__clang__) /* as in gates.c */
#pragma GCC optimize("Os")
#endif
#include "ops/recurrent.h"

#include <string.h>

enum { ACTIVATION, GATE, CELL, REVERSE, GIVEN }; /* numbers */
enum { KERNEL, RECURRENT_KERNEL, BIAS };         /* params */

/* given: which inputs stand behind x, in this order. */
enum { HAS_MASK = 1, HAS_STATES = 2, HAS_X_DROP = 4, HAS_H_DROP = 8, HAS_ALL = 15 };

static enum cdl_cell cell_of(const struct cdl_node *node) {
    return (enum cdl_cell)node->numbers[CELL];
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
    if (before & HAS_STATES) place += cell_of(node) == CDL_CELL_LSTM ? 2 : 1;
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
    const int states = !state ? 0 : gates->cell == CDL_CELL_LSTM ? 2 : 1;
    const size_t n = cdl_n_gates(gates->cell);
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
    const enum cdl_cell cell = cell_of(node);
    const size_t units = u->rows, width = cdl_n_gates(cell) * units;
    CDL_EXPECT(w->rows == x->width, "kernel: expected a row for each column of x");
    CDL_EXPECT(w->cols == width && u->cols == width,
               "kernels: expected a column for each gate of each unit");
    CDL_CHECK(cdl_check_row(b, cdl_bias_size(cell, units),
                            "bias: expected a number for each gate of each unit, two of a GRU"));
    CDL_EXPECT(y->width == units && (y->lines == 1 || y->lines == x->lines),
               "output: expected the units, of each step or of the last");
    CDL_EXPECT(node->n_out == 1 || cell == CDL_CELL_LSTM, "c: expected an LSTM");
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

/* Whether it is x, h or c. */
static bool gives(const struct cdl_node *node, int k) {
    const int state = place_of(node, HAS_STATES);
    const int states = !state ? 0 : cell_of(node) == CDL_CELL_LSTM ? 2 : 1;
    return k == 0 || (k >= state && k < state + states);
}

/* ---- memory -----------------------------------------------------------------------------------
 */

static bool is_low(const struct cdl_node *node) {
    const bool drops = (node->numbers[GIVEN] & (HAS_X_DROP | HAS_H_DROP)) != 0;
    return node->low && !drops && cell_of(node) != CDL_CELL_RESET_FIRST;
}

/* Both kernels, the bias and, of bfloat16, the kernels once more. */
static size_t weight_floats(const struct cdl_node *node) {
    const struct cdl_gates gates = gates_of(node);
    return (gates.rows + 1) * gates.columns +
           (is_low(node) ? cdl_low_floats(gates.rows, gates.columns) : 0);
}

void cdl_pack_low(const struct cdl_kernels *kernels, size_t rows, size_t columns, const float *w,
                  float *to) {
    const size_t full = (rows + 1) / 2, half = cdl_bf16_padded(rows) / 2;
    for (size_t column = 0; column < columns; column += CDL_BF16_LINE) {
        const size_t panel = column / CDL_PANEL * CDL_PANEL;
        uint32_t *pairs = (uint32_t *)(void *)(to + column * half);
        kernels->bf16_pack(rows, cdl_min(columns - column, CDL_BF16_LINE),
                           w + panel * rows + column - panel, cdl_panel_width(columns, panel),
                           pairs, CDL_BF16_LINE);
        memset(pairs + full * CDL_BF16_LINE, 0, (half - full) * CDL_BF16_LINE * sizeof *pairs);
    }
}

/* Floats of xh, c and z; the return value: of all three. */
static size_t sizes_of(const struct cdl_steps *s, size_t steps, size_t sizes[3]) {
    sizes[0] = (steps + 1) * s->rows * s->ld;
    const bool uses_c = s->gates.cell == CDL_CELL_LSTM || s->gates.cell == CDL_CELL_RESET_FIRST;
    sizes[1] = uses_c ? (steps + 1) * s->rows * s->gates.lines : 0;
    sizes[2] = steps * s->rows * s->panels * CDL_PANEL;
    return sizes[0] + sizes[1] + sizes[2];
}

static const struct cdl_tensor *given(const struct cdl_node *node, int64_t what) {
    const int place = place_of(node, what);
    return place ? node->in[place] : NULL;
}

/* Without the addresses. */
static struct cdl_steps shape_of(const struct cdl_node *node, size_t rows) {
    struct cdl_steps s = {.node = node,
                          .gates = gates_of(node),
                          .activation = (int)node->numbers[ACTIVATION],
                          .gate = (int)node->numbers[GATE],
                          .reverse = node->numbers[REVERSE] != 0,
                          .keeps = node->goes_back,
                          .low = is_low(node),
                          .mask = given(node, HAS_MASK),
                          .x_drop = given(node, HAS_X_DROP),
                          .h_drop = given(node, HAS_H_DROP),
                          .state = place_of(node, HAS_STATES),
                          .steps = node->in[0]->lines};
    s.apart = cdl_drops(&s) || s.gates.cell == CDL_CELL_RESET_FIRST;
    s.rows = s.keeps ? rows : CDL_STEP_SAMPLES;
    s.panels = (s.gates.columns + CDL_PANEL - 1) / CDL_PANEL;
    s.ld = cdl_stride(s.gates.inputs + s.gates.lines);
    return s;
}

struct cdl_steps cdl_steps_of(const struct cdl_node *node, size_t rows, float *room) {
    struct cdl_steps s = shape_of(node, rows);
    size_t sizes[3];
    sizes_of(&s, s.keeps ? s.steps : 1, sizes);
    s.xh = s.keeps ? node->scratch + weight_floats(node) : room;
    s.c = s.xh + sizes[0];
    s.z = s.c + sizes[1];
    return s;
}

/* The packed weights as they are in predictions, with the bias; behind them what is kept. */
static size_t scratch_floats(const struct cdl_node *node, size_t rows) {
    const struct cdl_steps s = shape_of(node, rows);
    size_t sizes[3];
    return weight_floats(node) + (s.keeps ? sizes_of(&s, s.steps, sizes) : 0);
}

bool cdl_is_masked(const struct cdl_steps *s, size_t t, size_t sample) {
    if (!s->mask) return false;
    return cdl_rows(s->mask, sample)[s->reverse ? s->steps - 1 - t : t] == 0.0f;
}

void cdl_drop(const struct cdl_steps *s, size_t gate, const float *xh, size_t first, size_t m,
              float *to) {
    const size_t inputs = s->gates.inputs, units = s->gates.units;
    for (size_t i = 0; i < m; i++, xh += s->ld, to += s->ld) {
        memcpy(to, xh, (inputs + units) * sizeof(float));
        const float *x = s->x_drop ? cdl_rows(s->x_drop, first + i) + gate * inputs : NULL;
        const float *h = s->h_drop ? cdl_rows(s->h_drop, first + i) + gate * units : NULL;
        for (size_t j = 0; j < inputs && x; j++) to[j] *= x[j];
        for (size_t j = 0; j < units && h; j++) to[inputs + j] *= h[j];
    }
}

/* ---- forward ----------------------------------------------------------------------------------
 */

static void pack(const struct cdl_node *node, const struct cdl_kernels *kernels, float *to) {
    const struct cdl_gates gates = gates_of(node);
    float *bias = to + gates.rows * gates.columns;
    cdl_pack_gates(&gates, node->param[KERNEL], node->param[RECURRENT_KERNEL], to);
    cdl_pack_bias(&gates, node->param[BIAS], bias);
    if (is_low(node)) cdl_pack_low(kernels, gates.rows, gates.columns, to, bias + gates.columns);
}

static void derive(const struct cdl_node *node, const struct cdl_kernels *kernels) {
    pack(node, kernels, node->scratch);
}
static bool follows(const struct cdl_node *node, bool training) {
    return (void)node, !training; /* each step has other weights */
}

/* The packed weights, the bias behind them; in training they are made here. */
static const float *weights_of(const struct cdl_node *node, const struct cdl_context *ctx,
                               float *room) {
    if (!ctx->training) return node->scratch;
    pack(node, ctx->kernels, room);
    return room;
}

/* From the products of a panel to the states of its units. */
static void step_cell(const struct cdl_steps *s, const struct cdl_context *ctx, size_t t,
                      size_t panel, size_t row, size_t m, float *block) {
    const struct cdl_kernels *kernels = ctx->kernels;
    float *z = cdl_z_at(s, t, panel, row);
    if (s->gates.cell == CDL_CELL_SIMPLE) {
        const size_t width = cdl_gate_width(s, panel);
        cdl_activate(kernels, s->activation, m, width, z, width, z, width);
        kernels->copy_columns(m, width, z, width, cdl_h_at(s, t + 1, row) + panel * CDL_PANEL,
                              s->ld);
        return;
    }
    const size_t unit = panel * CDL_LINE;
    float *h = cdl_h_at(s, t + 1, row) + unit;
    if (s->gates.cell == CDL_CELL_LSTM) {
        float *c = cdl_c_at(s, t + 1, row) + unit;
        if (cdl_is_usual(s)) {
            kernels->lstm_cell(m, z, cdl_c_at(s, t, row) + unit, c, s->gates.lines, h, s->ld);
            return;
        }
        cdl_activate(kernels, s->gate, m, 3 * CDL_LINE, z, CDL_PANEL, z, CDL_PANEL);
        cdl_activate(kernels, s->activation, m, CDL_LINE, z + 3 * CDL_LINE, CDL_PANEL,
                     z + 3 * CDL_LINE, CDL_PANEL);
        kernels->lstm_state(m, z, cdl_c_at(s, t, row) + unit, c, s->gates.lines);
        cdl_activate(kernels, s->activation, m, CDL_LINE, c, s->gates.lines, block, CDL_LINE);
        kernels->lstm_output(m, z, block, h, s->ld);
    } else {
        if (s->gates.cell == CDL_CELL_GRU) {
            cdl_activate(kernels, s->gate, m, 2 * CDL_LINE, z + CDL_LINE, CDL_PANEL, z + CDL_LINE,
                         CDL_PANEL);
            kernels->gru_candidate(m, z);
        }
        cdl_activate(kernels, s->activation, m, CDL_LINE, z, CDL_PANEL, z, CDL_PANEL);
        kernels->gru_output(m, z, cdl_h_at(s, t, row) + unit, h, s->ld);
    }
}

static void begin(const struct cdl_steps *s, size_t first, size_t row, size_t m) {
    const struct cdl_node *node = s->node;
    const int k = s->state;
    const size_t units = s->gates.units, pads = s->gates.lines - units;
    for (size_t i = 0; i < m; i++) {
        float *h = cdl_h_at(s, 0, row + i), *c = cdl_c_at(s, 0, row + i);
        const bool has_c = s->gates.cell == CDL_CELL_LSTM;
        memset(h + units, 0, pads * sizeof(float));
        if (has_c) memset(c + units, 0, pads * sizeof(float));
        if (k) {
            memcpy(h, cdl_rows(node->in[k], first + i), units * sizeof(float));
            if (has_c) memcpy(c, cdl_rows(node->in[k + 1], first + i), units * sizeof(float));
        } else {
            memset(h, 0, units * sizeof(float));
            if (has_c) memset(c, 0, units * sizeof(float));
        }
    }
}

/* Masked samples keep what they had. */
static void hold(const struct cdl_steps *s, size_t t, size_t first, size_t row, size_t m) {
    for (size_t i = 0; i < m && s->mask; i++) {
        if (!cdl_is_masked(s, t, first + i)) continue;
        memcpy(cdl_h_at(s, t + 1, row + i), cdl_h_at(s, t, row + i),
               s->gates.lines * sizeof(float));
        if (s->gates.cell == CDL_CELL_LSTM)
            memcpy(cdl_c_at(s, t + 1, row + i), cdl_c_at(s, t, row + i),
                   s->gates.lines * sizeof(float));
    }
}

/* The products of a panel's lanes, from `lane` on, with rows of [x h]; of all lanes those that are
 * not zeros. */
static void multiply(const struct cdl_steps *s, const struct cdl_context *ctx, const float *w,
                     size_t t, size_t panel, size_t lane, size_t width, const float *xh, size_t row,
                     size_t m) {
    const size_t k = s->gates.rows, column = panel * CDL_PANEL, all = cdl_gate_width(s, panel);
    const float *bias = w + k * s->gates.columns + column + lane * CDL_LINE;
    const struct cdl_lanes of_h = cdl_lanes_of(s->gates.cell, true);
    float *z = cdl_z_at(s, t, panel, row) + lane * CDL_LINE;
    w += column * k + lane * CDL_LINE;
    if (width < all || of_h.n == CDL_LANES) {
        ctx->kernels->gemm_lines(m, width, k, xh, s->ld, w, all, bias, 0, z, all);
        return;
    }
    const size_t inputs = s->gates.inputs, first = of_h.first * CDL_LINE;
    ctx->kernels->gemm_lines(m, width, inputs, xh, s->ld, w, all, bias, 0, z, all);
    ctx->kernels->gemm_lines(m, of_h.n * CDL_LINE, s->gates.units, xh + inputs, s->ld,
                             w + inputs * all + first, all, z + first, all, z + first, all);
}

/* Gates that see x and h each in its own way: a product for each. */
static void multiply_dropped(const struct cdl_steps *s, const struct cdl_context *ctx,
                             const float *w, size_t t, size_t first, size_t row, size_t m,
                             float *seen) {
    for (size_t lane = 0; lane < cdl_lanes(s); lane++) {
        cdl_drop(s, cdl_gate_of(s->gates.cell, lane), cdl_xh_at(s, t, row), first, m, seen);
        for (size_t p = 0; p < s->panels; p++)
            multiply(s, ctx, w, t, p, lane, cdl_lane_width(s, p), seen, row, m);
    }
}

/* n of a cell that resets first: x W, which it is so far, + (r h) U. */
static void reset_first(const struct cdl_steps *s, const struct cdl_context *ctx, const float *w,
                        size_t t, size_t first, size_t row, size_t m) {
    enum { Z = CDL_LINE, R = 2 * CDL_LINE, U = 3 * CDL_LINE }; /* lanes; n is the first */
    const size_t lines = s->gates.lines, units = s->gates.units;
    float *rh = cdl_c_at(s, t, row);
    for (size_t p = 0; p < s->panels; p++) {
        float *z = cdl_z_at(s, t, p, row);
        cdl_activate(ctx->kernels, s->gate, m, 2 * CDL_LINE, z + Z, CDL_PANEL, z + Z, CDL_PANEL);
        for (size_t i = 0; i < m; i++) {
            const float *h = cdl_h_at(s, t, row + i) + p * CDL_LINE;
            float *to = rh + i * lines + p * CDL_LINE;
            for (size_t j = 0; j < CDL_LINE; j++) to[j] = z[i * CDL_PANEL + R + j] * h[j];
        }
    }
    for (size_t i = 0; i < m && s->h_drop; i++) {
        const float *factors = cdl_rows(s->h_drop, first + i) + 2 * units;
        for (size_t j = 0; j < units; j++) rh[i * lines + j] *= factors[j];
    }
    for (size_t p = 0; p < s->panels; p++) {
        float *n = cdl_z_at(s, t, p, row);
        const float *u = w + p * CDL_PANEL * s->gates.rows + s->gates.inputs * CDL_PANEL + U;
        ctx->kernels->gemm_lines(m, CDL_LINE, units, rh, lines, u, CDL_PANEL, n, CDL_PANEL, n,
                                 CDL_PANEL);
    }
}

static void step(const struct cdl_steps *s, const struct cdl_context *ctx, const float *w, size_t t,
                 size_t first, size_t row, size_t m, float *block) {
    const float *xh = cdl_xh_at(s, t, row);
    float *seen = block + CDL_STEP_SAMPLES * CDL_LINE; /* by a gate, or rounded */
    const size_t k = s->gates.rows;
    if (cdl_drops(s)) multiply_dropped(s, ctx, w, t, first, row, m, seen);
    if (s->low) ctx->kernels->bf16_from_floats(m, k, xh, s->ld, cdl_bf16(seen), cdl_bf16_stride(k));
    for (size_t p = 0; p < s->panels; p++) {
        const float *bias = w + k * s->gates.columns, *low = bias + s->gates.columns;
        const size_t width = cdl_gate_width(s, p), column = p * CDL_PANEL;
        if (s->low)
            cdl_multiply_low(ctx->kernels, m, width, k, seen, low, column, bias + column, 0,
                             cdl_z_at(s, t, p, row), width);
        else if (!cdl_drops(s))
            multiply(s, ctx, w, t, p, 0, width, xh, row, m);
        if (!s->apart) step_cell(s, ctx, t, p, row, m, block);
    }
    if (s->gates.cell == CDL_CELL_RESET_FIRST) reset_first(s, ctx, w, t, first, row, m);
    for (size_t p = 0; p < s->panels && s->apart; p++) step_cell(s, ctx, t, p, row, m, block);
}

/* Samples [first, first + m) through all steps, in rows from `row` on of what is kept. */
static void take(const struct cdl_steps *s, const struct cdl_context *ctx, const float *w,
                 size_t first, size_t row, size_t m, float *block) {
    const struct cdl_node *node = s->node;
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const size_t steps = s->steps;
    begin(s, first, row, m);
    for (size_t t = 0; t < steps; t++) {
        if (cdl_stopped(ctx)) return;
        ctx->kernels->copy_columns(m, x->width, cdl_rows(x, first) + cdl_step_offset(s, x, t),
                                   x->row_floats, cdl_xh_at(s, t, row), s->ld);
        step(s, ctx, w, t, first, row, m, block);
        hold(s, t, first, row, m);
        if (y->lines > 1 || t + 1 == steps) {
            ctx->kernels->copy_columns(m, cdl_padded(y->width), cdl_h_at(s, t + 1, row), s->ld,
                                       cdl_rows(y, first) + (y->lines > 1 ? t * y->ld : 0),
                                       y->row_floats);
        }
    }
    if (node->n_out < 2) return;
    const struct cdl_tensor *c = node->out[1];
    ctx->kernels->copy_columns(m, cdl_padded(c->width), cdl_c_at(s, steps, row), s->gates.lines,
                               cdl_rows(c, first), c->row_floats);
}

static void forward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                    size_t last) {
    const struct cdl_gates gates = gates_of(node);
    const size_t ld = cdl_stride(gates.inputs + gates.lines);
    float *block = ctx->scratch, *room = block + CDL_STEP_SAMPLES * (CDL_LINE + ld);
    const float *w = weights_of(node, ctx, room);
    if (ctx->training) room += weight_floats(node);
    const struct cdl_steps s = cdl_steps_of(node, ctx->rows, room);
    const size_t group = cdl_group_of(last - first);
    for (size_t m; first < last; first += m) {
        m = cdl_min(last - first, group);
        take(&s, ctx, w, first, s.keeps ? first : 0, m, block);
    }
}

static size_t thread_floats(const struct cdl_node *node, size_t rows, bool training) {
    const struct cdl_steps s = shape_of(node, rows);
    size_t sizes[3];
    const size_t ahead = CDL_STEP_SAMPLES * (CDL_LINE + s.ld) +
                         (training ? weight_floats(node) : 0) +
                         (s.keeps ? 0 : sizes_of(&s, 1, sizes));
    return training ? cdl_max(ahead, cdl_recurrent_floats(&s)) : ahead;
}

const struct cdl_op cdl_op_recurrent = {
    .table = "activations",
    .table_rows = CDL_N_ACTIVATIONS,
    .check = check,
    .scratch_floats = scratch_floats,
    .derive = derive,
    .follows = follows,
    .flops = flops,
    .thread_floats = thread_floats,
    .forward = forward,
    .backward = cdl_recurrent_backward,
    .update = cdl_recurrent_update,
    .gives = gives,
    .all_inputs = true,
    .any_samples = true,
    .looks = true,
    .parts = CDL_BY_ROWS,
};
