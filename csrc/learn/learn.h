/* learn.h - from a gradient to new weights: penalties, clipping, decay, the update, averages,
 * constraints; the one place where parameters change during training.
 *
 * An op hands over the gradient of one block at a time (cdl_learn). If nothing needs the whole
 * gradient of a parameter, the block learns at once, while it is in cache. Otherwise it is kept,
 * and when all blocks of all parameters are there (a barrier) the parameter learns as a whole.
 */
#pragma once

#include "learn/context.h"

/* Update from the gradient g (changed) of one block: for a matrix rows [row, row + rows) of the
 * panel that starts at `column`, at most CDL_CHUNK rows from a multiple of CDL_CHUNK. */
struct cdl_block {
    size_t column, row, rows, width;
};
void cdl_learn(struct cdl_trained *trained, const struct cdl_context *ctx,
               const struct cdl_sink *to, struct cdl_block block, float *g);

/* Update of a parameter with parts: cdl_learn of their sum, in the order of the list; of 0 without
 * parts. g has room for the sum. */
void cdl_learn_parts(struct cdl_trained *trained, const struct cdl_context *ctx,
                     struct cdl_block block, float *g);

/* Update of a thread's share of the blocks from the sums over so many slots. */
void cdl_learn_slots(struct cdl_trained *trained, const struct cdl_context *ctx,
                     const struct cdl_sink *to, size_t slots, float *g);

/* Update of all blocks from a gradient that is laid out as the parameter. */
void cdl_learn_given(struct cdl_trained *trained, const struct cdl_context *ctx,
                     const float *gradient, float *g);

/* Rounds a block of a weight to a dtype: in pairs of bfloat16, or as floats. */
void cdl_round_block(const struct cdl_kernels *kernels, const struct cdl_param *param,
                     enum cdl_dtype dtype, const struct cdl_param *rounded, struct cdl_block block);

/* Does a gradient of 0 change nothing? Blocks whose gradient is 0 may then be skipped. */
bool cdl_learn_skips_zero(const struct cdl_trained *trained, const struct cdl_context *ctx);

/* Is there nothing but decay and the optimizer's row between a gradient and a weight? Blocks
 * without a gradient may then owe steps, to be made before they are read, if that row rests. */
bool cdl_learn_is_plain(const struct cdl_trained *trained);

/* The steps that n floats of a parameter at `offset` owe, from number `made` on: of what is there;
 * or of a copy, of which w is all that is wanted. */
void cdl_learn_owed(const struct cdl_trained *trained, const struct cdl_context *ctx, size_t offset,
                    size_t n, size_t made);
void cdl_learn_ahead(const struct cdl_trained *trained, const struct cdl_context *ctx,
                     size_t offset, size_t n, size_t made, float *w);

/* Is a parameter's whole gradient kept, and are sums of squares? */
bool cdl_learn_keeps(const struct cdl_trained *trained, const struct cdl_step *step);
bool cdl_learn_needs_norms(const struct cdl_trained *trained, const struct cdl_step *step);

/* Second part, for kept gradients: block i learns from its gradient times `factor`. With a norm-
 * dependent step length (tensorwise.h) the gradient becomes the direction, for which g has room,
 * and cdl_learn_move makes the step once all blocks of the parameter have theirs. */
void cdl_learn_block(struct cdl_trained *trained, const struct cdl_context *ctx, size_t i,
                     float factor, float *g);
void cdl_learn_move(struct cdl_trained *trained, const struct cdl_context *ctx, size_t i,
                    float reach);

/* Second part for a whole parameter at once, if its optimizer needs that (tensorwise.h). */
void cdl_learn_tensor(struct cdl_trained *trained, const struct cdl_context *ctx, float factor,
                      float *scratch);

/* Accumulation of kept gradients, before the step: block i of the sum, which cdl_learn leaves alone
 * since the step may still be void, becomes the kept gradient, or 0 once applied. */
void cdl_learn_sum(const struct cdl_trained *trained, const struct cdl_context *ctx, size_t i);

/* Norm constraints, after the step: brings the columns of a panel, or all of a vector, within the
 * limits. */
void cdl_limit_norms(const struct cdl_trained *trained, const struct cdl_kernels *kernels,
                     size_t column);

/* Blocks of a parameter, numbered from 0; ops and the second part walk the same ones. */
size_t cdl_blocks(const struct cdl_param *param);
struct cdl_block cdl_block_at(const struct cdl_param *param, size_t i);
static inline size_t cdl_block_offset(const struct cdl_param *param, struct cdl_block block) {
    return block.column * param->rows + block.row * block.width;
}

/* Number of blocks that begin before the float at `offset`; they lie in order. */
size_t cdl_blocks_before(const struct cdl_param *param, size_t offset);
