/* steps.h - the parts of a step: gather and forward, backward, update, reports.
 *
 * All threads of a team call them together, each with its share of the rows.
 */
#pragma once

#include "base/red_zones.h"
#include "program/program.h"

/* A thread's scratch, for numbers that no other node reads. */
static inline float *cdl_scratch_of(const struct cdl_program *program, int thread) {
    return program->thread_scratch + (size_t)thread * program->thread_floats;
}

/* Limits the thread's scratch to the node's request, at least `least`, or (NULL) lifts the limit.
 * Only AddressSanitizer sees it. */
static inline void cdl_guard_scratch(const struct cdl_context *ctx, const struct cdl_node *node,
                                     size_t least) {
    if (!CDL_RED_ZONE) return;
    cdl_unpoison(ctx->scratch, ctx->scratch_floats);
    const size_t floats = node ? cdl_max(node->thread_floats, least) : ctx->scratch_floats;
    const size_t asked = cdl_min(cdl_round_up(floats, CDL_LINE), ctx->scratch_floats);
    cdl_poison(ctx->scratch + asked, ctx->scratch_floats - asked);
}

/* Granularity, in samples, at which a batch may be cut. */
static inline size_t cdl_row_step(const struct cdl_context *ctx) {
    return ctx->micro ? ctx->micro : CDL_ROW_BLOCK;
}

/* Region of a run that begins now (gate.c): of the threads that the program is worth, of fewer if
 * the runtime allows fewer now, of one if that is asked or where teams have lost time of late. */
void cdl_run_region(struct cdl_program *program, bool alone,
                    void (*work)(void *, struct cdl_team *, int), void *arg);

/* Once a run, by one thread, before the region. */
void cdl_prepare(struct cdl_program *program, bool training);

/* derived.c: brings derived weights up to date. cdl_derive is part of cdl_prepare. Within a region
 * one thread calls cdl_find_stale (the number of stale floats, or 0); after a barrier all threads
 * of a team, or (NULL) one alone, call cdl_make_stale, and another barrier follows. */
void cdl_derive(struct cdl_program *program, bool training);
size_t cdl_find_stale(struct cdl_program *program, bool training);
void cdl_make_stale(const struct cdl_program *program, struct cdl_team *team, int thread);

/* Marks copies that were rounded during the update as being of the new versions. */
void cdl_are_learned(struct cdl_program *program);

/* Rows per block of a prediction, at most `most`: fewer for images of which a node reads and writes
 * more than fits in a cache. */
size_t cdl_block_of_rows(const struct cdl_program *program, size_t most);

/* Raises the versions of all weights that a run changes: what is derived from them is stale. */
void cdl_bump_versions(const struct cdl_program *program);

/* Context of a thread for the current batch of the epoch; `threads` is their number. Then, for each
 * further batch, what it changes in the context. */
struct cdl_context cdl_context_of(struct cdl_program *program, const struct cdl_epoch *epoch,
                                  bool training, int thread, int threads);
void cdl_begin_batch(struct cdl_program *program, const struct cdl_epoch *epoch,
                     struct cdl_context *ctx);

/* Settings of the optimizer's step; `done` counts the steps since epoch->rates[0]. */
void cdl_prepare_step(const struct cdl_program *program, const struct cdl_epoch *epoch, size_t done,
                      struct cdl_step *step);

/* Feeds samples [first, last) of a batch, which begins at `start` of the epoch, to input i
 * (cdl_feed), until the watch stops it. */
void cdl_feed_pieces(const struct cdl_program *program, const struct cdl_context *ctx, int i,
                     const struct cdl_epoch *epoch, size_t start, size_t first, size_t last);

void cdl_forward_rows(const struct cdl_program *program, struct cdl_context *ctx,
                      const struct cdl_epoch *epoch, struct cdl_team *team, struct cdl_range rows);
/* `to`: of gradients over all samples in memory. */
void cdl_backward_rows(const struct cdl_program *program, struct cdl_context *ctx,
                       struct cdl_team *team, struct cdl_range rows, const struct cdl_sink *to);

/* Does a phase run in this batch? */
static inline bool cdl_phase_counts(const struct cdl_phase *phase, const struct cdl_node *node,
                                    const struct cdl_context *ctx) {
    return (!phase->trains || (ctx->training && cdl_follows_batches(node))) &&
           (!phase->mixes || node->mixes);
}

/* Finds the passes that are one call (whole_pass), once it is known how batches are cut. */
void cdl_plan_passes(struct cdl_program *program);

/* Runs a node's pass forward or back, phase by phase: on a thread's samples; in lockstep on those
 * that are the thread's share of this node; a shared node on the first thread. A thread without
 * samples waits at the barriers all the same. Without a team (NULL) a thread is by itself. */
