/* steps.c - the parts of a step, for a thread of a team: gather and forward, backward, update,
 * reports.
 *
 * Shared values (without a batch axis) are computed by thread 0; a barrier stands between a run of
 * such nodes and the first other thread that reads them.
 */
#include <assert.h>

#include "learn/learn.h"
#include "learn/tensorwise.h"
#include "base/caches.h"
#include "ops/lines.h"
#include "program/steps.h"

#define STEP_OF(NAME, N_SLOTS, HYPERS, SLOTS) NAME##_step,
static void (*const steps[])(double, double, const double *, float *) = {CDL_OPTIMIZERS(STEP_OF)};

void cdl_prepare_step(const struct cdl_program *program, const struct cdl_epoch *epoch, size_t done,
                      struct cdl_step *step) {
    const struct cdl_rules *rules = step->rules = &program->rules;
    if (program->n_groups == 0) return;
    const double rate = (double)epoch->rates[done < epoch->n_rates ? done : epoch->n_rates - 1];
    const int64_t each = rules->accumulation_steps > 1 ? rules->accumulation_steps : 1;
    const int64_t t = (int64_t)epoch->iteration / each + 1;
    for (int i = 0; i < program->n_groups; i++) {
        const struct cdl_group_def *group = &program->groups[i];
        step->groups[i].update = program->kernels->update[group->optimizer];
        step->groups[i].tensorwise = cdl_tensorwise_rules[group->optimizer];
        steps[group->optimizer](rate * group->rate_factor, (double)t, group->hypers,
                                step->groups[i].derived);
    }
    step->rate = (float)rate;
    step->share = epoch->shares ? epoch->shares[epoch->next] : 1.0f;
    step->average_momentum = t > 1 ? (float)rules->average_momentum : 0.0f;
    step->overwrite = rules->overwrite_frequency > 0 && t % rules->overwrite_frequency == 0;
    step->accumulate = (int)each;
    step->unscale = rules->loss_scale ? 1.0f / *rules->loss_scale->w : 1.0f;
    step->apply = ((int64_t)epoch->iteration + 1) % each == 0;
}

void cdl_prepare(struct cdl_program *program, bool training) {
    for (int i = 0; i < program->n_hosts; i++) program->hosts[i].failed = false;
    for (int i = 0; i < program->n_faults; i++) cdl_fault_clear(&program->faults[i]);
    cdl_derive(program, training);
    if (program->after) cdl_prepare(program->after, false);
}

/* Targets for a block of a prediction: the values of a node fill half of the L2 cache at most, and
 * the weights, read anew for each block, are not much larger than the values. */
size_t cdl_block_of_rows(const struct cdl_program *program, size_t most) {
    size_t values = 1, weights = 0;
    CDL_EACH_NODE(node, program) {
        size_t floats = 0;
        for (int v = 0; v < cdl_values_of(node); v++) floats += cdl_value_of(node, v)->row_floats;
        if (floats > values) values = floats;
        for (int k = 0; k < CDL_MAX_PARAMS; k++)
            weights += node->param[k] ? cdl_param_floats(node->param[k]) : 0;
    }
    const size_t floats_of_block = cdl_caches()->l2 / (2 * sizeof(float));
    const size_t block = floats_of_block > values ? floats_of_block / values : 1;
    const bool whole = program->mixes_rows || program->keeps_order || program->n_hosts > 0;
    return whole || block >= most || weights > 2 * block * values ? most : block;
}

void cdl_bump_versions(const struct cdl_program *program) {
    for (int i = 0; i < program->n_trained; i++) cdl_param_changes(program->trained[i].param);
    for (int i = 0; i < program->n_nodes && (program->settles || program->follows_batches); i++) {
        const struct cdl_node *node = &program->nodes[i];
        const bool changes = node->op->settle || cdl_follows_batches(node);
        for (int k = 0; k < CDL_MAX_PARAMS && changes; k++)
            if (node->param[k]) cdl_param_changes(node->param[k]);
    }
    if (program->after) cdl_bump_versions(program->after);
}

