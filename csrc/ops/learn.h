/* learn.h - from a gradient to new weights: penalties, clipping, decay, the update, averages,
 * constraints; the one place where parameters change during training.
 *
 * An op hands over the gradient of one block at a time (cdl_learn). If nothing needs the whole
 * gradient of a parameter, the block learns at once, while it is in cache. Otherwise it is kept,
 * and when all blocks of all parameters are there (a barrier) the parameter learns as a whole.
 */
#ifndef CDL_OPS_LEARN_H
#define CDL_OPS_LEARN_H

#include "ops/op.h"

/* The gradient g (changed) of the n floats at `offset`: for a matrix rows [row, row + rows) of the
 * panel that starts at `column`, at most CDL_CHUNK rows from a multiple of CDL_CHUNK. */
struct cdl_block {
    size_t column, row, rows, width;
};
void cdl_learn(struct cdl_trained *trained, const struct cdl_context *ctx, struct cdl_block block,
               float *g);

/* Second part, for kept gradients: after cdl_learn of all blocks, cdl_learn_squares of each
 * parameter by one thread, then cdl_learn_whole, with the sum of all squares and what the
 * parameter's optimizer asks for (ops/whole.h). */
/* Before it, for a parameter with parts, by one thread: their sum, block by block (g holds one),
 * in the order of the list, goes through cdl_learn. Without parts that is 0. */
void cdl_learn_parts(struct cdl_trained *trained, const struct cdl_context *ctx, float *g);

/* The same for a whole gradient, laid out as the parameter. */
void cdl_learn_given(struct cdl_trained *trained, const struct cdl_context *ctx,
                     const float *gradient, float *g);

/* Whether a gradient of 0 would change nothing: then blocks that have one may be left out. */
bool cdl_learn_rests(const struct cdl_trained *trained, const struct cdl_context *ctx);

bool cdl_learn_keeps(const struct cdl_trained *trained, const struct cdl_step *step);
void cdl_learn_squares(struct cdl_trained *trained, const struct cdl_context *ctx);
void cdl_learn_whole(struct cdl_trained *trained, const struct cdl_context *ctx, double all_squares,
                     float *scratch);

/* Blocks of a parameter, numbered from 0; ops and the second part walk the same ones. */
size_t cdl_blocks(const struct cdl_param *param);
struct cdl_block cdl_block_at(const struct cdl_param *param, size_t i);

#endif
