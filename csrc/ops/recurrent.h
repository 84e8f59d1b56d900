/* recurrent.h - a recurrent node and its memory of the steps, for both passes. */
#pragma once

#include "ops/gates.h"

/* Most samples that go through all steps together: a panel's gates of a step fill a third of L1. */
enum { CDL_STEP_SAMPLES = 64 };

/* Offsets in a node's scratch. Derived from the weights: packed kernels (at 0), the bias, and the
 * kernels' transpose; low: of bfloat16. Then what steps keep, and the slots. */
struct cdl_layout {
    size_t bias, low, transposed, transposed_low, kept, slots, all;
    size_t transposed_columns; /* 0: no way back */
    size_t slot;               /* floats of one; 0: there are none */
};

/* All steps [0, T) of a batch if there is a way back, else this step and the next one. xh: lines of
 * x and of the h before the step, T + 1 of them; c the same; z: the gates, a panel after the other,
 * and backward their gradient. */
struct cdl_steps {
    const struct cdl_node *node;
    struct cdl_gates gates;
    struct cdl_layout at;
    bool reverse, keeps;
    bool low; /* products are of bfloat16, by tiles: h and gradients are rounded as factors alone */
    const struct cdl_tensor *mask;            /* or NULL */
    const struct cdl_tensor *x_drop, *h_drop; /* factors of x and h for each gate, or NULL */
    bool apart; /* all panels' gates of a step stand beside each other before the cells go on */
    int state;  /* which input h is, and c behind it; 0: they begin as zeros */
    size_t steps, kept; /* kept: all, or the one at work */
    size_t rows, ld;    /* rows: lines of a step in a block; ld: of xh */
    float *xh, *c, *z;
};

/* The steps of a batch of `rows` samples; `room`: memory for numbers that are not kept. */
struct cdl_steps cdl_steps_of(const struct cdl_node *node, size_t rows, float *room);

/* Samples [first, first + m) at step t, in rows from `row` on of what is kept. */
struct cdl_time_step {
    const struct cdl_steps *s;
    const struct cdl_context *ctx;
    size_t first, row, m, t;
    float *room; /* forward: rows as those of xh; backward: of the slots */
};

/* Number of samples from `first` on, before `last`, that go through the steps together: whole
 * blocks if there is a backward pass and more samples follow; groups of about the same size. */
static inline size_t cdl_together(const struct cdl_steps *s, size_t first, size_t last) {
    const size_t groups = (last - first + CDL_STEP_SAMPLES - 1) / CDL_STEP_SAMPLES;
    const size_t each = (last - first + groups - 1) / groups, begun = first % CDL_ROW_BLOCK;
    const size_t blocks = cdl_round_up(begun + each, CDL_ROW_BLOCK) - begun;
    return cdl_min(s->keeps ? cdl_min(blocks, CDL_STEP_SAMPLES - begun) : each, last - first);
}

/* A group's samples of one block, from its sample `at` on, where there is a way back; else all. */
static inline struct cdl_time_step cdl_block_from(const struct cdl_time_step *g, size_t at) {
    struct cdl_time_step b = *g;
    const size_t left = CDL_ROW_BLOCK - (g->row + at) % CDL_ROW_BLOCK;
    b.first += at, b.row += at, b.room += at * g->s->ld;
    b.m = g->s->keeps ? cdl_min(g->m - at, left) : g->m - at;
    return b;
}
#define CDL_BLOCKS_OF(B, G)                                                                        \
    for (struct cdl_time_step B = cdl_block_from(G, 0); B.m > 0;                                   \
         B = cdl_block_from(G, B.first + B.m - (G)->first))

/* Line of step t of sample `row`, which counts from the first of its group in predictions. The
 * lines of a block of samples lie together, evenly spaced, so no thread prefetches another's. */