struct cdl_context cdl_context_of(struct cdl_program *program, const struct cdl_epoch *epoch,
                                  bool training, int thread, int threads) {
    struct cdl_context ctx = {.kernels = program->kernels,
                              .training = training,
                              .micro = program->micro,
                              .thread = thread,
                              .threads = threads,
                              .scratch = cdl_scratch_of(program, thread),
                              .scratch_floats = program->thread_floats - CDL_RED_ZONE,
                              .seed = epoch->seed,
                              .polls = thread == 0};
    cdl_begin_batch(program, epoch, &ctx);
    return ctx;
}

void cdl_begin_batch(struct cdl_program *program, const struct cdl_epoch *epoch,
                     struct cdl_context *ctx) {
    const size_t start = epoch->next * epoch->batch;
    const size_t left = start < epoch->rows ? epoch->rows - start : 0;
    ctx->rows = ctx->batch = cdl_min(left, epoch->batch);
    ctx->start = start;
    ctx->step = epoch->iteration;
    ctx->watch = program->is_long && !program->owed ? &program->watch : NULL;
    cdl_take_share(program, epoch, ctx);
}

bool cdl_has_failed(const struct cdl_program *program) {
    if (!program->may_fail) return false;
    bool any = false;
    for (int i = 0; i < program->n_hosts; i++) any |= program->hosts[i].failed;
    return any || cdl_first_fault(program) != NULL;
}

bool cdl_is_void(const struct cdl_program *program) {
    return cdl_watch_stopped(&program->watch) || program->ranks.ended || cdl_has_failed(program);
}

const struct cdl_fault *cdl_first_fault(const struct cdl_program *program) {
    const struct cdl_fault *first = NULL;
    for (int i = 0; i < program->n_faults; i++) {
        const struct cdl_fault *fault = &program->faults[i];
        if (cdl_fault_sample(fault) < (first ? cdl_fault_sample(first) : SIZE_MAX)) first = fault;
    }
    return first;
}

/* View of a batch for a node: of a shared one a sample, and one thread, which is then in `one`. */
static const struct cdl_context *seen_by(const struct cdl_node *node, const struct cdl_context *ctx,
                                         struct cdl_context *one) {
    if (!node->shared) return ctx;
    *one = *ctx, one->rows = 1, one->thread = 0, one->threads = 1;
    return one;
}

/* A thread's part of a phase: piece by piece, until the watch stops it. */
static inline void run_phase(const struct cdl_phase *phase, bool back, const struct cdl_node *node,
                             const struct cdl_context *ctx, struct cdl_range rows) {
    const bool samples = phase->over == CDL_SAMPLES;
    if (samples ? rows.first >= rows.last : phase->over == CDL_ONCE && ctx->thread > 0) return;
    const size_t piece = samples ? node->piece : SIZE_MAX;
    do {
        const size_t end = rows.last - rows.first < piece ? rows.last : rows.first + piece;
        if (cdl_stopped(ctx)) return;
        cdl_guard_scratch(ctx, node, 0);
        if (samples && node->arithmetic == CDL_THROUGH_FLOATS)
            cdl_run_narrow(phase, back, node, ctx, rows.first, end);
        else
            phase->run(node, ctx, rows.first, end);
        rows.first = end;
    } while (rows.first < rows.last);
}

static inline void run_phases(const struct cdl_phase *phase, bool back, const struct cdl_node *node,
                              const struct cdl_context *ctx, struct cdl_team *team,
                              struct cdl_range rows) {
    for (bool begun = false; phase->run; phase++) {
        if (!cdl_phase_counts(phase, node, ctx)) continue;
        if (begun && team) cdl_barrier_wait(team, ctx->thread);
        begun = true;
        run_phase(phase, back, node, ctx, rows);
    }
}

