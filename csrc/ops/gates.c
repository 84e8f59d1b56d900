/* gates.c - conversion of a cell's weights between the users' order of columns and that of its
 * steps.
 */
#include "ops/gates.h"

struct cdl_gates cdl_gates_of(const struct cdl_cell *cell, size_t inputs, size_t units) {
    const size_t lines = cdl_round_up(units, CDL_LINE), columns = cell->lanes * lines;
    return (struct cdl_gates){.cell = cell,
                              .inputs = inputs,
                              .units = units,
                              .lines = lines,
                              .rows = inputs + units,
                              .columns = columns,
                              .panels = (columns + CDL_PANEL - 1) / CDL_PANEL};
}

/* Columns side by side in panels of either order: `n` from `column` of a kernel, and from `to`. */
struct column_run {
    size_t column, to, n;
};

static size_t lane_width(const struct cdl_gates *gates) { return CDL_PANEL / gates->cell->lanes; }

static struct column_run run_at(const struct cdl_gates *gates, size_t lane, size_t unit) {
    const size_t each = lane_width(gates), column = gates->cell->gate[lane] * gates->units + unit;
    const size_t left = cdl_min(gates->units - unit, each - unit % each);
    return (struct column_run){.column = column,
                               .to = unit / each * CDL_PANEL + lane * CDL_LINE + unit % each,
                               .n = cdl_min(left, CDL_PANEL - column % CDL_PANEL)};
}

/* Column `column` of row `row` in panels of `rows` rows and `columns` columns. */
static size_t offset_in(size_t rows, size_t columns, size_t row, size_t column) {
    const size_t first = column / CDL_PANEL * CDL_PANEL;
    return first * rows + row * cdl_panel_width(columns, first) + column % CDL_PANEL;
}

static void copy_rows(size_t rows, size_t n, const float *from, size_t step, float *to,
                      size_t width) {
    for (size_t r = 0; r < rows; r++, from += step, to += width)
        memcpy(to, from, n * sizeof(float));
}

static void pack(const struct cdl_gates *gates, size_t panel, const struct cdl_param *w,
                 bool recurrent, float *packed) {
    const struct cdl_lanes lanes = recurrent ? gates->cell->of_h : gates->cell->of_x;
    const size_t first = panel * lane_width(gates), above = recurrent ? gates->inputs : 0;
    const size_t end = cdl_min(first + lane_width(gates), gates->units);
    for (size_t lane = lanes.first; lane < lanes.first + lanes.n; lane++) {
        for (size_t unit = first, n; unit < end; unit += n) {
            const struct column_run run = run_at(gates, lane, unit);
            copy_rows(w->rows, run.n, w->w + offset_in(w->rows, w->cols, 0, run.column),
                      cdl_panel_width(w->cols, run.column / CDL_PANEL * CDL_PANEL),
                      packed + offset_in(gates->rows, gates->columns, above, run.to),
                      cdl_gate_width(gates, panel));
            n = run.n;
        }
    }
}

void cdl_pack_gates(const struct cdl_gates *gates, size_t panel, const struct cdl_param *kernel,
                    const struct cdl_param *recurrent, float *packed) {
    memset(packed + panel * CDL_PANEL * gates->rows, 0,
           gates->rows * cdl_gate_width(gates, panel) * sizeof(float));
    pack(gates, panel, kernel, false, packed);
    pack(gates, panel, recurrent, true, packed);
}

/* Lanes of the bias's numbers number k, of which there are as many as columns of a kernel. */
static struct cdl_lanes lanes_of_bias(const struct cdl_cell *cell, size_t k) {
    return k ? cell->of_h : cell->of_x;
}

void cdl_pack_bias(const struct cdl_gates *gates, size_t panel, const struct cdl_param *bias,
                   float *packed) {
    const size_t first = panel * lane_width(gates), width = gates->cell->gates * gates->units;
    const size_t end = cdl_min(first + lane_width(gates), gates->units);
    memset(packed + panel * CDL_PANEL, 0, cdl_gate_width(gates, panel) * sizeof(float));
    for (size_t k = 0; bias && k < gates->cell->biases; k++) {
        const struct cdl_lanes lanes = lanes_of_bias(gates->cell, k);
        for (size_t lane = lanes.first; lane < lanes.first + lanes.n; lane++) {
            for (size_t unit = first; unit < end; unit++) {
                const struct column_run run = run_at(gates, lane, unit);
                packed[run.to] += bias->w[k * width + run.column];
            }
        }
    }
}

void cdl_turn_gates(const struct cdl_gates *gates, const struct cdl_kernels *kernels, size_t panel,
                    const float *packed, bool inputs, float *transposed) {
    const size_t columns = cdl_transposed_columns(gates, inputs), p = panel * CDL_PANEL;
    const size_t gate_width = cdl_gate_width(gates, panel);
    for (size_t column = 0, live; column < columns; column += live) {
        const bool unit = column < gates->lines;
        const size_t row = unit ? gates->inputs + column : column - gates->lines;
        const size_t left = (unit ? gates->rows : gates->inputs) - row;
        const size_t end = unit ? gates->lines : columns;
        const size_t first = column / CDL_PANEL * CDL_PANEL;
        const size_t width = cdl_panel_width(columns, first);
        float *to = transposed + first * gates->columns + p * width + column - first;
        live = cdl_min(end, first + width) - column;
        for (size_t i = 0; i < gate_width && left < live; i++)
            memset(to + i * width + left, 0, (live - left) * sizeof(float));
        kernels->transpose(cdl_min(live, left), gate_width,
                           packed + p * gates->rows + row * gate_width, gate_width, to, width);
    }
}

/* Part of a block, or of a row, that some lanes of `packed` have. */
static void unpack(const struct cdl_gates *gates, struct cdl_lanes lanes, const float *packed,
                   struct cdl_block block, float *g) {
    const size_t units = gates->units, end = block.column + block.width;
    for (size_t lane = lanes.first; lane < lanes.first + lanes.n; lane++) {
        const size_t first = gates->cell->gate[lane] * units, last = cdl_min(end, first + units);
        for (size_t column = cdl_max(first, block.column), n; column < last; column += n) {
            const struct column_run run = run_at(gates, lane, column - first);
            n = cdl_min(run.n, last - column);
            copy_rows(block.rows, n, packed + offset_in(block.rows, gates->columns, 0, run.to),
                      cdl_panel_width(gates->columns, run.to / CDL_PANEL * CDL_PANEL),
                      g + column - block.column, block.width);
        }
    }
}

void cdl_unpack_block(const struct cdl_gates *gates, bool recurrent, const float *packed,
                      struct cdl_block block, float *g) {
    memset(g, 0, block.rows * block.width * sizeof(float));
    unpack(gates, recurrent ? gates->cell->of_h : gates->cell->of_x, packed, block, g);
}

void cdl_unpack_bias(const struct cdl_gates *gates, const float *packed, struct cdl_block block,
                     float *g) {
    const size_t width = gates->cell->gates * gates->units, end = block.column + block.width;
    memset(g, 0, block.width * sizeof(float));
    for (size_t k = 0; k < gates->cell->biases; k++) {
        const size_t first = cdl_max(block.column, k * width);
        const size_t last = cdl_min(end, (k + 1) * width);
        if (first >= last) continue;
        const struct cdl_block part = {
            .column = first - k * width, .rows = 1, .width = last - first};
        unpack(gates, lanes_of_bias(gates->cell, k), packed, part, g + first - block.column);
    }
}
