/* recurrent.c - y = h of each step of a recurrent cell, or of the last one; the loop over time.
 *
 * x is (T, c) a sample, its lines are the steps, which are taken from the last on if it is
 * `reverse`: y has the order of computing. A step is [x h] times both kernels (gates.h), a panel of
 * gates at a time, and while that is in the L1 cache its activations and the new state. Samples see
 * nothing of each other: a thread takes a group of its own through all steps. A step that the mask
 * leaves out keeps the state. z of a step are the gates, and backward their gradient in its place;
 * then the weights' gradient is one product over all steps of all samples (update).
 */
#include "ops/recurrent.h"

#include <string.h>

enum { ACTIVATION, GATE, CELL, REVERSE, GIVEN }; /* numbers */
enum { KERNEL, RECURRENT_KERNEL, BIAS };         /* params */
enum { HAS_MASK = 1, HAS_STATES = 2 };           /* given: which inputs stand behind x */

static enum cdl_cell cell_of(const struct cdl_node *node) {
    return (enum cdl_cell)node->numbers[CELL];
}

static struct cdl_gates gates_of(const struct cdl_node *node) {
    return cdl_gates_of(cell_of(node), node->in[0]->width, node->param[RECURRENT_KERNEL]->rows);
}

/* The place of the mask among the inputs, and of h, behind which c is; or 0. */
static int mask_at(const struct cdl_node *node) { return node->numbers[GIVEN] & HAS_MASK ? 1 : 0; }
static int state_at(const struct cdl_node *node) {
    return node->numbers[GIVEN] & HAS_STATES ? 1 + mask_at(node) : 0;
}

static const char *check(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const struct cdl_param *w = node->param[KERNEL], *u = node->param[RECURRENT_KERNEL];
    const struct cdl_param *b = node->param[BIAS];
    CDL_EXPECT(node->numbers[CELL] >= 0 && node->numbers[CELL] < CDL_N_CELLS,
               "cell: expected 0 for a simple cell, 1 for LSTM, 2 for GRU");
    CDL_EXPECT(node->numbers[GATE] >= 0 && node->numbers[GATE] < CDL_N_ACTIVATIONS,
               "gate: expected a row of the activations");
    CDL_EXPECT(node->numbers[GIVEN] >= 0 && node->numbers[GIVEN] <= (HAS_MASK | HAS_STATES),
               "given: expected 1 for a mask, 2 for states, or their sum");
    CDL_EXPECT(!x->is_int && !x->shared, "x: expected floats of each sample");
    CDL_EXPECT(w && w->matrix && u && u->matrix, "kernels: expected matrices");
    const enum cdl_cell cell = cell_of(node);
    const size_t units = u->rows, width = cdl_gates_width(cell, units);
    CDL_EXPECT(w->rows == x->width, "kernel: expected a row for each column of x");
    CDL_EXPECT(w->cols == width && u->cols == width,
               "kernels: expected a column for each gate of each unit");
    CDL_EXPECT(!b || (b->rows == (cell == CDL_CELL_GRU ? 2 : 1) && b->cols == width),
               "bias: expected a number for each gate of each unit, two of a GRU");
    CDL_EXPECT(y->width == units && (y->lines == 1 || y->lines == x->lines),
               "output: expected the units, of each step or of the last");
    const int states = cell == CDL_CELL_LSTM ? 2 : 1, first = state_at(node);
    CDL_EXPECT(node->n_in == 1 + (mask_at(node) > 0) + (first ? states : 0),
               "inputs: expected those that are given");
    if (mask_at(node)) {
        const struct cdl_tensor *mask = node->in[mask_at(node)];
        CDL_EXPECT(!mask->is_int && !mask->shared && mask->lines * mask->width == x->lines,
                   "mask: expected a number for each line of x");
    }
    for (int k = 0; first && k < states; k++) {
        const struct cdl_tensor *state = node->in[first + k];
        CDL_EXPECT(!state->is_int && !state->shared && state->lines * state->width == units,
                   "h, c: expected a number for each unit");
    }
    CDL_EXPECT(node->n_out == 1 || cell == CDL_CELL_LSTM, "c: expected an LSTM");
    if (node->n_out == 2)
        CDL_EXPECT(node->out[1]->lines == 1 && node->out[1]->width == units,
                   "c: expected a number for each unit");
    return NULL;
}

static double flops(const struct cdl_node *node) {
    const struct cdl_gates gates = gates_of(node);
    return 2.0 * (double)node->in[0]->lines * (double)gates.rows * (double)gates.columns;
}

/* Whether x, h or c gets a gradient; never the mask. */
static bool gives(const struct cdl_node *node, int k) {
    return k == 0 || (state_at(node) && k >= state_at(node));
}

/* ---- memory -----------------------------------------------------------------------------------
 */

static size_t weight_floats(const struct cdl_gates *gates) {
    return (gates->rows + 1) * gates->columns;
}

/* Floats of xh, c and z; the return value: of all three. */
static size_t sizes_of(const struct cdl_steps *s, size_t steps, size_t sizes[3]) {
    sizes[0] = (steps + 1) * s->rows * s->ld;
    sizes[1] = s->gates.cell == CDL_CELL_LSTM ? (steps + 1) * s->rows * s->gates.lines : 0;
    sizes[2] = steps * s->rows * s->panels * CDL_PANEL;
    return sizes[0] + sizes[1] + sizes[2];
}

