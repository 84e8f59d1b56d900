/* recurrent.h - a recurrent node and what it keeps of its steps: what both ways share. */
#ifndef CDL_OPS_RECURRENT_H
#define CDL_OPS_RECURRENT_H

#include "ops/gates.h"
#include "products/low.h"

/* Samples that go through all steps together: a panel's gates of one step fill a third of L1. */
enum { CDL_STEP_SAMPLES = 64 };

/* As many groups as needed, of about the same size. */
static inline size_t cdl_group_of(size_t samples) {
    const size_t groups = (samples + CDL_STEP_SAMPLES - 1) / CDL_STEP_SAMPLES;
    return groups ? (samples + groups - 1) / groups : 1;
}

/* All steps [0, T) of `rows` samples if there is a way back, else this step and the next one.
 * xh: lines of x and of the h before the step, T + 1 of them; c the same; z: the gates, a panel of
 * all samples after the other, and backward their gradient. Of a cell that resets first c has no
 * use: it holds r h. */
struct cdl_steps {
    const struct cdl_node *node;
    struct cdl_gates gates;
    int activation, gate;
    bool reverse, keeps;
    bool low; /* products are of bfloat16, by tiles: h and gradients are rounded as factors alone */
    const struct cdl_tensor *mask;            /* or NULL */
    const struct cdl_tensor *x_drop, *h_drop; /* factors of x and h for each gate, or NULL */
    bool apart; /* all panels' gates of a step stand beside each other before the cells go on */
    int state;  /* which input h is, and c behind it; 0: they begin as zeros */
    size_t steps, rows, panels, ld; /* ld: of xh */
    float *xh, *c, *z;
};

/* Of a batch of so many samples; `room`: for what is not kept. */
struct cdl_steps cdl_steps_of(const struct cdl_node *node, size_t rows, float *room);

/* Of sample `row`, or of what goes through predictions together. */
static inline float *cdl_xh_at(const struct cdl_steps *s, size_t t, size_t row) {
    return s->xh + ((s->keeps ? t : t % 2) * s->rows + row) * s->ld;
}
static inline float *cdl_h_at(const struct cdl_steps *s, size_t t, size_t row) {
    return cdl_xh_at(s, t, row) + s->gates.inputs;
}
static inline float *cdl_c_at(const struct cdl_steps *s, size_t t, size_t row) {
    return s->c + ((s->keeps ? t : t % 2) * s->rows + row) * s->gates.lines;
}
static inline size_t cdl_gate_width(const struct cdl_steps *s, size_t panel) {
    return cdl_panel_width(s->gates.columns, panel * CDL_PANEL);
}
static inline float *cdl_z_at(const struct cdl_steps *s, size_t t, size_t panel, size_t row) {
    const size_t before = (s->keeps ? t * s->panels : 0) + (s->keeps || s->apart ? panel : 0);
    return s->z + before * s->rows * CDL_PANEL + row * cdl_gate_width(s, panel);
}

static inline bool cdl_drops(const struct cdl_steps *s) { return s->x_drop || s->h_drop; }

/* m rows of xh, of samples from `first` on, as a gate sees them; `to`: rows as far apart. */
void cdl_drop(const struct cdl_steps *s, size_t gate, const float *xh, size_t first, size_t m,
              float *to);

/* An LSTM with the activations that most have, whose steps are a kernel each way. */
static inline bool cdl_is_usual(const struct cdl_steps *s) {
    return s->gates.cell == CDL_CELL_LSTM && s->gate == CDL_ACTIVATION_sigmoid &&
           s->activation == CDL_ACTIVATION_tanh;
}

/* Lanes of a panel that are products of their own where something drops, and their width. */
static inline size_t cdl_lanes(const struct cdl_steps *s) {
    return s->gates.cell == CDL_CELL_SIMPLE ? 1 : CDL_LANES;
}
static inline size_t cdl_lane_width(const struct cdl_steps *s, size_t panel) {
    return cdl_gate_width(s, panel) / cdl_lanes(s);
}

/* Where step t of a value's sample is: of its lines, or the value if it is that of the last step.
 */
static inline size_t cdl_step_offset(const struct cdl_steps *s, const struct cdl_tensor *value,
                                     size_t t) {
    return (s->reverse ? s->steps - 1 - t : t) * value->ld;
}

/* Whether the mask leaves step t of a sample out. */
bool cdl_is_masked(const struct cdl_steps *s, size_t t, size_t sample);

/* The activation of a row of the table that has no parameters. */
static inline void cdl_activate(const struct cdl_kernels *kernels, int f, size_t m, size_t n,
                                const float *x, size_t ldx, float *y, size_t ldy) {
    static const float none[CDL_MAX_ROW_PARAMS];
    if (f != CDL_ACTIVATION_linear)
        kernels->activation[f](m, n, x, ldx, y, ldy, none);
    else if (x != y)
        kernels->copy_columns(m, n, x, ldx, y, ldy);
}

/* A matrix of so many rows in panels, as products of bfloat16 read it; how many floats that takes.
 */
void cdl_pack_low(const struct cdl_kernels *kernels, size_t rows, size_t columns, const float *w,
                  float *to);
static inline size_t cdl_low_floats(size_t rows, size_t columns) {
    return cdl_bf16_padded(rows) / 2 * cdl_bf16_padded(columns);
}

/* c[m, width] = init + rows times columns [column, column + width) of that matrix. */
static inline void cdl_multiply_low(const struct cdl_kernels *kernels, size_t m, size_t width,
                                    size_t k, const float *rows, const float *w, size_t column,
                                    const float *init, size_t ldi, float *c, size_t ldc) {
    const size_t half = cdl_bf16_padded(k) / 2;
    kernels->gemm_bf16(m, width, 2 * half, (const uint16_t *)(const void *)rows, cdl_bf16_stride(k),
                       (const uint32_t *)(const void *)(w + column * half), half * CDL_BF16_LINE,
                       init, ldi, c, ldc);
}

/* recurrent_backward.c: the way back; and floats of a thread that it or the update needs, which
 * follow from a shape that has no memory yet. */
void cdl_recurrent_backward(const struct cdl_node *node, const struct cdl_context *ctx,
                            size_t first, size_t last);
size_t cdl_recurrent_floats(const struct cdl_steps *s);

/* recurrent_update.c: the weights' gradient, and floats of a thread. */
cdl_update_rows_fn cdl_recurrent_update;
size_t cdl_recurrent_update_floats(const struct cdl_steps *s);

#endif