static inline size_t cdl_line_at(const struct cdl_steps *s, size_t steps, size_t t, size_t row) {
    if (!s->keeps) return t % steps * s->rows + row;
    return (row / CDL_ROW_BLOCK * steps + t) * s->rows + row % CDL_ROW_BLOCK;
}
static inline float *cdl_xh_at(const struct cdl_steps *s, size_t t, size_t row) {
    return s->xh + cdl_line_at(s, s->kept + 1, t, row) * s->ld;
}
static inline float *cdl_h_at(const struct cdl_steps *s, size_t t, size_t row) {
    return cdl_xh_at(s, t, row) + s->gates.inputs;
}
static inline float *cdl_c_at(const struct cdl_steps *s, size_t t, size_t row) {
    return s->c + cdl_line_at(s, s->kept + 1, t, row) * s->gates.lines;
}
static inline float *cdl_z_at(const struct cdl_steps *s, size_t t, size_t panel, size_t row) {
    const size_t block = s->keeps ? row / CDL_ROW_BLOCK * s->gates.panels : 0;
    const size_t before = block + (s->keeps || s->apart ? panel : 0);
    const size_t line = s->keeps ? t * s->rows + row % CDL_ROW_BLOCK : row;
    return s->z + before * s->kept * s->rows * CDL_PANEL + line * cdl_gate_width(&s->gates, panel);
}

static inline bool cdl_drops(const struct cdl_steps *s) { return s->x_drop || s->h_drop; }

/* First unit of a panel, and floats of a lane of it. */
static inline size_t cdl_unit_at(const struct cdl_steps *s, size_t panel) {
    return panel * CDL_PANEL / s->gates.cell->lanes;
}
static inline size_t cdl_lane_width(const struct cdl_steps *s, size_t panel) {
    return cdl_gate_width(&s->gates, panel) / s->gates.cell->lanes;
}

/* A panel's step of the cell, without gradients. */
struct cdl_cell_step cdl_cell_step_of(const struct cdl_time_step *g, size_t panel, float *room);

/* A block's rows of xh as a gate sees them; `to`: rows as far apart. */
void cdl_drop(const struct cdl_time_step *g, size_t gate, float *to);

/* The factors of n's h, of a cell that resets first, times its r h, rows `ld` apart. */
void cdl_drop_reset(const struct cdl_time_step *g, float *rh, size_t ld);

static inline size_t cdl_step_offset(const struct cdl_steps *s, const struct cdl_tensor *value,
                                     size_t t) {
    return (s->reverse ? s->steps - 1 - t : t) * value->ld;
}

bool cdl_is_masked(const struct cdl_steps *s, size_t t, size_t sample);

/* Product p.c = p.init + rows times columns [column, column + p.n) of a matrix in panels of
 * bfloat16. */
static inline void cdl_multiply_low(const struct cdl_kernels *kernels, struct cdl_bf16_gemm p,
                                    const float *rows, const float *w, size_t column) {
    const size_t half = cdl_bf16_padded(p.k) / 2;
    p.a = (const uint16_t *)(const void *)rows, p.lda = cdl_bf16_stride(p.k), p.k = 2 * half;
    p.b = (const uint32_t *)(const void *)(w + column * half), p.step = half * CDL_BF16_LINE;
    kernels->gemm_bf16(&p);
}

/* recurrent_backward.c: the way back, and floats of a thread. */
void cdl_recurrent_backward(CDL_PASS);
size_t cdl_recurrent_backward_floats(const struct cdl_steps *s);

/* recurrent_update.c: the weights' gradient, and floats of a thread. It is the sum over blocks of
 * CDL_ROW_BLOCK samples in their order, each summed from zero over steps from the last on. A block
 * that a thread has whole is summed on the way back, while its gates are in cache, into its slot;
 * others during the update, and so are all where slots would be larger than what steps keep. */
cdl_update_rows_fn cdl_recurrent_update;
size_t cdl_recurrent_update_floats(const struct cdl_steps *s);

/* Floats of a slot, or 0, of a node whose block keeps so many. */
size_t cdl_slot_floats(const struct cdl_steps *s, size_t kept);

/* Slots of a group that begins its way back; what its step t, whose gates are gradients now, adds
 * to them; and floats that this needs of `room`. */
void cdl_begin_slots(const struct cdl_time_step *g);
void cdl_add_to_slots(const struct cdl_time_step *g);
size_t cdl_slot_room(const struct cdl_steps *s);
