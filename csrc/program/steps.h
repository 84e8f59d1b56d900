/* steps.h - the parts of a step: gather and forward, backward, update, reports.
 *
 * All threads of a team call them together, each with its share of the rows.
 */
#ifndef CDL_PROGRAM_STEPS_H
#define CDL_PROGRAM_STEPS_H

#include "base/red_zones.h"
#include "program/program.h"

/* Threads of a run that begins now: as planned, unless somebody has allowed fewer meanwhile. */
static inline int cdl_team_size(const struct cdl_program *program) {
    return program->forced ? program->threads : cdl_threads_now(program->threads);
}

/* A thread's scratch, for numbers that no other node reads. */
static inline float *cdl_scratch_of(const struct cdl_program *program, int thread) {
    return program->thread_scratch + (size_t)thread * program->thread_floats;
}

/* From here on the thread's scratch is what a node has asked for, at least `least`; or (NULL) all
 * that there is. Known to AddressSanitizer alone. */
static inline void cdl_guard_scratch(const struct cdl_context *ctx, const struct cdl_node *node,
                                     size_t least) {
    if (!CDL_RED_ZONE) return;
    cdl_unpoison(ctx->scratch, ctx->scratch_floats);
    const size_t floats = node ? cdl_max(node->thread_floats, least) : ctx->scratch_floats;
    const size_t asked = cdl_min(cdl_round_up(floats, CDL_LINE), ctx->scratch_floats);
    cdl_poison(ctx->scratch + asked, ctx->scratch_floats - asked);
}

/* Samples [first, last) of a batch. */
struct cdl_share {
    size_t first, last;
};

/* The rows of one thread: whole blocks of `block` rows, dealt as evenly as possible. */
static inline struct cdl_share cdl_share_by(size_t block, size_t rows, int thread, int threads) {
    const size_t blocks = (rows + block - 1) / block, n = (size_t)threads, t = (size_t)thread;
    const size_t first = blocks * t / n * block, last = blocks * (t + 1) / n * block;
    return (struct cdl_share){first, last < rows ? last : rows};
}
/* At what multiples of samples a batch may be cut. */
static inline size_t cdl_row_step(const struct cdl_context *ctx) {
    return ctx->micro ? ctx->micro : CDL_ROW_BLOCK;
}
static inline struct cdl_share cdl_share_of(size_t rows, int thread, int threads) {
    return cdl_share_by(CDL_ROW_BLOCK, rows, thread, threads);
}

/* Once a run, by one thread, before the region. */
void cdl_prepare(struct cdl_program *program, bool training);

/* derived.c: what is made of weights is brought up to date. A part of the above; or, within a
 * region, one thread finds what is to be made anew (the return value: how many floats it takes, or
 * 0), behind a barrier all threads of a team make it, or (NULL) one alone, and another barrier
 * follows. */
void cdl_derive(struct cdl_program *program, bool training);
size_t cdl_find_stale(struct cdl_program *program, bool training);
void cdl_make_stale(const struct cdl_program *program, struct cdl_team *team, int thread);

/* What weights are rounded to as they learn is that of their new versions. */
void cdl_are_learned(struct cdl_program *program);

/* Rows, of so many that there is memory for, that a prediction takes through all nodes: images of
 * which a node reads and writes more than fits in a cache go through a few at a time. */
size_t cdl_block_of_rows(const struct cdl_program *program, size_t most);

/* Weights that a run changes have changed, or are about to: what is made of one is stale. */
void cdl_bump_versions(const struct cdl_program *program);

/* What a thread's ops see of the batch at which a pass stands; `threads` is how many there are. */
struct cdl_context cdl_context_of(struct cdl_program *program, const struct cdl_pass *pass,
                                  bool training, int thread, int threads);

/* The optimizer's step; `done` are those since the first of pass->rates. */
void cdl_prepare_step(const struct cdl_program *program, const struct cdl_pass *pass, size_t done,
                      struct cdl_step *step);

/* Samples [first, last) of a batch that begins at `start` of the pass into input i (cdl_feed), as
 * far as the watch lets it. */
void cdl_feed_pieces(const struct cdl_program *program, const struct cdl_context *ctx, int i,
                     const struct cdl_pass *pass, size_t start, size_t first, size_t last);

