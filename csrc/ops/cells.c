/* cells.c - the recurrent cells: rows of their gates, and a step each way from gates to states. */
#include "ops/gates.h"

enum { LANE = CDL_LINE };

static void activate(const struct cdl_kernels *kernels, int f, size_t m, size_t n, const float *x,
                     size_t ldx, float *y, size_t ldy) {
    static const float none[CDL_MAX_ROW_PARAMS];
    if (f != CDL_ACTIVATION_linear)
        kernels->activation[f](m, n, x, ldx, y, ldy, none);
    else if (x != y)
        kernels->copy_columns(m, n, x, ldx, y, ldy);
}

/* Activation `f` of some lanes of z, in place. */
static void gate(const struct cdl_cell_step *s, int f, size_t lane, size_t lanes) {
    activate(s->kernels, f, s->m, lanes * LANE, s->z + lane * LANE, CDL_PANEL, s->z + lane * LANE,
             CDL_PANEL);
}

/* dz = dy f'(y), for rows of y and dz that are as far apart. */
static void gradient(const struct cdl_cell_step *s, int f, size_t n, const float *y, size_t ldy,
                     const float *dy, size_t lddy, float *dz) {
    static const float none[CDL_MAX_ROW_PARAMS];
    if (f != CDL_ACTIVATION_linear)
        s->kernels->activation_gradient[f](
            s->m, n, (struct cdl_matrix){y, ldy}, (struct cdl_matrix){y, ldy},
            (struct cdl_matrix){dy, lddy}, (struct cdl_output){dz, ldy}, none);
    else if (dy != dz)
        s->kernels->copy_columns(s->m, n, dy, lddy, dz, ldy);
}

/* Lanes of z become the gradient, from what `room` has of them. */
static void gate_back(const struct cdl_cell_step *s, int f, size_t lane, size_t lanes) {
    float *z = s->z + lane * LANE;
    gradient(s, f, lanes * LANE, z, CDL_PANEL, s->room + lane * LANE, CDL_PANEL, z);
}

static void simple(const struct cdl_cell_step *s) {
    activate(s->kernels, s->activation, s->m, s->width, s->z, s->width, s->z, s->width);
    s->kernels->copy_columns(s->m, s->width, s->z, s->width, s->h, s->ldh);
}

static void simple_back(const struct cdl_cell_step *s) {
    gradient(s, s->activation, s->width, s->z, s->width, s->dh, s->ldd, s->z);
}

/* True for sigmoid and tanh, the usual activations, whose step is one kernel each way. */
static bool is_usual(const struct cdl_cell_step *s) {
    return s->gate == CDL_ACTIVATION_sigmoid && s->activation == CDL_ACTIVATION_tanh;
}

enum { I, F, O, G }; /* lanes of an LSTM */

static void lstm(const struct cdl_cell_step *s) {
    const struct cdl_kernels *kernels = s->kernels;
    if (is_usual(s)) {
        kernels->lstm_cell(s->m, s->z, s->c_before, s->c, s->ldc, s->h, s->ldh);
        return;
    }
    gate(s, s->gate, I, 3);
    gate(s, s->activation, G, 1);
    kernels->lstm_state(s->m, s->z, s->c_before, s->c, s->ldc);
    activate(kernels, s->activation, s->m, LANE, s->c, s->ldc, s->room, LANE);
    kernels->lstm_output(s->m, s->z, s->room, s->h, s->ldh);
}

static void lstm_back(const struct cdl_cell_step *s) {
    const struct cdl_kernels *kernels = s->kernels;
    float *t = s->room + s->m * CDL_PANEL, *dt = t + s->m * LANE;
    if (is_usual(s)) {
        kernels->lstm_cell_backward(s->m, s->z, s->c_before, s->c, s->ldc, s->dh, s->ldd, s->dc);
        return;
    }
    activate(kernels, s->activation, s->m, LANE, s->c, s->ldc, t, LANE);
    kernels->lstm_output_backward(s->m, s->z, s->dh, s->ldd, dt);
    gradient(s, s->activation, LANE, t, LANE, dt, LANE, dt);
    kernels->lstm_state_backward(s->m, s->z, t, dt, (struct cdl_matrix){s->c_before, s->ldc},
                                 (struct cdl_matrix){s->dh, s->ldd}, s->dc, s->room);
    gate_back(s, s->gate, I, 3);
    gate_back(s, s->activation, G, 1);
}

