/* gates.h - the weights of a recurrent cell in the order in which its steps read them.
 *
 * Users see the gates one behind the other, each as wide as the units. Here CDL_LINE units have
 * theirs side by side, in a panel: i f o g of an LSTM, n z r and h U of a GRU, whose reset gate
 * multiplies h U alone; a simple cell has no gates, and a panel is CDL_PANEL of its units. The
 * kernel's rows, which meet the inputs, stand above those of the recurrent kernel, so that [x h]
 * times this is what the gates are taken of. Units are padded to whole lines.
 */
#ifndef CDL_OPS_GATES_H
#define CDL_OPS_GATES_H

#include "learn/learn.h"
#include "ops/op.h"

/* The last: a GRU whose reset gate multiplies h, and U then that; nothing stays in its h U. */
enum cdl_cell { CDL_CELL_SIMPLE, CDL_CELL_LSTM, CDL_CELL_GRU, CDL_CELL_RESET_FIRST, CDL_N_CELLS };

enum { CDL_LANES = CDL_PANEL / CDL_LINE }; /* of a panel, a gate each */

struct cdl_gates {
    enum cdl_cell cell;
    size_t inputs, units, lines; /* lines: units and pads */
    size_t rows, columns;        /* of both kernels as one matrix in this order */
};

struct cdl_gates cdl_gates_of(enum cdl_cell cell, size_t inputs, size_t units);

/* Gates as users see them: a kernel has as many columns for each unit; numbers of the bias. */
static inline size_t cdl_n_gates(enum cdl_cell cell) {
    return cell == CDL_CELL_SIMPLE ? 1 : cell == CDL_CELL_LSTM ? 4 : 3;
}
static inline size_t cdl_bias_size(enum cdl_cell cell, size_t units) {
    return cdl_n_gates(cell) * units * (cell == CDL_CELL_GRU ? 2 : 1);
}

/* Which of them a lane of a panel belongs to. */
static inline size_t cdl_gate_of(enum cdl_cell cell, size_t lane) {
    static const size_t lstm[CDL_LANES] = {0, 1, 3, 2}, gru[CDL_LANES] = {2, 0, 1, 2};
    return cell == CDL_CELL_SIMPLE ? 0 : cell == CDL_CELL_LSTM ? lstm[lane] : gru[lane];
}

/* Lanes of a panel that meet x, or h. The inputs' rows of a GRU have no weights in the last, and
 * those of h none in the first; where the reset gate multiplies h, the last meets r h alone. */
struct cdl_lanes {
    size_t first, n;
};
static inline struct cdl_lanes cdl_lanes_of(enum cdl_cell cell, bool recurrent) {
    const bool some = cell == CDL_CELL_GRU || cell == CDL_CELL_RESET_FIRST;
    const bool first = cell == CDL_CELL_RESET_FIRST && recurrent;
    return (struct cdl_lanes){some && recurrent, first ? CDL_LANES - 2 : CDL_LANES - some};
}

/* Both kernels in panels of gates->rows rows; the bias (may be NULL), of a GRU once for x W and
 * once for h U. */
void cdl_pack_gates(const struct cdl_gates *gates, const struct cdl_param *kernel,
                    const struct cdl_param *recurrent, float *packed);
void cdl_pack_bias(const struct cdl_gates *gates, const struct cdl_param *bias, float *packed);

/* Their transpose: gates->columns rows, in panels of columns: first the units', pads included, then
 * those of the inputs if they are wanted. */
static inline size_t cdl_turned_columns(const struct cdl_gates *gates, bool inputs) {
    return gates->lines + (inputs ? cdl_round_up(gates->inputs, CDL_LINE) : 0);
}
void cdl_turn_gates(const struct cdl_gates *gates, const struct cdl_kernels *kernels,
                    const float *packed, bool inputs, float *turned);

/* A block of a kernel's gradient, or of the bias, out of what is laid out as `packed`, which has
 * the block's rows alone, or is one row. */
void cdl_unpack_block(const struct cdl_gates *gates, bool recurrent, const float *packed,
                      struct cdl_block block, float *g);
void cdl_unpack_bias(const struct cdl_gates *gates, const float *packed, struct cdl_block block,
                     float *g);

#endif
