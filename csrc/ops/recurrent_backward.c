/* recurrent_backward.c - a recurrent node's way back through time, and its weights' gradient. */
#include <string.h>

#include "ops/recurrent.h"

enum { KERNEL, RECURRENT_KERNEL, BIAS }; /* params */

/* ---- backward ---------------------------------------------------------------------------------
 */

/* Gradients on the way back of a group. d: lines of that of h, and behind it that of x if it is
 * wanted; dc that of c; held: of both, what masked samples had. */
struct back {
    const float *turned;
    size_t columns, ld; /* of d */
    float *d, *dc, *held, *dz, *t, *dt;
};

static size_t back_floats(const struct cdl_gates *gates, bool inputs) {
    const size_t columns = cdl_turned_columns(gates, inputs);
    return gates->rows * gates->columns + gates->columns * columns +
           CDL_STEP_SAMPLES * (cdl_stride(columns) + 3 * gates->lines + CDL_PANEL + 2 * CDL_LINE);
}

static void activate_back(const struct cdl_context *ctx, int f, size_t m, size_t n, const float *y,
                          size_t ldy, const float *dy, size_t lddy, float *dx, size_t lddx) {
    static const float none[CDL_MAX_ROW_PARAMS];
    if (f == CDL_ACTIVATION_linear) {
        if (dx != dy) ctx->kernels->copy_columns(m, n, dy, lddy, dx, lddx);
        return;
    }
    ctx->kernels->activation_gradient[f](m, n, y, ldy, y, ldy, dy, lddy, dx, lddx, none);
}

/* z of a panel becomes its gradient. */
static void step_cell_back(const struct cdl_steps *s, const struct cdl_context *ctx,
                           const struct back *b, size_t t, size_t panel, size_t row, size_t m) {
    const struct cdl_kernels *kernels = ctx->kernels;
    float *z = cdl_z_at(s, t, panel, row);
    if (s->gates.cell == CDL_CELL_SIMPLE) {
        const size_t width = cdl_gate_width(s, panel);
        activate_back(ctx, s->activation, m, width, z, width, b->d + panel * CDL_PANEL, b->ld, z,
                      width);
        return;
    }
    const size_t unit = panel * CDL_LINE, lines = s->gates.lines;
    float *dh = b->d + unit, *dz = b->dz;
    if (s->gates.cell == CDL_CELL_LSTM) {
        cdl_activate(kernels, s->activation, m, CDL_LINE, cdl_c_at(s, t + 1, row) + unit, lines,
                     b->t, CDL_LINE);
        kernels->lstm_output_backward(m, z, dh, b->ld, b->dt);
        activate_back(ctx, s->activation, m, CDL_LINE, b->t, CDL_LINE, b->dt, CDL_LINE, b->dt,
                      CDL_LINE);
        kernels->lstm_state_backward(m, z, b->t, b->dt, cdl_c_at(s, t, row) + unit, lines, dh,
                                     b->ld, b->dc + unit, dz);
        activate_back(ctx, s->gate, m, 3 * CDL_LINE, z, CDL_PANEL, dz, CDL_PANEL, z, CDL_PANEL);
        z += 3 * CDL_LINE, dz += 3 * CDL_LINE;
        activate_back(ctx, s->activation, m, CDL_LINE, z, CDL_PANEL, dz, CDL_PANEL, z, CDL_PANEL);
        return;
    }
    enum { N = 2 * CDL_LINE };
    kernels->gru_output_backward(m, z, cdl_h_at(s, t, row) + unit, s->ld, dh, b->ld, dz);
    activate_back(ctx, s->activation, m, CDL_LINE, z + N, CDL_PANEL, dz + N, CDL_PANEL, dz + N,
                  CDL_PANEL);
    kernels->gru_candidate_backward(m, z, dz);
    activate_back(ctx, s->gate, m, N, z, CDL_PANEL, dz, CDL_PANEL, z, CDL_PANEL);
    kernels->copy_columns(m, N, dz + N, CDL_PANEL, z + N, CDL_PANEL);
}

/* Masked samples: their gates got nothing, and what came goes on. Before the step's product, and
 * behind it. */
