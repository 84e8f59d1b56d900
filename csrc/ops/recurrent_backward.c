/* recurrent_backward.c - a recurrent node's way back through time. */
#if !defined(__clang__) /* as in gates.c */
#pragma GCC optimize("Os")
#endif
#include <string.h>

#include "ops/recurrent.h"

enum { KERNEL, RECURRENT_KERNEL }; /* params */

/* ---- backward ---------------------------------------------------------------------------------
 */

/* Gradients on the way back of a group. d: lines of that of h, and behind it that of x if it is
 * wanted; dc that of c; held: of both, what masked samples had. */
struct back {
    const float *turned;
    size_t columns, ld; /* of d */
    float *d, *dc, *held, *dz, *t, *dt;
    float *of_gate;   /* lines as those of d: what one gate gives */
    float *z, *pairs; /* where products are of bfloat16: gates of a step, and what is turned */
};

static size_t back_floats(const struct cdl_steps *s) {
    const struct cdl_gates *gates = &s->gates;
    const size_t columns = cdl_turned_columns(gates, s->node->needs[0]);
    const size_t low = cdl_low_floats(gates->columns, columns) +
                       CDL_STEP_SAMPLES * cdl_bf16_stride(gates->columns) / 2;
    return (s->low ? low : 0) + gates->rows * gates->columns + gates->columns * columns +
           CDL_STEP_SAMPLES *
               (2 * cdl_stride(columns) + 3 * gates->lines + CDL_PANEL + 2 * CDL_LINE);
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

enum { Z = CDL_LINE, R = 2 * CDL_LINE, U = 3 * CDL_LINE }; /* lanes of a GRU; n is the first */

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
    if (cdl_is_usual(s)) {
        kernels->lstm_cell_backward(m, z, cdl_c_at(s, t, row) + unit,
                                    cdl_c_at(s, t + 1, row) + unit, lines, dh, b->ld, b->dc + unit);
        return;
    }
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
    kernels->gru_output_backward(m, z, cdl_h_at(s, t, row) + unit, s->ld, dh, b->ld, dz);
    activate_back(ctx, s->activation, m, CDL_LINE, z, CDL_PANEL, dz, CDL_PANEL, dz, CDL_PANEL);
    if (s->gates.cell == CDL_CELL_GRU) kernels->gru_candidate_backward(m, z, dz);
    /* Of a cell that resets first r gets its own behind this, and h U is no gate. */
    const size_t gates = s->gates.cell == CDL_CELL_GRU ? 2 * CDL_LINE : CDL_LINE;
    activate_back(ctx, s->gate, m, gates, z + Z, CDL_PANEL, dz + Z, CDL_PANEL, z + Z, CDL_PANEL);
    kernels->copy_columns(m, CDL_LINE, dz, CDL_PANEL, z, CDL_PANEL);
    if (s->gates.cell == CDL_CELL_GRU)
        kernels->copy_columns(m, CDL_LINE, dz + U, CDL_PANEL, z + U, CDL_PANEL);
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

static const float zeros[CDL_PANEL];

/* to = lanes of z, times the kernels' transpose from lane `of` on, for columns [0, columns) of it;
 * added to what is there if it `adds`. */
static void multiply_lanes(const struct cdl_steps *s, const struct cdl_context *ctx,
                           const struct back *b, size_t t, size_t row, size_t m, size_t lane,
                           size_t of, size_t n, size_t first, size_t columns, bool adds,
                           float *to) {
    for (size_t column = first; column < columns; column += CDL_PANEL) {
        const size_t width = cdl_panel_width(b->columns, column);
        const float *w = b->turned + column * s->gates.columns;
        for (size_t p = 0; p < s->panels; p++) {
            const bool is_new = p == 0 && !adds;
            const size_t all = cdl_gate_width(s, p);
            const size_t depth = cdl_lanes(s) == 1 ? all : n * CDL_LINE;
            if (column == 0 && t > 0 && width == CDL_PANEL && depth == CDL_PANEL) {
                const float *ahead = cdl_z_at(s, t - 1, p, row); /* the cells wait for it */
                ctx->kernels->gemm_rows_prefetch(m, depth, cdl_z_at(s, t, p, row), all,
                                                 w + p * CDL_PANEL * width, is_new ? zeros : to,
                                                 is_new ? 0 : b->ld, to, b->ld, ahead,
                                                 ahead + m * CDL_PANEL);
                continue;
            }
            ctx->kernels->gemm_rows(m, width, depth, cdl_z_at(s, t, p, row) + lane * CDL_LINE, all,
                                    w + (p * CDL_PANEL + of * CDL_LINE) * width,
                                    is_new ? zeros : to + column, is_new ? 0 : b->ld, to + column,
                                    b->ld);
        }
    }
}

/* The same with all lanes that are not zeros in the transpose: those of h, or of x, or, in a panel
 * of both, all. */
static void multiply_all(const struct cdl_steps *s, const struct cdl_context *ctx,
                         const struct back *b, size_t t, size_t row, size_t m, bool adds) {
    for (size_t column = 0; column < b->columns; column += CDL_PANEL) {
        const size_t end = cdl_min(column + CDL_PANEL, b->columns), lines = s->gates.lines;
        struct cdl_lanes lanes = cdl_lanes_of(s->gates.cell, end <= lines);
        if (column < lines && lines < end) lanes = (struct cdl_lanes){0, CDL_LANES};
        multiply_lanes(s, ctx, b, t, row, m, lanes.first, lanes.first, lanes.n, column, end, adds,
                       b->d);
    }
}

/* d = z times both kernels' transpose; a GRU's h has got something already. */
static void multiply_back(const struct cdl_steps *s, const struct cdl_context *ctx,
                          const struct back *b, size_t t, size_t first, size_t m) {
    const size_t lines = s->gates.lines, inputs = s->gates.inputs, units = s->gates.units;
    const bool adds = s->gates.cell == CDL_CELL_GRU || s->gates.cell == CDL_CELL_RESET_FIRST;
    for (size_t i = 0; i < m && (adds || cdl_drops(s)); i++) {
        const size_t kept = adds ? lines : 0;
        memset(b->d + i * b->ld + kept, 0, (b->columns - kept) * sizeof(float));
    }
    if (s->low) {
        const size_t k = s->gates.columns;
        for (size_t p = 0; p < s->panels; p++) {
            const size_t all = cdl_gate_width(s, p);
            ctx->kernels->bf16_from_floats(m, all, cdl_z_at(s, t, p, first), all,
                                           cdl_bf16(b->z) + p * CDL_PANEL, cdl_bf16_stride(k));
        }
        for (size_t column = 0; column < b->columns; column += CDL_PANEL)
            cdl_multiply_low(ctx->kernels, m, cdl_panel_width(b->columns, column), k, b->z,
                             b->pairs, column, adds ? b->d + column : zeros, adds ? b->ld : 0,
                             b->d + column, b->ld);
        return;
    }
    if (!cdl_drops(s)) {
        multiply_all(s, ctx, b, t, first, m, adds);
        return;
    }
    for (size_t lane = 0; lane < cdl_lanes(s); lane++) {
        const size_t gate = cdl_gate_of(s->gates.cell, lane);
        multiply_lanes(s, ctx, b, t, first, m, lane, lane, 1, 0, b->columns, false, b->of_gate);
        for (size_t i = 0; i < m; i++) {
            const float *from = b->of_gate + i * b->ld;
            float *to = b->d + i * b->ld;
            const float *h = s->h_drop ? cdl_rows(s->h_drop, first + i) + gate * units : NULL;
            const float *x = s->x_drop ? cdl_rows(s->x_drop, first + i) + gate * inputs : NULL;
            for (size_t j = 0; j < units; j++) to[j] += h ? from[j] * h[j] : from[j];
            for (size_t j = 0; j < inputs && b->columns > lines; j++)
                to[lines + j] += x ? from[lines + j] * x[j] : from[lines + j];
        }
    }
}

/* Of a cell that resets first, from n's gradient: that of r, and of h through r h. */
static void reset_back(const struct cdl_steps *s, const struct cdl_context *ctx,
                       const struct back *b, size_t t, size_t first, size_t m) {
    const size_t units = s->gates.units;
    multiply_lanes(s, ctx, b, t, first, m, 0, CDL_LANES - 1, 1, 0, s->gates.lines, false,
                   b->of_gate);
    for (size_t i = 0; i < m && s->h_drop; i++) {
        const float *factors = cdl_rows(s->h_drop, first + i) + 2 * units;
        for (size_t j = 0; j < units; j++) b->of_gate[i * b->ld + j] *= factors[j];
    }
    for (size_t p = 0; p < s->panels; p++) {
        float *z = cdl_z_at(s, t, p, first);
        for (size_t i = 0; i < m; i++) {
            const float *h = cdl_h_at(s, t, first + i) + p * CDL_LINE;
            const float *d = b->of_gate + i * b->ld + p * CDL_LINE;
            float *dh = b->d + i * b->ld + p * CDL_LINE, *r = z + i * CDL_PANEL + R;
            for (size_t j = 0; j < CDL_LINE; j++) {
                dh[j] += d[j] * r[j];
                b->dz[i * CDL_LINE + j] = d[j] * h[j];
                r[U - R + j] = 0.0f; /* h U has been no gate of its own */
            }
        }
        activate_back(ctx, s->gate, m, CDL_LINE, z + R, CDL_PANEL, b->dz, CDL_LINE, z + R,
                      CDL_PANEL);
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
        if (s->gates.cell == CDL_CELL_RESET_FIRST) reset_back(s, ctx, b, t, first, m);
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
    b.of_gate = b.dz + CDL_STEP_SAMPLES * CDL_PANEL;
    b.t = b.of_gate + CDL_STEP_SAMPLES * b.ld;
    b.dt = b.t + CDL_STEP_SAMPLES * CDL_LINE;
    b.z = b.dt + CDL_STEP_SAMPLES * CDL_LINE;
    b.pairs = b.z + CDL_STEP_SAMPLES * cdl_bf16_stride(gates->columns) / 2;
    if (s.low) cdl_pack_low(ctx->kernels, gates->columns, columns, turned, b.pairs);
    const size_t group = cdl_group_of(last - first);
    for (size_t m; first < last; first += m) {
        m = cdl_min(last - first, group);
        take_back(&s, ctx, &b, first, m);
    }
}

size_t cdl_recurrent_floats(const struct cdl_steps *s) {
    return cdl_max(back_floats(s), cdl_recurrent_update_floats(s));
}
