/* join.h - processes that train one model: who takes which rows, and the sum of their gradients. */
#ifndef CDL_PROGRAM_JOIN_H
#define CDL_PROGRAM_JOIN_H

#include "program/program.h"

/* Rows of a rank, where the joined batch has at most so many. */
size_t cdl_most_rows(const struct cdl_ranks *ranks, size_t rows);

/* Of a context for all rows of a batch: that of this rank's. */
void cdl_take_share(struct cdl_program *program, const struct cdl_pass *pass,
                    struct cdl_context *ctx);

/* By one thread, before a step: whether parts keep what they hold; a rank without rows has no
 * gradients of its own. */
void cdl_begin_joined(const struct cdl_program *program, const struct cdl_context *ctx);

/* Where there are leaves: whether an op can learn from each alone; a thread's share of that. */
bool cdl_splits_leaves(const struct cdl_node *node);
void cdl_learn_by_leaf(const struct cdl_node *node, const struct cdl_context *ctx, float *scratch,
                       int thread, int n_threads);

/* When all gradients of the batch are there (barriers stand around): those of all ranks, unless
 * more batches come before anything learns. False: the batch is void, on all ranks. */
bool cdl_join_step(struct cdl_program *program, const struct cdl_context *ctx,
                   struct cdl_team *team);

#endif