static void save_held(const struct cdl_steps *s, const struct back *b, size_t t, size_t first,
                      size_t m) {
    const size_t lines = s->gates.lines;
    for (size_t i = 0; i < m && s->mask; i++) {
        if (!cdl_is_masked(s, t, first + i)) continue;
        memcpy(b->held + 2 * i * lines, b->d + i * b->ld, lines * sizeof(float));
        if (s->gates.cell == CDL_CELL_LSTM)
            memcpy(b->held + (2 * i + 1) * lines, b->dc + i * lines, lines * sizeof(float));
    }
}

static void clear_held(const struct cdl_steps *s, const struct back *b, size_t t, size_t first,
                       size_t row, size_t m) {
    const size_t lines = s->gates.lines;
    for (size_t i = 0; i < m && s->mask; i++) {
        if (!cdl_is_masked(s, t, first + i)) continue;
        for (size_t p = 0; p < s->panels; p++)
            memset(cdl_z_at(s, t, p, row + i), 0, cdl_gate_width(s, p) * sizeof(float));
        if (s->gates.cell == CDL_CELL_LSTM)
            memcpy(b->dc + i * lines, b->held + (2 * i + 1) * lines, lines * sizeof(float));
    }
}

static void restore_held(const struct cdl_steps *s, const struct back *b, size_t t, size_t first,
                         size_t m) {
    const size_t lines = s->gates.lines;
    for (size_t i = 0; i < m && s->mask; i++) {
        if (cdl_is_masked(s, t, first + i))
            memcpy(b->d + i * b->ld, b->held + 2 * i * lines, lines * sizeof(float));
    }
}

/* Lines of a gradient, single columns too, added to rows of whole lines. */
static void add_lines(const struct cdl_kernels *kernels, size_t m, size_t width, const float *from,
                      size_t step, float *to, size_t ld) {
    for (size_t i = 0; i < m; i++) {
        if (width == 1)
            to[i * ld] += from[i * step];
        else
            kernels->add(cdl_padded(width), from + i * step, to + i * ld);
    }
}

/* d = z times both kernels' transpose; a GRU's h has got something already. */
static void multiply_back(const struct cdl_steps *s, const struct cdl_context *ctx,
                          const struct back *b, size_t t, size_t row, size_t m) {
    static const float zeros[CDL_PANEL];
    const size_t lines = s->gates.lines;
    const bool adds = s->gates.cell == CDL_CELL_GRU;
    for (size_t i = 0; i < m && adds; i++)
        memset(b->d + i * b->ld + lines, 0, (b->columns - lines) * sizeof(float));
    for (size_t column = 0; column < b->columns; column += CDL_PANEL) {
        const size_t width = cdl_panel_width(b->columns, column);
        const float *w = b->turned + column * s->gates.columns;
        float *d = b->d + column;
        for (size_t p = 0; p < s->panels; p++) {
            const bool is_new = p == 0 && !adds;
            const size_t depth = cdl_gate_width(s, p);
            ctx->kernels->gemm_rows(m, width, depth, cdl_z_at(s, t, p, row), depth,
                                    w + p * CDL_PANEL * width, is_new ? zeros : d,
                                    is_new ? 0 : b->ld, d, b->ld);
        }
    }
}