/* Without the addresses. */
static struct cdl_steps shape_of(const struct cdl_node *node, size_t rows) {
    struct cdl_steps s = {.node = node,
                          .gates = gates_of(node),
                          .activation = (int)node->numbers[ACTIVATION],
                          .gate = (int)node->numbers[GATE],
                          .reverse = node->numbers[REVERSE] != 0,
                          .keeps = node->goes_back,
                          .mask = mask_at(node) ? node->in[mask_at(node)] : NULL,
                          .state = state_at(node),
                          .steps = node->in[0]->lines};
    s.rows = s.keeps ? rows : CDL_STEP_SAMPLES;
    s.panels = (s.gates.columns + CDL_PANEL - 1) / CDL_PANEL;
    s.ld = cdl_stride(s.gates.inputs + s.gates.lines);
    return s;
}

struct cdl_steps cdl_steps_of(const struct cdl_node *node, size_t rows, float *room) {
    struct cdl_steps s = shape_of(node, rows);
    size_t sizes[3];
    sizes_of(&s, s.keeps ? s.steps : 1, sizes);
    s.xh = s.keeps ? node->scratch + weight_floats(&s.gates) : room;
    s.c = s.xh + sizes[0];
    s.z = s.c + sizes[1];
    return s;
}

/* The packed weights as they are in predictions, with the bias; behind them what is kept. */
static size_t scratch_floats(const struct cdl_node *node, size_t rows) {
    const struct cdl_steps s = shape_of(node, rows);
    size_t sizes[3];
    return weight_floats(&s.gates) + (s.keeps ? sizes_of(&s, s.steps, sizes) : 0);
}

bool cdl_is_masked(const struct cdl_steps *s, size_t t, size_t sample) {
    if (!s->mask) return false;
    const size_t time = s->reverse ? s->steps - 1 - t : t, width = s->mask->width;
    return cdl_rows(s->mask, sample)[time / width * s->mask->ld + time % width] == 0.0f;
}

/* ---- forward ----------------------------------------------------------------------------------
 */

static void prepare(const struct cdl_node *node, const struct cdl_kernels *kernels, bool training) {
    (void)kernels;
    if (training) return; /* each step has other weights */
    const struct cdl_gates gates = gates_of(node);
    cdl_pack_gates(&gates, node->param[KERNEL], node->param[RECURRENT_KERNEL], node->scratch);
    cdl_pack_bias(&gates, node->param[BIAS], node->scratch + gates.rows * gates.columns);
}

/* The packed weights, the bias behind them; in training they are made here. */
static const float *weights_of(const struct cdl_node *node, const struct cdl_context *ctx,
                               const struct cdl_gates *gates, float *room) {
    if (!ctx->training) return node->scratch;
    cdl_pack_gates(gates, node->param[KERNEL], node->param[RECURRENT_KERNEL], room);
    cdl_pack_bias(gates, node->param[BIAS], room + gates->rows * gates->columns);
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
        cdl_activate(kernels, s->gate, m, 3 * CDL_LINE, z, CDL_PANEL, z, CDL_PANEL);
        cdl_activate(kernels, s->activation, m, CDL_LINE, z + 3 * CDL_LINE, CDL_PANEL,
                     z + 3 * CDL_LINE, CDL_PANEL);
        kernels->lstm_state(m, z, cdl_c_at(s, t, row) + unit, c, s->gates.lines);
        cdl_activate(kernels, s->activation, m, CDL_LINE, c, s->gates.lines, block, CDL_LINE);
        kernels->lstm_output(m, z, block, h, s->ld);
    } else {
        cdl_activate(kernels, s->gate, m, 2 * CDL_LINE, z, CDL_PANEL, z, CDL_PANEL);
        kernels->gru_candidate(m, z);
        cdl_activate(kernels, s->activation, m, CDL_LINE, z + 2 * CDL_LINE, CDL_PANEL,
                     z + 2 * CDL_LINE, CDL_PANEL);
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

/* Samples [first, first + m) through all steps, in rows from `row` on of what is kept. */
static void take(const struct cdl_steps *s, const struct cdl_context *ctx, const float *w,
                 size_t first, size_t row, size_t m, float *block) {
    const struct cdl_node *node = s->node;
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const size_t steps = s->steps, k = s->gates.rows;
    const float *bias = w + k * s->gates.columns;
    begin(s, first, row, m);
    for (size_t t = 0; t < steps; t++) {
        if (cdl_stopped(ctx)) return;
        float *xh = cdl_xh_at(s, t, row);
        ctx->kernels->copy_columns(m, x->width, cdl_rows(x, first) + cdl_step_offset(s, x, t),
                                   x->row_floats, xh, s->ld);
        for (size_t panel = 0; panel < s->panels; panel++) {
            const size_t column = panel * CDL_PANEL, width = cdl_gate_width(s, panel);
            ctx->kernels->gemm_rows(m, width, k, xh, s->ld, w + column * k, bias + column, 0,
                                    cdl_z_at(s, t, panel, row), width);
            step_cell(s, ctx, t, panel, row, m, block);
        }
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
    float *block = ctx->scratch, *room = block + CDL_STEP_SAMPLES * CDL_LINE;
    const float *w = weights_of(node, ctx, &gates, room);
    if (ctx->training) room += weight_floats(&gates);
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
    const size_t ahead = CDL_STEP_SAMPLES * CDL_LINE + (training ? weight_floats(&s.gates) : 0) +
                         (s.keeps ? 0 : sizes_of(&s, 1, sizes));
    return training ? cdl_max(ahead, cdl_recurrent_floats(node)) : ahead;
}

const struct cdl_op cdl_op_recurrent = {
    .table = "activations",
    .table_rows = CDL_N_ACTIVATIONS,
    .check = check,
    .scratch_floats = scratch_floats,
    .prepare = prepare,
    .flops = flops,
    .thread_floats = thread_floats,
    .forward = forward,
    .backward = cdl_recurrent_backward,
    .update = cdl_recurrent_update,
    .gives = gives,
    .all_inputs = true,
    .any_samples = true,
    .looks = true,
};