enum { N, Z, R, U }; /* lanes of a GRU */

static void gru_end(const struct cdl_cell_step *s) {
    gate(s, s->activation, N, 1);
    s->kernels->gru_output(s->m, s->z, s->h_before, s->h, s->ldh);
}

static void gru(const struct cdl_cell_step *s) {
    if (is_usual(s)) {
        s->kernels->gru_cell(s->m, s->z, s->h_before, s->h, s->ldh);
        return;
    }
    gate(s, s->gate, Z, 2);
    s->kernels->gru_candidate(s->m, s->z);
    gru_end(s);
}

/* Gradients by n's argument and by z, in `room`; dh becomes that by h of the step before. */
static void gru_begin_back(const struct cdl_cell_step *s) {
    s->kernels->gru_output_backward(s->m, s->z, s->h_before, s->ldh, s->dh, s->ldd, s->room);
    gradient(s, s->activation, LANE, s->z, CDL_PANEL, s->room, CDL_PANEL, s->room);
}

static void gru_back(const struct cdl_cell_step *s) {
    if (is_usual(s)) {
        s->kernels->gru_cell_backward(s->m, s->z, s->h_before, s->ldh, s->dh, s->ldd);
        return;
    }
    gru_begin_back(s);
    s->kernels->gru_candidate_backward(s->m, s->z, s->room);
    gate_back(s, s->gate, Z, 2);
    gate_back(s, CDL_ACTIVATION_linear, N, 1);
    gate_back(s, CDL_ACTIVATION_linear, U, 1);
}

/* r h, in the place of c. */
static void reset(const struct cdl_cell_step *s) {
    gate(s, s->gate, Z, 2);
    for (size_t i = 0; i < s->m; i++) {
        const float *r = s->z + i * CDL_PANEL + R * LANE, *h = s->h_before + i * s->ldh;
        for (size_t j = 0; j < LANE; j++) s->c_before[i * s->ldc + j] = r[j] * h[j];
    }
}

static void resets_first_back(const struct cdl_cell_step *s) {
    gru_begin_back(s);
    gate_back(s, s->gate, Z, 1);
    gate_back(s, CDL_ACTIVATION_linear, N, 1);
}

/* Gradients by r and by h from that by r h, which dc holds here, for a cell in which h U is no
 * gate. */
static void reset_back(const struct cdl_cell_step *s) {
    for (size_t i = 0; i < s->m; i++) {
        float *z = s->z + i * CDL_PANEL, *dh = s->dh + i * s->ldd;
        const float *h = s->h_before + i * s->ldh, *d = s->dc + i * s->ldd;
        for (size_t j = 0; j < LANE; j++) {
            dh[j] += d[j] * z[R * LANE + j];
            s->room[i * CDL_PANEL + R * LANE + j] = d[j] * h[j];
            z[U * LANE + j] = 0.0f;
        }
    }
    gate_back(s, s->gate, R, 1);
}

// clang-format off
const struct cdl_cell cdl_cells[CDL_N_CELLS] = {
    {.gates = 1, .biases = 1, .states = 1, .lanes = 1, .of_x = {0, 1}, .of_h = {0, 1},
     .forward = simple, .back = simple_back},
    {.gates = 4, .biases = 1, .states = 2, .lanes = 4, .gate = {[I] = 0, [F] = 1, [O] = 3, [G] = 2},
     .of_x = {I, 4}, .of_h = {I, 4}, .uses_c = true, .forward = lstm, .back = lstm_back},
    /* The reset gate multiplies h U alone. */
    {.gates = 3, .biases = 2, .states = 1, .lanes = 4, .gate = {[N] = 2, [Z] = 0, [R] = 1, [U] = 2},
     .of_x = {N, 3}, .of_h = {Z, 3}, .keeps_h = true, .forward = gru, .back = gru_back},
    /* It multiplies h, and U then that. */
    {.gates = 3, .biases = 1, .states = 1, .lanes = 4, .gate = {[N] = 2, [Z] = 0, [R] = 1, [U] = 2},
     .of_x = {N, 3}, .of_h = {Z, 3}, .keeps_h = true, .uses_c = true,
     .forward = gru_end, .back = resets_first_back, .reset = reset, .reset_back = reset_back},
};
// clang-format on
