/* gates.h - recurrent cells, a row each, and their weights in the order in which steps read them.
 *
 * In the users' weights the columns of each gate are contiguous. Here the gates of CDL_LINE units
 * lie side by side in a panel, in the lanes that the cell's row names; a cell without gates has one
 * lane, as wide as the panel. Rows of the kernel stand above those of the recurrent kernel, so that
 * [x h] times this matrix gives the arguments of the gates. Units are padded to whole lines.
 */
#pragma once

#include "learn/learn.h"
#include "ops/op.h"

enum { CDL_LANES = CDL_PANEL / CDL_LINE }; /* most lanes of a panel */

struct cdl_lanes {
    size_t first, n;
};

/* A step of `m` samples for the units of a panel: rows of z are `width` apart, those of gradients
 * `ldd`. Backward, z are the gates and become the gradient by their arguments, and dh becomes that
 * by the h before without products. */
struct cdl_cell_step {
    const struct cdl_kernels *kernels;
    int activation, gate;
    size_t m, width;
    float *z, *h, *c; /* h and c behind the step */
    const float *h_before;
    float *c_before; /* of a cell that resets first: r h */
    size_t ldh, ldc;
    float *dh, *dc; /* dc: rows ldc apart; of r h: ldd */
    size_t ldd;
    float *room; /* m panels and two lines */
};
typedef void cdl_cell_fn(const struct cdl_cell_step *step);

/* Row of a cell. The gates' products with x are in lanes of_x of a panel and those with h in lanes
 * of_h, and the bias has numbers for the former, then (biases: 2) the latter. A cell that `resets`
 * has two products: r h, which reset() makes, meets the weights of the last lane, and the product
 * is added to the first. */
struct cdl_cell {
    size_t gates, biases, states, lanes;
    size_t gate[CDL_LANES]; /* gate of each lane, in the user's order */
    struct cdl_lanes of_x, of_h;
    bool keeps_h; /* h before the step is a part of h */
    bool uses_c;  /* c, or r h, has memory */
    cdl_cell_fn *forward, *back, *reset, *reset_back;
};
enum { CDL_N_CELLS = 4 };
extern const struct cdl_cell cdl_cells[CDL_N_CELLS]; /* in the order of the op's number */

struct cdl_gates {
    const struct cdl_cell *cell;
    size_t inputs, units, lines; /* lines: units and pads */
    size_t rows, columns;        /* of both kernels as one matrix in this order */
    size_t panels;
};

struct cdl_gates cdl_gates_of(const struct cdl_cell *cell, size_t inputs, size_t units);

/* Lanes that [x h] itself meets, of its rows of h. */
static inline struct cdl_lanes cdl_lanes_of_h(const struct cdl_cell *cell) {
    return (struct cdl_lanes){cell->of_h.first, cell->of_h.n - (cell->reset != NULL)};
}
static inline size_t cdl_gate_width(const struct cdl_gates *gates, size_t panel) {
    return cdl_panel_width(gates->columns, panel * CDL_PANEL);
}

/* A panel of both kernels, gates->rows rows, in `packed`, which has all of them; and its bias (may
 * be NULL). */
void cdl_pack_gates(const struct cdl_gates *gates, size_t panel, const struct cdl_param *kernel,
                    const struct cdl_param *recurrent, float *packed);
void cdl_pack_bias(const struct cdl_gates *gates, size_t panel, const struct cdl_param *bias,
                   float *packed);

/* Rows of the transpose that a panel of packed kernels makes. It has gates->columns rows, in panels
 * of columns: first the units', pads included, then those of the inputs if they are wanted. */
static inline size_t cdl_transposed_columns(const struct cdl_gates *gates, bool inputs) {
    return gates->lines + (inputs ? cdl_round_up(gates->inputs, CDL_LINE) : 0);
}
void cdl_turn_gates(const struct cdl_gates *gates, const struct cdl_kernels *kernels, size_t panel,
                    const float *packed, bool inputs, float *transposed);

/* A block of a kernel's gradient, or of the bias, out of what is laid out as `packed`, which has
 * the block's rows alone, or is one row. */
void cdl_unpack_block(const struct cdl_gates *gates, bool recurrent, const float *packed,
                      struct cdl_block block, float *g);
void cdl_unpack_bias(const struct cdl_gates *gates, const float *packed, struct cdl_block block,
                     float *g);