/* In lockstep: by pieces, if the op has them, else by samples of the thread's own for each node. */
static void run_in_lockstep(const struct cdl_node *node, bool back, const struct cdl_context *ctx,
                            struct cdl_team *team) {
    const struct cdl_op *op = node->op;
    const struct cdl_range rows = cdl_samples_of(node, ctx);
    if (!op->run_pieces) {
        run_phases(back ? op->backward : op->forward, back, node, ctx, team, rows);
        return;
    }
    if (back && op->take_gradient && cdl_takes_gradient(node)) {
        run_phase(&(struct cdl_phase){.run = op->take_gradient}, back, node, ctx, rows);
        cdl_barrier_wait(team, ctx->thread);
    }
    const struct cdl_range own = cdl_own(ctx, op->pieces(node, ctx->rows, back));
    cdl_guard_scratch(ctx, node, 0);
    if (own.first < own.last && !cdl_stopped(ctx))
        op->run_pieces(node, ctx, own.first, own.last, back);
}

#ifndef NDEBUG
/* Conditions of asserts about samples [first, last): memory for all values; then zeros in the pads
 * of the gradients that a node has written, unless an interrupt has ended it before. */
static inline bool fits(const struct cdl_program *program, const struct cdl_context *ctx,
                        struct cdl_range rows) {
    return rows.last <= cdl_max(program->batch, program->rows) && ctx->rows <= program->rows;
}
static inline bool pads_are_zero(const struct cdl_node *node, const struct cdl_context *ctx,
                                 struct cdl_range rows) {
    if (ctx->watch && cdl_watch_stopped(ctx->watch)) return true;
    for (int k = 0; k < node->n_in; k++) {
        const struct cdl_tensor *x = node->in[k];
        if (!node->needs[k] || x->shared || cdl_is_bf16(x)) continue;
        for (size_t l = rows.first * x->lines; l < rows.last * x->lines; l++) {
            for (size_t j = x->width; j < cdl_padded(x->width); j++) {
                const float pad = x->grad[l * x->ld + j]; /* 0 times what is not finite is NaN */
                if (pad != 0.0f && pad == pad) return false;
            }
        }
    }
    return true;
}
#endif

void cdl_plan_passes(struct cdl_program *program) {
    for (int i = 0; i < program->n_nodes && !program->lockstep; i++) {
        struct cdl_node *node = &program->nodes[i];
        const bool direct = node->arithmetic != CDL_THROUGH_FLOATS && node->piece >= program->rows;
        for (int back = 0; back < 2 && direct && !node->shared && !node->loop; back++) {
            const struct cdl_phase *phases = back ? node->op->backward : node->op->forward;
            const bool alone = !phases[1].run || (phases[1].mixes && !node->mixes);
            if (phases->over == CDL_SAMPLES && !phases->trains && alone)
                node->whole_pass[back] = phases->run;
        }
    }
}

void cdl_run(const struct cdl_program *program, const struct cdl_node *node, bool back,
             const struct cdl_context *ctx, struct cdl_team *team, struct cdl_range rows) {
    if (node->whole_pass[back] && !ctx->watch) {
        cdl_guard_scratch(ctx, node, 0);
        if (rows.first < rows.last) node->whole_pass[back](node, ctx, rows.first, rows.last);
        assert(!back || pads_are_zero(node, ctx, rows));
        return;
    }
    const struct cdl_phase *phases = back ? node->op->backward : node->op->forward;
    if (node->loop) return;
    if (node->shared) {
        struct cdl_context one;
        const struct cdl_range sample = {0, 1};
        if (ctx->thread == 0)
            run_phases(phases, back, node, seen_by(node, ctx, &one), NULL, sample);
    } else if (team && program->lockstep) {
        run_in_lockstep(node, back, ctx, team);
    } else {
        run_phases(phases, back, node, ctx, team, rows);
        assert(!back || pads_are_zero(node, ctx, rows));
    }
}

void cdl_feed_pieces(const struct cdl_program *program, const struct cdl_context *ctx, int i,
                     const struct cdl_epoch *epoch, size_t start, size_t first, size_t last) {
    const struct cdl_picked rows = {epoch->order, epoch->rows, start};
    cdl_guard_scratch(ctx, NULL, 0);
    for (size_t end; first < last && !cdl_stopped(ctx); first = end) {
        end = last - first < program->piece ? last : first + program->piece;
        cdl_feed(program->kernels, &epoch->arrays[i], rows, first, end, program->inputs[i],
                 ctx->scratch);
        if (program->inputs[i]->fault && cdl_may_be_inexact(&epoch->arrays[i]))
            cdl_check_whole(program->inputs[i], ctx->start, first, end);
    }
}