void cdl_run(const struct cdl_program *program, const struct cdl_node *node, bool back,
             const struct cdl_context *ctx, struct cdl_team *team, struct cdl_range rows);

/* Slots for gradients, in lockstep with a micro-batch for each thread: each thread puts the
 * gradients of its own micro-batches into slots; after a barrier it updates its share of the
 * weights from their sum. So even a kernel of one block keeps all threads busy, and each thread
 * reads what it has written. */
bool cdl_uses_slots(const struct cdl_program *program, const struct cdl_context *ctx);
void cdl_fill_slots(const struct cdl_node *node, const struct cdl_context *ctx);
void cdl_learn_filled(const struct cdl_node *node, const struct cdl_context *ctx,
                      const struct cdl_sink *to);

/* Gradients of a thread's share of the node's parameters, over all samples in memory. */
void cdl_learn_node(const struct cdl_node *node, const struct cdl_context *ctx,
                    const struct cdl_sink *to);

/* One thread saves the parameters that forward() changes in training, or (back) restores them, as
 * when the batch is void (pieces.c). */
void cdl_save_params(const struct cdl_program *program, bool back);

/* Has a caller's function or an op's input failed? The batch is then void, and the error is told
 * after the run. */
bool cdl_has_failed(const struct cdl_program *program);

/* Is the batch void, by a failure or by the watch? Behind a barrier all threads get the same
 * answer. */
bool cdl_is_void(const struct cdl_program *program);

/* The fault of the first sample, by the first instruction that found one in it; or NULL. */
const struct cdl_fault *cdl_first_fault(const struct cdl_program *program);

/* Update of the parameters, behind the barrier that ends the backward pass. False if none changed,
 * since gradients are not finite or the batch is void. */
bool cdl_update(struct cdl_program *program, struct cdl_context *ctx, struct cdl_team *team);

/* The last parts of the update (kept.c), each behind a barrier: parameters used by several
 * instructions or by none; and those that learn from whole gradients. */
void cdl_learn_sums(struct cdl_program *program, const struct cdl_context *ctx,
                    struct cdl_team *team);
bool cdl_learn_kept(struct cdl_program *program, struct cdl_context *ctx, struct cdl_team *team);

/* Calls of settle() and of the program after the batch, by one thread, between barriers. */
void cdl_settle(const struct cdl_program *program, const struct cdl_context *ctx);

/* Adds the reports of the batch, by one thread, after the barrier behind them. */
void cdl_count_reports(struct cdl_program *program, const struct cdl_context *ctx);
/* micro.c: points the outputs, which have memory for a whole batch, at the samples from `first` on;
 * saves the states of the reports, or (back) restores them: a void batch must not change them. */
void cdl_place_outputs(const struct cdl_program *program, size_t first);
void cdl_save_reports(const struct cdl_program *program, bool back);

/* Adds the penalties as the loss counts them, once a batch for all its rows; `first_batch`: of a
 * call. */
void cdl_count_penalties(struct cdl_program *program, const struct cdl_context *ctx,
                         bool first_batch);

/* An epoch in that order, within a run that the watch knows of; false if it was not finished. The
 * reports go to `found`; *stops: whether the caller's poll has answered that the run is to end. */
bool cdl_train_epoch(struct cdl_program *program, struct cdl_epoch *epoch, const int64_t *order,
                     double *found, bool *stops);

/* Copies `rows` rows of a value from row `first` to row-major memory; of a shared value its one
 * row. */
void cdl_copy_out(const struct cdl_tensor *value, size_t first, size_t rows, float *to);

/* ---- lockstep.c: all threads share each node, and wait for each other behind it -------------- */

/* Does a program run in lockstep? By default if its nodes are worth a barrier each with the planned
 * threads; the caller may decide otherwise. */
bool cdl_keeps_step(const struct cdl_program *program, enum cdl_lockstep wanted);

/* May samples of a node be cut anywhere? Its op must take them one by one, and each must begin with
 * whole registers: vectors and tails of loops must fall on the same numbers. */
bool cdl_takes_any_samples(const struct cdl_node *node);

/* Least samples whose nodes, on average, are worth lockstep for all threads. */
size_t cdl_worth_samples(const struct cdl_program *program);

/* A thread's samples of a node. */
struct cdl_range cdl_samples_of(const struct cdl_node *node, const struct cdl_context *ctx);

/* A barrier stands behind each node that has work. */
void cdl_link_lockstep(struct cdl_program *program);

/* ---- join.c: processes that train one model -------------------------------------------------- */

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
