/* gates.c - between a cell's weights as users see them and the order in which its steps read them.
 */
#if !defined(__clang__) /* kernels do the work; loops around them took 7 KB more of a wheel */
#pragma GCC optimize("Os")
#endif
#include "ops/gates.h"

#include <string.h>

struct cdl_gates cdl_gates_of(enum cdl_cell cell, size_t inputs, size_t units) {
    const size_t lines = cdl_round_up(units, CDL_LINE);
    return (struct cdl_gates){.cell = cell,
                              .inputs = inputs,
                              .units = units,
                              .lines = lines,
                              .rows = inputs + units,
                              .columns = cell == CDL_CELL_SIMPLE ? lines : 4 * lines};
}

/* Where a column of a kernel is; the return value: how many from it on stay side by side, in panels
 * of either order. */
static size_t place_of(const struct cdl_gates *gates, bool recurrent, size_t column, size_t *to) {
    const size_t unit = column % gates->units, gate = column / gates->units;
    const size_t left = cdl_min(gates->units - unit, CDL_PANEL - column % CDL_PANEL);
    if (gates->cell == CDL_CELL_SIMPLE) {
        *to = unit;
        return left;
    }
    size_t lane = recurrent ? CDL_LANES - 1 : 0; /* a GRU's h U of n is the last of two */
    while (cdl_gate_of(gates->cell, lane) != gate) lane = (lane + 1) % CDL_LANES;
    *to = unit / CDL_LINE * CDL_PANEL + lane * CDL_LINE + unit % CDL_LINE;
    return cdl_min(left, CDL_LINE - unit % CDL_LINE);
}

/* Column `column` of row `row` in panels of `rows` rows and `columns` columns. */
static size_t offset_in(size_t rows, size_t columns, size_t row, size_t column) {
    const size_t first = column / CDL_PANEL * CDL_PANEL;
    return first * rows + row * cdl_panel_width(columns, first) + column % CDL_PANEL;
}

static void pack(const struct cdl_gates *gates, const struct cdl_param *w, bool recurrent,
                 float *packed) {
    const size_t above = recurrent ? gates->inputs : 0;
    for (size_t column = 0, n, to; column < w->cols; column += n) {
        n = place_of(gates, recurrent, column, &to);
        const size_t step = cdl_panel_width(w->cols, column / CDL_PANEL * CDL_PANEL);
        const size_t width = cdl_panel_width(gates->columns, to / CDL_PANEL * CDL_PANEL);
        const float *from = w->w + offset_in(w->rows, w->cols, 0, column);
        float *at = packed + offset_in(gates->rows, gates->columns, above, to);
        for (size_t r = 0; r < w->rows; r++, from += step, at += width)
            memcpy(at, from, n * sizeof(float));
    }
}

void cdl_pack_gates(const struct cdl_gates *gates, const struct cdl_param *kernel,
                    const struct cdl_param *recurrent, float *packed) {
    memset(packed, 0, gates->rows * gates->columns * sizeof(float));
    pack(gates, kernel, false, packed);
    pack(gates, recurrent, true, packed);
}

/* Where number `at` of the bias is added. */
static size_t place_of_bias(const struct cdl_gates *gates, size_t at, size_t *to) {
    const size_t width = cdl_n_gates(gates->cell) * gates->units;
    return place_of(gates, at >= width, at % width, to);
}

void cdl_pack_bias(const struct cdl_gates *gates, const struct cdl_param *bias, float *packed) {
    memset(packed, 0, gates->columns * sizeof(float));
    for (size_t at = 0, n, to; bias && at < bias->cols; at += n) {
        n = place_of_bias(gates, at, &to);
        for (size_t j = 0; j < n; j++) packed[to + j] += bias->w[at + j];
    }
}

void cdl_turn_gates(const struct cdl_gates *gates, const struct cdl_kernels *kernels,
                    const float *packed, bool inputs, float *turned) {
    const size_t columns = cdl_turned_columns(gates, inputs);
    memset(turned, 0, gates->columns * columns * sizeof(float));
    for (size_t column = 0, live; column < columns; column += live) {
        const bool unit = column < gates->lines;
        const size_t row = unit ? gates->inputs + column : column - gates->lines;
        const size_t left = (unit ? gates->rows : gates->inputs) - row;
        const size_t end = unit ? gates->lines : columns;
        const size_t first = column / CDL_PANEL * CDL_PANEL;
        const size_t width = cdl_panel_width(columns, first);
        live = cdl_min(end, first + width) - column;
        for (size_t p = 0; p < gates->columns; p += CDL_PANEL) {
            const size_t gate_width = cdl_panel_width(gates->columns, p);
            kernels->transpose(cdl_min(live, left), gate_width,
                               packed + p * gates->rows + row * gate_width, gate_width,
                               turned + first * gates->columns + p * width + column - first, width);
        }
    }
}

void cdl_unpack_block(const struct cdl_gates *gates, bool recurrent, const float *packed,
                      struct cdl_block block, float *g) {
    const size_t cols = cdl_n_gates(gates->cell) * gates->units;
    const size_t end = cdl_min(block.column + block.width, cols);
    memset(g, 0, block.rows * block.width * sizeof(float));
    for (size_t column = block.column, n, to; column < end; column += n) {
        n = cdl_min(place_of(gates, recurrent, column, &to), end - column);
        const size_t width = cdl_panel_width(gates->columns, to / CDL_PANEL * CDL_PANEL);
        const float *from = packed + offset_in(block.rows, gates->columns, 0, to);
        float *at = g + column - block.column;
        for (size_t r = 0; r < block.rows; r++, from += width, at += block.width)
            memcpy(at, from, n * sizeof(float));
    }
}

void cdl_unpack_bias(const struct cdl_gates *gates, const float *packed, struct cdl_block block,
                     float *g) {
    const size_t size = cdl_bias_size(gates->cell, gates->units);
    const size_t end = cdl_min(block.column + block.width, size);
    memset(g, 0, block.width * sizeof(float));
    for (size_t at = block.column, n, to; at < end; at += n) {
        n = cdl_min(place_of_bias(gates, at, &to), end - at);
        memcpy(g + at - block.column, packed + to, n * sizeof(float));
    }
}