void cdl_forward_rows(const struct cdl_program *program, struct cdl_context *ctx,
                      const struct cdl_epoch *epoch, struct cdl_team *team, struct cdl_range rows) {
    assert(fits(program, ctx, rows));
    for (int i = 0; i < program->n_inputs; i++)
        cdl_feed_pieces(program, ctx, i, epoch, ctx->start, rows.first, rows.last);
    if (program->lockstep) cdl_barrier_wait(team, ctx->thread);
    CDL_EACH_NODE(node, program) {
        cdl_run(program, node, false, ctx, team, rows);
        if (node->waits_forward) cdl_barrier_wait(team, ctx->thread);
    }
}

void cdl_learn_node(const struct cdl_node *node, const struct cdl_context *ctx,
                    const struct cdl_sink *to) {
    const bool leaves = ctx->ranks && ctx->ranks->leaves && !node->shared;
    struct cdl_context one; /* for a shared node: a sample, for all threads */
    if (node->shared) one = *ctx, one.rows = 1, ctx = &one;
    const size_t all = ctx->rows;
    const size_t each = leaves ? ctx->unit : ctx->micro ? ctx->micro : all;
    /* An op that joins learns from sums over all processes. */
    if (all == 0 && (leaves || !node->op->joins)) return;
    cdl_guard_scratch(ctx, node, CDL_THREAD_SCRATCH);
    size_t first = 0, end;
    do {
        end = cdl_min(first + each, all);
        const struct cdl_sink part = leaves ? cdl_leaf_of(ctx, first)
                                            : (struct cdl_sink){.adds = to->adds || first > 0,
                                                                .leaves = to->leaves || end < all};
        node->op->update(node, ctx, (struct cdl_rows){first, end - first, each}, &part);
        first = end;
    } while (end < all);
}

/* Is the update of a node to go ahead? The same answer for all threads, which come from a barrier,
 * and no poll has happened since; where gradients are kept it may differ: no weight changes yet. */
static bool goes_on(const struct cdl_program *program, struct cdl_context *ctx,
                    const struct cdl_sink *to) {
    if (program->keeps_grads)
        return !cdl_stopped(ctx); /* no weight changes before all gradients are complete */
    if (!ctx->watch) return true;
    if (cdl_watch_stopped(&program->watch)) return false;
    if (!to->leaves) ctx->watch = NULL; /* from here on the step is finished */
    return true;
}

void cdl_backward_rows(const struct cdl_program *program, struct cdl_context *ctx,
                       struct cdl_team *team, struct cdl_range rows, const struct cdl_sink *to) {
    for (int i = program->n_nodes - 1; i >= 0; i--) {
        const struct cdl_node *node = &program->nodes[i];
        if (node->goes_back) cdl_run(program, node, true, ctx, team, rows);
        if (node->waits_backward) cdl_barrier_wait(team, ctx->thread);
        if (program->learns_later || !node->learns || node->loop) continue;
        const bool goes = goes_on(program, ctx, to), in_slots = cdl_uses_slots(program, ctx);
        if (goes && in_slots) cdl_fill_slots(node, ctx);
        if (in_slots) cdl_barrier_wait(team, ctx->thread);
        if (goes) (in_slots ? cdl_learn_filled : cdl_learn_node)(node, ctx, to);
        if (program->lockstep) cdl_barrier_wait(team, ctx->thread);
    }
}

static void update_share(const struct cdl_program *program, const struct cdl_context *ctx) {
    for (int i = program->n_nodes - 1; i >= 0; i--) {
        const struct cdl_node *node = &program->nodes[i];
        if (node->learns && !node->loop && !cdl_stopped(ctx))
            cdl_learn_node(node, ctx, &cdl_all_here);
    }
}