void cdl_forward_rows(const struct cdl_program *program, struct cdl_context *ctx,
                      const struct cdl_pass *pass, struct cdl_team *team, struct cdl_share rows);
void cdl_backward_rows(const struct cdl_program *program, struct cdl_context *ctx,
                       struct cdl_team *team, struct cdl_share rows);

/* One node that is shared, by one thread, all its stages. */
void cdl_run_shared(cdl_pass_fn *phase, int stages, const struct cdl_node *node,
                    const struct cdl_context *ctx);

/* A node on a thread's samples, stage by stage; a thread without samples still keeps the others'
 * time, and has its share in what an op that mixes makes of all of them. */
void cdl_run_node(cdl_pass_fn *phase, int stages, const struct cdl_node *node,
                  struct cdl_context *ctx, struct cdl_team *team, struct cdl_share rows);

/* The same out of all samples of ctx, which are one or more micro-batches (micro.c). */
void cdl_learn_by_micro(const struct cdl_node *node, const struct cdl_context *ctx, float *scratch,
                        int thread, int n_threads);

/* In lockstep, where there is a micro-batch for each thread: gradients of a thread's own ones go to
 * slots; behind a barrier a thread's share of the weights learns from their sum. So a small kernel,
 * one block, keeps all threads busy, and each reads what it has written itself. */
bool cdl_deals_micro(const struct cdl_program *program, const struct cdl_context *ctx);
void cdl_fill_slots(const struct cdl_node *node, const struct cdl_context *ctx);
void cdl_learn_filled(const struct cdl_node *node, const struct cdl_context *ctx);

/* A thread's share of what the node's parameters learn. */
void cdl_learn_node(const struct cdl_node *node, const struct cdl_context *ctx);

/* A node's samples [first, last), piece by piece, as far as the watch lets it. */
void cdl_run_pieces(cdl_pass_fn *phase, const struct cdl_node *node, const struct cdl_context *ctx,
                    size_t first, size_t last);

/* One thread saves the parameters that forward() changes in training, and restores them if the
 * batch is void (pieces.c). */
void cdl_step_begins(const struct cdl_program *program);
void cdl_step_is_void(const struct cdl_program *program);

/* Whether a function of the caller or an op's input has failed, which is told after the run: the
 * batch is void. */
bool cdl_has_failed(const struct cdl_program *program);

/* The same, or the watch has ended the run. Behind a barrier all threads get the same answer. */
bool cdl_is_void(const struct cdl_program *program);

/* The fault of the first sample, by the first instruction that found one in it; or NULL. */
const struct cdl_fault *cdl_first_fault(const struct cdl_program *program);

/* After the backward pass of all rows (a barrier): the parameters learn. False if none does, since
 * the gradients are not finite, or the batch is void. */
bool cdl_update(struct cdl_program *program, struct cdl_context *ctx, struct cdl_team *team);

/* Its last parts (kept.c), each behind a barrier: what several instructions use or none; and what
 * is kept as whole gradients. */
void cdl_learn_sums(struct cdl_program *program, const struct cdl_context *ctx,
                    struct cdl_team *team);
bool cdl_learn_kept(struct cdl_program *program, struct cdl_context *ctx, struct cdl_team *team);

/* After another barrier, by one thread, before any begins the next step. */
void cdl_settle(const struct cdl_program *program, const struct cdl_context *ctx);

/* After the barrier behind them, by one thread. */
void cdl_count_reports(struct cdl_program *program, const struct cdl_context *ctx);
/* micro.c: outputs, which have memory for a whole batch, as those of samples from `first` on; and
 * the states of the reports, which a void batch leaves as they were. */
void cdl_place_outputs(const struct cdl_program *program, size_t first);
void cdl_save_reports(const struct cdl_program *program);
void cdl_restore_reports(const struct cdl_program *program);

/* As the loss counts them, once a batch for all its rows; `first_batch`: of a call. */
void cdl_count_penalties(struct cdl_program *program, const struct cdl_context *ctx,
                         bool first_batch);

/* `rows` rows of a value from row `first` to row-major memory; of a shared value its one. */
void cdl_copy_out(const struct cdl_tensor *value, size_t first, size_t rows, float *to);

#endif
