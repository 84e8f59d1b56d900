/* join.h - processes that train one model: who takes which rows, and the sum of their gradients. */
#ifndef CDL_PROGRAM_JOIN_H
#define CDL_PROGRAM_JOIN_H

#include "program/program.h"

/* Most rows of a rank, for a joined batch of at most `rows`. */
size_t cdl_most_rows(const struct cdl_ranks *ranks, size_t rows);

/* Narrows a context for all rows of a batch to the share of this rank. */
void cdl_take_share(struct cdl_program *program, const struct cdl_epoch *epoch,
                    struct cdl_context *ctx);

/* Start of a joined step, by one thread: a rank without rows, and leaves without samples, get zeros
 * as gradients, unless parts keep those of earlier batches. */
void cdl_begin_joined(const struct cdl_program *program, const struct cdl_context *ctx);

/* Leaves (CDL_LEAVES): can an op learn from each alone? And the sink of the leaf that begins with
 * row `first`. */
bool cdl_splits_leaves(const struct cdl_node *node);
struct cdl_sink cdl_leaf_of(const struct cdl_context *ctx, size_t first);

/* Sum of the batch's gradients over all ranks, between barriers; only the header if more batches
 * come before the update. False: the batch is void, on all ranks. */
bool cdl_join_step(struct cdl_program *program, const struct cdl_context *ctx,
                   struct cdl_team *team);

#endif