bool cdl_update(struct cdl_program *program, struct cdl_context *ctx, struct cdl_team *team) {
    if (!program->ranks.all && cdl_has_failed(program)) return false;
    if (!program->keeps_grads) {
        if (cdl_watch_stopped(&program->watch)) return false;
        ctx->watch = NULL;
    }
    if (program->learns_later) update_share(program, ctx);
    cdl_guard_scratch(ctx, NULL, 0);
    if (program->ranks.all && !cdl_join_step(program, ctx, team)) return false;
    cdl_learn_sums(program, ctx, team);
    return cdl_learn_kept(program, ctx, team);
}

static void settle_nodes(const struct cdl_program *program, const struct cdl_context *ctx) {
    CDL_EACH_NODE(node, program) {
        struct cdl_context one;
        if (!node->op->settle) continue;
        node->op->settle(node, seen_by(node, ctx, &one));
    }
}

/* The program after the batch reads the updated weights; it is short, and never ends early. */
static void run_after(const struct cdl_program *program) {
    struct cdl_program *after = program->after;
    cdl_bump_versions(program);
    if (cdl_find_stale(after, false)) cdl_make_stale(after, NULL, 0);
    const struct cdl_epoch epoch = {.rows = 1, .batch = 1};
    struct cdl_context ctx = cdl_context_of(after, &epoch, false, 0, 1);
    ctx.watch = NULL;
    for (int i = 0; i < after->n_nodes; i++)
        cdl_run(after, &after->nodes[i], false, &ctx, NULL, (struct cdl_range){0, 1});
    settle_nodes(after, &ctx);
}

void cdl_settle(const struct cdl_program *program, const struct cdl_context *ctx) {
    settle_nodes(program, ctx);
    if (program->after && ctx->training) run_after(program);
}

/* Penalties: those of the last step, or those of the weights as they are now. */
static double penalties_of(const struct cdl_program *program, const struct cdl_context *ctx) {
    double sum = 0.0;
    CDL_EACH_TRAINED(trained, program) {
        if (!trained->penalty) continue;
        const size_t n = cdl_param_floats(trained->param);
        if (!ctx->training) {
            ctx->kernels->penalize(n, trained->param->w, NULL, trained->l1, trained->l2,
                                   trained->penalty);
        }
        for (size_t line = 0; line < (n + CDL_LINE - 1) / CDL_LINE; line++)
            sum += trained->penalty[line];
    }
    return sum;
}

void cdl_count_penalties(struct cdl_program *program, const struct cdl_context *ctx,
                         bool first_batch) {
    /* Weights are constant during an evaluation, unless a node assigns to one. */
    if (ctx->training || first_batch || program->settles)
        program->penalty = penalties_of(program, ctx);
    program->penalty_total += program->penalty * (double)ctx->batch;
    program->penalty_count += (double)ctx->batch;
}

static void count_activities(struct cdl_program *program, const struct cdl_context *ctx) {
    CDL_EACH_NODE(node, program) {
        if (!node->op->penalty) continue;
        struct cdl_context one;
        const double rows = (double)(node->shared ? ctx->batch : ctx->joined);
        program->penalty_total += node->op->penalty(node, seen_by(node, ctx, &one)) * rows;
    }
}

void cdl_count_reports(struct cdl_program *program, const struct cdl_context *ctx) {
    if (program->n_penalties) count_activities(program, ctx);
    for (int i = 0; i < program->n_reports; i++) {
        const struct cdl_node *node = program->reports[i];
        struct cdl_context one;
        node->op->report(node, seen_by(node, ctx, &one), program->states[i]);
    }
}

void cdl_copy_out(const struct cdl_tensor *value, size_t first, size_t rows, float *to) {
    assert(value->data && value->ld >= value->width);
    const float *from = cdl_rows(value, first);
    const size_t lines = (value->shared ? 1 : rows) * value->lines;
    if (value->width == value->ld)
        memcpy(to, from, lines * value->ld * sizeof *to);
    else
        cdl_pack(value, from, lines, to);
}
