/* tensorwise.h - optimizers whose step depends on all of a parameter: norms, means of rows,
 * products.
 *
 * They are rows of the table of optimizers as the others are, each with a struct of functions.
 */
#pragma once

#include <assert.h>

#include "learn/context.h"

struct cdl_tensorwise {
    /* Step length from norms, for updates block by block on many threads: the row's update gives
     * the direction d, and when all of it is there w -= reach() d, from the sums of the squares of
     * all w and all d. */
    float (*reach)(const struct cdl_trained *trained, const float *derived,
                   const struct cdl_squares *squares);
    /* Or the whole update of a parameter by one thread, from trained->gradient, which it may
     * change, to new slots and weights; pads stay zero. */
    void (*learn)(const struct cdl_trained *trained, const struct cdl_context *ctx, float *scratch);
    /* Scratch of learn(), in floats, 64-byte aligned, with any contents. */
    size_t (*scratch_floats)(const struct cdl_trained *trained);
    /* Operations of a learn() that may take seconds. It polls the run's watch, and all slots are
     * laid out as the parameter, so that its changes can be undone. */
    double (*flops)(const struct cdl_trained *trained);
};

/* Rules by row of the table of optimizers; NULL for the elementwise ones. */
extern const struct cdl_tensorwise *const cdl_tensorwise_rules[CDL_N_OPTIMIZERS];

extern const struct cdl_tensorwise cdl_tensorwise_muon;

/* Layout of a parameter: `outer` matrices of height x width, one below the other, each in pieces of
 * `live` columns from `column` on, with rows `ld` apart: panels, or all of it. */
struct cdl_piece {
    size_t offset, ld, live;
};
static inline struct cdl_piece cdl_piece_at(const struct cdl_trained *trained, size_t outer,
                                            size_t column) {
    const size_t width = trained->width;
    assert(outer < trained->outer && column < width);
    if (!trained->param->matrix)
        return (struct cdl_piece){outer * trained->height * width, width, width};
    const size_t panel = cdl_panel_width(width, column);
    const size_t above = column * trained->param->rows + outer * trained->height * panel;
    return (struct cdl_piece){above, panel, cdl_min(width - column, panel)};
}