static void take_back(const struct cdl_steps *s, const struct cdl_context *ctx,
                      const struct back *b, size_t first, size_t m) {
    const struct cdl_node *node = s->node;
    const struct cdl_kernels *kernels = ctx->kernels;
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const struct cdl_tensor *c = node->n_out > 1 ? node->out[1] : NULL;
    const size_t lines = s->gates.lines, units = s->gates.units;
    memset(b->d, 0, m * b->ld * sizeof(float));
    memset(b->dc, 0, m * lines * sizeof(float));
    if (c && c->grad)
        add_lines(kernels, m, units, cdl_grad_rows(c, first), c->row_floats, b->dc, lines);
    for (size_t t = x->lines; t-- > 0;) {
        if (cdl_stopped(ctx)) return;
        if (y->grad && (y->lines > 1 || t + 1 == x->lines)) {
            const float *dy = cdl_grad_rows(y, first) + (y->lines > 1 ? t * y->ld : 0);
            add_lines(kernels, m, units, dy, y->row_floats, b->d, b->ld);
        }
        save_held(s, b, t, first, m);
        for (size_t p = 0; p < s->panels; p++) step_cell_back(s, ctx, b, t, p, first, m);
        clear_held(s, b, t, first, first, m);
        multiply_back(s, ctx, b, t, first, m);
        restore_held(s, b, t, first, m);
        if (node->needs[0])
            kernels->copy_columns(m, cdl_padded(x->width), b->d + lines, b->ld,
                                  cdl_grad_rows(x, first) + cdl_step_offset(s, x, t),
                                  x->row_floats);
    }
    const int k = s->state;
    if (!k) return;
    if (node->needs[k])
        kernels->copy_columns(m, cdl_padded(units), b->d, b->ld, cdl_grad_rows(node->in[k], first),
                              node->in[k]->row_floats);
    if (s->gates.cell == CDL_CELL_LSTM && node->needs[k + 1])
        kernels->copy_columns(m, cdl_padded(units), b->dc, lines,
                              cdl_grad_rows(node->in[k + 1], first), node->in[k + 1]->row_floats);
}

void cdl_recurrent_backward(const struct cdl_node *node, const struct cdl_context *ctx,
                            size_t first, size_t last) {
    const struct cdl_steps s = cdl_steps_of(node, ctx->rows, NULL);
    const struct cdl_gates *gates = &s.gates;
    const size_t columns = cdl_turned_columns(gates, node->needs[0]);
    float *packed = ctx->scratch, *turned = packed + gates->rows * gates->columns;
    cdl_pack_gates(gates, node->param[KERNEL], node->param[RECURRENT_KERNEL], packed);
    cdl_turn_gates(gates, ctx->kernels, packed, node->needs[0], turned);
    struct back b = {.turned = turned, .columns = columns, .ld = cdl_stride(columns)};
    b.d = turned + gates->columns * columns;
    b.dc = b.d + CDL_STEP_SAMPLES * b.ld;
    b.held = b.dc + CDL_STEP_SAMPLES * gates->lines;
    b.dz = b.held + CDL_STEP_SAMPLES * 2 * gates->lines;
    b.t = b.dz + CDL_STEP_SAMPLES * CDL_PANEL;
    b.dt = b.t + CDL_STEP_SAMPLES * CDL_LINE;
    const size_t group = cdl_group_of(last - first);
    for (size_t m; first < last; first += m) {
        m = cdl_min(last - first, group);
        take_back(&s, ctx, &b, first, m);
    }
}

/* ---- update: [x h]^T dz, by rows of the kernels -----------------------------------------------
 */

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

static size_t learn_floats(const struct cdl_gates *gates) {
    const size_t parts = cdl_min(parts_of(gates), parts_together(gates));
    return CDL_THREAD_SCRATCH + (parts * CDL_CHUNK + 1) * gates->columns;
}

/* Adds what steps [t, t + n) of samples [row, row + rows) give to some parts, and to the bias. */
static void add_steps(const struct cdl_steps *s, const struct cdl_kernels *kernels, size_t first,
                      size_t last, size_t t, size_t n, size_t row, size_t rows, float *sums,
                      float *bias) {
    const struct cdl_taps taps = {.n = {n, 1, 1},
                                  .a = {(ptrdiff_t)(s->rows * s->ld)},
                                  .b = {(ptrdiff_t)(s->panels * s->rows * CDL_PANEL)},
                                  .k = rows};
    for (size_t p = 0; p < s->panels; p++) {
        const size_t width = cdl_gate_width(s, p), column = p * CDL_PANEL;
        const float *dz = cdl_z_at(s, t, p, row);
        for (size_t i = first; i < last; i++) {
            const struct part part = part_at(&s->gates, i);
            float *g = sums + (i - first) * CDL_CHUNK * s->gates.columns + column * part.rows;
            kernels->gemm_pairs(part.rows, width, &taps,
                                cdl_xh_at(s, t, row) + part.above + part.row, 1, s->ld, dz, width,
                                g, width);
        }
        for (size_t u = 0; u < n && bias; u++) {
            float part[CDL_PANEL];
            kernels->column_sums(rows, width, dz + u * s->panels * s->rows * CDL_PANEL, width,
                                 part);
            for (size_t j = 0; j < width; j++) bias[column + j] += part[j];
        }
    }
}

