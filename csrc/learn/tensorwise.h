/* tensorwise.h - optimizers whose step depends on all of a parameter: norms, means of rows,
 * products.
 *
 * They are rows of the table of optimizers as the others are, and have a function beside.
 */
#ifndef CDL_LEARN_TENSORWISE_H
#define CDL_LEARN_TENSORWISE_H

#include <assert.h>

#include "learn/context.h"

struct cdl_tensorwise {
    /* Block by block, by many threads: the row's update gives the direction d, and when all of it
     * is there w -= reach() d, from the sums of the squares of all w and all d. */
    float (*reach)(const struct cdl_trained *trained, const float *derived,
                   const struct cdl_squares *squares);
    /* Or all of a parameter by one thread, from trained->gradient, which it may change, to new
     * slots and weights; pads stay zero. */
    void (*learn)(const struct cdl_trained *trained, const struct cdl_context *ctx, float *scratch);
    /* Floats that learn() needs, 64-byte aligned; it may find anything in them. */
    size_t (*scratch_floats)(const struct cdl_trained *trained);
    /* Of a learn() that may take seconds: how much it computes. It looks at the run's watch, and
     * all slots are laid out as the parameter, so that what it has changed can be brought back. */
    double (*flops)(const struct cdl_trained *trained);
};

/* By row of the table of optimizers; NULL for the elementwise ones. */
extern const struct cdl_tensorwise *const cdl_tensorwise_rules[CDL_N_OPTIMIZERS];

extern const struct cdl_tensorwise cdl_tensorwise_muon;

/* A parameter is `outer` matrices of height x width, one below the other, and each of them lies in
 * pieces of `live` columns from `column` on, its rows `ld` apart: panels, or all of it. */
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

#endif