/* Their sums over all steps of all samples. */
static void sum_parts(const struct cdl_steps *s, const struct cdl_context *ctx, size_t first,
                      size_t last, float *sums, float *bias) {
    const size_t steps = s->steps, columns = s->gates.columns;
    memset(sums, 0, (last - first) * CDL_CHUNK * columns * sizeof(float));
    if (bias) memset(bias, 0, columns * sizeof(float));
    const size_t each = cdl_max(1, TOGETHER / s->rows);
    for (size_t t = 0, n; t < steps; t += n) {
        if (cdl_stopped(ctx)) return;
        n = cdl_min(steps - t, each);
        for (size_t row = 0, rows; row < s->rows; row += rows) {
            rows = cdl_min(s->rows - row, TOGETHER);
            add_steps(s, ctx->kernels, first, last, t, n, row, rows, sums, bias);
        }
    }
}

static void learn_part(const struct cdl_steps *s, const struct cdl_context *ctx, struct part part,
                       const float *sums, float *g) {
    struct cdl_trained *trained = s->node->trained[part.recurrent ? RECURRENT_KERNEL : KERNEL];
    for (size_t column = 0; column < trained->param->cols; column += CDL_PANEL) {
        const struct cdl_block block = {.column = column,
                                        .row = part.row,
                                        .rows = part.rows,
                                        .width = cdl_panel_width(trained->param->cols, column)};
        cdl_unpack_block(&s->gates, part.recurrent, sums, part.rows, 0, block, g);
        cdl_learn(trained, ctx, block, g);
    }
}

static void learn_bias(const struct cdl_steps *s, const struct cdl_context *ctx, const float *sums,
                       float *g) {
    struct cdl_trained *trained = s->node->trained[BIAS];
    for (size_t i = 0; i < cdl_blocks(trained->param); i++) {
        const struct cdl_block block = cdl_block_at(trained->param, i);
        for (size_t row = 0; row < block.rows; row++) {
            const struct cdl_block line = {block.column, row, 1, block.width};
            cdl_unpack_block(&s->gates, row > 0, sums, 1, 0, line, g + row * block.width);
        }
        cdl_learn(trained, ctx, block, g);
    }
}

void cdl_recurrent_update(const struct cdl_node *node, const struct cdl_context *ctx,
                          float *scratch, int thread, int n_threads) {
    const struct cdl_steps s = cdl_steps_of(node, ctx->rows, NULL);
    const struct cdl_gates *gates = &s.gates;
    const size_t parts = parts_of(gates);
    const size_t end = parts * (size_t)(thread + 1) / (size_t)n_threads;
    float *sum = scratch + CDL_THREAD_SCRATCH, *sums = sum + gates->columns;
    for (size_t i = parts * (size_t)thread / (size_t)n_threads, last; i < end; i = last) {
        last = cdl_min(end, i + parts_together(gates));
        float *bias = i == 0 && node->trained[BIAS] ? sum : NULL;
        sum_parts(&s, ctx, i, last, sums, bias);
        if (cdl_stopped(ctx)) return;
        if (bias) learn_bias(&s, ctx, bias, scratch);
        for (size_t k = i; k < last; k++) {
            const struct part part = part_at(gates, k);
            if (node->trained[part.recurrent ? RECURRENT_KERNEL : KERNEL])
                learn_part(&s, ctx, part, sums + (k - i) * CDL_CHUNK * gates->columns, scratch);
        }
    }
}

size_t cdl_recurrent_floats(const struct cdl_node *node) {
    const struct cdl_gates gates = cdl_steps_of(node, 1, NULL).gates;
    return cdl_max(back_floats(&gates, node->needs[0]), learn_floats(&gates));
}
