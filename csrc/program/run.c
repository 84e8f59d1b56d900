/* run.c - the loops over batches: train, test, and one batch in two halves.
 *
 * One region of threads a call. In a step each thread takes the same rows of every node: gather,
 * forward, loss, backward; after a barrier it takes its share of every node's parameters; after
 * another the next step begins. No sum is shared between threads, so any number of them gives the
 * same bits. A thread alone lets a node learn right after its backward pass, while the operands
 * are still in cache.
 */
#include <math.h>

#include "learn/learn.h"
#include "ops/lines.h"
#include "program/steps.h"

struct loop {
    struct cdl_program *program;
    struct cdl_epoch *epoch;
    size_t steps;
    double end; /* deadline: no batch begins after it */
    bool training;
    bool watched;            /* whether the watch may be polled behind a batch */
    bool whole;              /* whether a batch that has begun is finished */
    bool polls, stop, stale; /* written by thread 0 between two barriers */
    struct cdl_epoch begun;  /* what all threads start from; the caller's poll writes to *epoch */
};

/* Moves on to the next batch. Only steps that changed something count as optimizer steps. */
static void go_on(struct cdl_epoch *epoch, bool training, bool learned) {
    epoch->next++;
    epoch->iteration += training && learned;
    epoch->skipped += training && !learned;
}

/* Must the step be dropped before its first update? Asked where nodes learn during the backward
 * pass: on a single thread, or in lockstep, where all threads must decide alike although the watch
 * may be polled meanwhile. */
static bool ends_here(const struct cdl_program *program, const struct cdl_team *team) {
    if (program->ranks.all) return program->ranks.ended; /* else all finish the batch */
    if (team->size == 1) return cdl_is_void(program);
    return program->lockstep && cdl_has_failed(program);
}

/* Forward and backward pass over the samples that ctx says are in memory. */
static void pass_over(const struct loop *loop, const struct cdl_epoch *epoch,
                      struct cdl_context *ctx, struct cdl_team *team, const struct cdl_sink *to) {
    const struct cdl_program *program = loop->program;
    const struct cdl_range rows = cdl_own_blocks(ctx, cdl_row_step(ctx), ctx->rows);
    cdl_forward_rows(program, ctx, epoch, team, rows);
    if (loop->training && !ends_here(program, team))
        cdl_backward_rows(program, ctx, team, rows, to);
}

/* Micro-batch passes over a batch that has memory for a part only: outputs, sums of gradients and
 * reports are those of the whole batch. */
static void pass_over_micro(const struct loop *loop, const struct cdl_epoch *epoch,
                            struct cdl_context *ctx, struct cdl_team *team) {
    struct cdl_program *program = loop->program;
    const struct cdl_context whole = *ctx;
    bool is_void = false;
    const bool is_first = ctx->thread == 0;
    if (is_first) cdl_save_reports(program, false);
    for (size_t first = 0; first < whole.rows && !is_void; first += program->rows) {
        ctx->first = whole.first + first;
        ctx->start = whole.start + first;
        ctx->rows = cdl_min(whole.rows - first, program->rows);
        const struct cdl_sink to = {.adds = first > 0, .leaves = first + ctx->rows < whole.rows};
        if (is_first) cdl_place_outputs(program, first);
        cdl_barrier_wait(team, ctx->thread);
        pass_over(loop, epoch, ctx, team, &to);
        cdl_barrier_wait(team, ctx->thread);
        is_void =
            cdl_is_void(program); /* no thread polls the watch again before the next barrier */
        if (is_first) cdl_count_reports(program, ctx);
    }
    if (is_first && is_void) cdl_save_reports(program, true);
    if (is_first) cdl_place_outputs(program, 0);
    ctx->first = whole.first;
    ctx->start = whole.start;
    ctx->rows = whole.rows;
}

static void weights_changed(const struct loop *loop) {
    if (loop->training || loop->program->settles) cdl_bump_versions(loop->program);
    if (loop->training) cdl_are_learned(loop->program);
}

/* End of a step, all parameters updated: the caller's poll may read and change weights. Derived
 * weights that became stale are made anew by all threads. */
static void renew(struct loop *loop, struct cdl_team *team, int thread) {
    struct cdl_program *program = loop->program;
    if (thread == 0) {
        weights_changed(loop);
        if (loop->polls) loop->stop = cdl_watch_answers(&program->watch, loop->end);
        loop->stale = cdl_find_stale(program, loop->training) > 0;
    }
    cdl_barrier_wait(team, thread);
    if (loop->stale) cdl_make_stale(program, team, thread);
}

static void loop_work(void *arg, struct cdl_team *team, int thread) {
    struct loop *loop = arg;
    struct cdl_program *program = loop->program;
    /* Each thread has its own copy of the epoch; thread 0 writes it back after each batch, so that
     * the caller's poll sees the progress. */
    struct cdl_epoch epoch = loop->begun;
    const uint64_t first = epoch.iteration;
    struct cdl_context ctx = cdl_context_of(program, &epoch, loop->training, thread, team->size);
    ctx.owed = program->owed;
    for (size_t done = 0; done < loop->steps && epoch.next * epoch.batch < epoch.rows; done++) {
        cdl_begin_batch(program, &epoch, &ctx);
        if (loop->whole) ctx.watch = NULL;
        const bool in_parts = ctx.rows > program->rows;
        if (loop->training) {
            if (thread == 0) cdl_save_params(program, false);
            if (program->saved_params)
                cdl_barrier_wait(team, thread); /* before an op changes them */
            if (thread == 0 && program->joined) cdl_begin_joined(program, &ctx);
            cdl_prepare_step(program, &epoch, epoch.iteration - first, &ctx.optimizer);
        }
        if (in_parts)
            pass_over_micro(loop, &epoch, &ctx, team);
        else
            pass_over(loop, &epoch, &ctx, team, &cdl_all_here);
        cdl_barrier_wait(team, thread);
        const bool learned = loop->training && cdl_update(program, &ctx, team);
        if (cdl_is_void(program)) {
            if (loop->training && thread == 0) cdl_save_params(program, true);
            break;
        }
        go_on(&epoch, loop->training, learned);
        if (program->settles) cdl_barrier_wait(team, thread);
        if (thread == 0) {
            if (program->settles) cdl_settle(program, &ctx);
            if (!in_parts) cdl_count_reports(program, &ctx);
            program->turns.now.rows += ctx.rows;
            loop->epoch->next = epoch.next;
            loop->epoch->iteration = epoch.iteration;
            loop->epoch->skipped = epoch.skipped;
            loop->polls = loop->watched && (!ctx.n_owed || ctx.n_owed >= CDL_LEAST_OWED) &&
                          cdl_watch_tick(&program->watch, loop->end, team->size > 1);
            if (ctx.owed) program->owed[ctx.n_owed] = ctx.optimizer;
        }
        cdl_barrier_wait(team, thread);
        ctx.n_owed += ctx.owed && learned;
        if (ctx.n_owed == CDL_MOST_OWED || (ctx.n_owed && loop->polls)) {
            cdl_make_owed(program, &ctx);
            ctx.n_owed = 0;
            cdl_barrier_wait(team, thread);
        }
        if (thread == 0) cdl_count_penalties(program, &ctx, done == 0);
        if (loop->polls || program->derives[loop->training]) renew(loop, team, thread);
        if (loop->stop) break;
    }
    cdl_make_owed(program, &ctx);
}

static void work_through(struct loop *loop) {
    struct cdl_program *program = loop->program;
    program->ranks.ended = false;
    cdl_prepare(program, loop->training);
    if (loop->training) cdl_bump_versions(program);
    loop->begun = *loop->epoch;
    cdl_run_region(program, false, loop_work, loop);
    if (cdl_is_void(program))
        cdl_bump_versions(program);
    else if (!program->derives[loop->training])
        weights_changed(loop);
}

/* Is the time up, or has the caller's poll answered that the run is to end? */
static bool run_loop(struct cdl_program *program, struct cdl_epoch *epoch, size_t steps, double end,
                     bool training) {
    struct loop loop = {program, epoch, steps, end, training, .watched = true};
    work_through(&loop);
    return loop.stop;
}

void cdl_run_batches(struct cdl_program *program, struct cdl_epoch *epoch, size_t steps,
                     double seconds, bool training) {
    cdl_watch_begin(&program->watch);
    run_loop(program, epoch, steps, cdl_now() + seconds, training);
}

void cdl_count(struct cdl_epoch *epoch, int64_t *counter) {
    const int64_t steps = (int64_t)(epoch->iteration - epoch->counted);
    __atomic_fetch_add(counter, steps, __ATOMIC_RELAXED);
    epoch->counted = epoch->iteration;
}

static bool apply(struct cdl_program *program, struct cdl_epoch *epoch,
                  struct cdl_param *const *gradients, bool whole);

/* Next batch of link i, which only computes; false if that was ended. */
static bool compute_link(const struct cdl_link *link, size_t i, double end) {
    struct cdl_epoch *epoch = link->epoch;
    struct loop loop = {link->program, epoch, 1, end, false};
    const size_t batch = epoch->next;
    loop.whole = i > 0;
    work_through(&loop);
    if (cdl_is_void(link->program)) return false;
    for (size_t k = 0; k < link->n_results; k++)
        cdl_read_output(link->program, (int)k, epoch->batch,
                        link->results[k] + batch * link->strides[k]);
    return true;
}

/* In a region, since the caller's poll is to run in the floating-point mode outside of one. */
static void answer_work(void *arg, struct cdl_team *team, int thread) {
    struct loop *loop = arg;
    (void)team, (void)thread;
    loop->stop = cdl_watch_answers(&loop->program->watch, loop->end);
}

/* Next batches of link i; false if the run is to end, which leaves all links at the same batch. */
static bool train_link(const struct cdl_link *links, size_t n, size_t i, size_t steps, double end) {
    const struct cdl_link *link = &links[i];
    struct cdl_epoch *epoch = link->epoch;
    if (link->n_results) return compute_link(link, i, end);
    epoch->iteration = epoch->counted = (uint64_t)*link->counter;
    const size_t made = cdl_min(epoch->iteration - link->first, link->n_rates - 1);
    epoch->rates = link->rates + made;
    epoch->n_rates = link->n_rates - made;
    if (link->applies) {
        struct loop loop = {link->program, epoch, .end = end};
        epoch->iteration += apply(link->program, epoch, link->gradients, true);
        cdl_count(epoch, link->counter);
        if (i + 1 == n && cdl_watch_tick(&link->program->watch, end, false))
            cdl_region(1, answer_work, &loop);
        return !loop.stop;
    }
    for (size_t g = 0; g < link->n_gradients; g++)
        memset(link->gradients[g]->w, 0, cdl_param_floats(link->gradients[g]) * sizeof(float));
    struct loop loop = {link->program, epoch, steps, end, true};
    loop.watched = i + 1 == n;
    loop.whole = i > 0;
    work_through(&loop);
    cdl_count(epoch, link->counter);
    return !loop.stop && !cdl_is_void(link->program);
}

void cdl_train_chain(const struct cdl_link *links, size_t n, size_t steps, double seconds) {
    const double end = cdl_now() + seconds;
    const size_t each = n > 1 ? 1 : steps;
    bool goes_on = true;
    for (size_t i = 0; i < n; i++) cdl_watch_begin(&links[i].program->watch);
    for (size_t done = 0; done < steps && goes_on; done += each)
        for (size_t i = 0; i < n && goes_on; i++) goes_on = train_link(links, n, i, each, end);
}

size_t cdl_train_epochs(struct cdl_program *program, struct cdl_epoch *epoch, const int64_t *orders,
                        size_t epochs, double *found) {
    bool stops = false;
    size_t done = 0;
    cdl_watch_begin(&program->watch);
    while (done < epochs && !stops &&
           cdl_train_epoch(program, epoch, orders + done * epoch->rows, found, &stops)) {
        found += cdl_found_doubles(program);
        done++;
    }
    return done;
}

bool cdl_train_epoch(struct cdl_program *program, struct cdl_epoch *epoch, const int64_t *order,
                     double *found, bool *stops) {
    epoch->passed += epoch->next;
    epoch->next = 0;
    epoch->order = order;
    cdl_reset_reports(program);
    *stops = run_loop(program, epoch, SIZE_MAX, INFINITY, program->training);
    if (epoch->next * epoch->batch < epoch->rows) return false;
    cdl_penalty(program, &found[0], &found[1]);
    found += 2;
    for (int r = 0; r < program->n_reports; r++) {
        memcpy(found, program->states[r], program->state_sizes[r] * sizeof *found);
        found += program->state_sizes[r];
    }
    return true;
}

size_t cdl_found_doubles(const struct cdl_program *program) {
    size_t doubles = 2;
    for (int r = 0; r < program->n_reports; r++) doubles += program->state_sizes[r];
    return doubles;
}

/* ---- one batch in two halves ----------------------------------------------------------------- */

/* Work of a region on one batch, or (given) on gradients of the weights that are there. */
struct half {
    struct cdl_program *program;
    struct cdl_epoch *epoch;
    struct cdl_context ctx;
    const float *const *external;
    struct cdl_param *const *given;
    bool learned; /* written by thread 0 */
};

static struct cdl_context seen(const struct half *half, const struct cdl_team *team, int thread) {
    struct cdl_context ctx =
        cdl_context_of(half->program, half->epoch, half->ctx.training, thread, team->size);
    ctx.optimizer = half->ctx.optimizer;
    return ctx;
}

static void forward_half(void *arg, struct cdl_team *team, int thread) {
    struct half *half = arg;
    struct cdl_context ctx = seen(half, team, thread);
    const struct cdl_range rows = cdl_own_blocks(&ctx, CDL_ROW_BLOCK, ctx.rows);
    cdl_forward_rows(half->program, &ctx, half->epoch, team, rows);
}

size_t cdl_forward(struct cdl_program *program, struct cdl_epoch *epoch, bool training) {
    struct half half = {program, epoch, cdl_context_of(program, epoch, training, 0, 1)};
    if (half.ctx.rows == 0) return 0;
    program->turns.now.rows += half.ctx.rows;
    cdl_prepare(program, training);
    cdl_watch_begin(&program->watch);
    if (training) cdl_save_params(program, false);
    cdl_run_region(program, false, forward_half, &half);
    if (training) cdl_bump_versions(program);
    if (cdl_is_void(program)) {
        if (training) cdl_save_params(program, true);
        return half.ctx.rows;
    }
    /* A backward pass, if one follows, reads the weights as they are. */
    if (!training || program->n_groups == 0) cdl_settle(program, &half.ctx);
    if (program->settles) cdl_bump_versions(program);
    cdl_count_reports(program, &half.ctx);
    if (!training) cdl_count_penalties(program, &half.ctx, true); /* training: in its backward */
    return half.ctx.rows;
}

/* Rows of an external gradient; dropped if nothing before the value learns. */
static void copy_in(const struct cdl_tensor *value, struct cdl_range rows, const float *from) {
    const size_t first = rows.first * value->lines, last = rows.last * value->lines;
    if (value->grad)
        cdl_unpack(value, from + first * value->width, last - first,
                   value->grad + first * value->ld);
}

static void backward_half(void *arg, struct cdl_team *team, int thread) {
    struct half *half = arg;
    struct cdl_program *program = half->program;
    struct cdl_context ctx = seen(half, team, thread);
    const struct cdl_range rows = cdl_own_blocks(&ctx, CDL_ROW_BLOCK, ctx.rows);
    for (int i = 0; i < program->n_external_grads; i++)
        copy_in(program->external_grads[i], rows, half->external[i]);
    if (program->lockstep) cdl_barrier_wait(team, thread);
    cdl_backward_rows(program, &ctx, team, rows, &cdl_all_here);
    cdl_barrier_wait(team, thread);
    const bool learned = cdl_update(program, &ctx, team);
    if (thread == 0) half->learned = learned;
}

void cdl_backward(struct cdl_program *program, struct cdl_epoch *epoch,
                  const float *const *gradients) {
    struct half half = {program, epoch, cdl_context_of(program, epoch, true, 0, 1), gradients};
    cdl_prepare_step(program, epoch, 0, &half.ctx.optimizer);
    cdl_watch_begin(&program->watch);
    cdl_run_region(program, false, backward_half, &half);
    const bool is_void = cdl_is_void(program);
    if (is_void)
        cdl_save_params(program, true);
    else if (program->n_groups)
        cdl_settle(program, &half.ctx);
    cdl_bump_versions(program);
    if (is_void) return;
    cdl_count_penalties(program, &half.ctx, true);
    go_on(epoch, true, half.learned);
}

/* ---- one step from gradients that are there -------------------------------------------------- */

static void apply_work(void *arg, struct cdl_team *team, int thread) {
    struct half *job = arg;
    cdl_guard_scratch(&job->ctx, NULL, 0);
    for (int i = 0; i < job->program->n_trained; i++) {
        cdl_learn_given(&job->program->trained[i], &job->ctx, job->given[i]->w, job->ctx.scratch);
    }
    job->learned = cdl_learn_kept(job->program, &job->ctx, team);
}

/* One step by the gradients, which is finished if it is to be `whole`. */
static bool apply(struct cdl_program *program, struct cdl_epoch *epoch,
                  struct cdl_param *const *gradients, bool whole) {
    struct half job = {program, epoch, cdl_context_of(program, epoch, true, 0, 1),
                       .given = gradients};
    if (whole) job.ctx.watch = NULL;
    cdl_prepare_step(program, epoch, 0, &job.ctx.optimizer);
    cdl_region(1, apply_work, &job);
    if (program->settles) cdl_settle(program, &job.ctx);
    cdl_bump_versions(program);
    return job.learned;
}

bool cdl_apply(struct cdl_program *program, struct cdl_epoch *epoch,
               struct cdl_param *const *gradients) {
    cdl_watch_begin(&program->watch);
    return apply(program, epoch, gradients, false);
}

/* ---- what a caller reads --------------------------------------------------------------------- */

int cdl_reports(const struct cdl_program *program) { return program->n_reports; }

const double *cdl_report(const struct cdl_program *program, int i, size_t *doubles) {
    *doubles = program->state_sizes[i];
    return program->states[i];
}

void cdl_penalty(const struct cdl_program *program, double *total, double *count) {
    *total = program->penalty_total;
    *count = program->penalty_count;
}

void cdl_reset_reports(struct cdl_program *program) {
    program->penalty_total = program->penalty_count = 0.0;
    for (int i = 0; i < program->n_reports; i++) {
        memset(program->states[i], 0, program->state_sizes[i] * sizeof(double));
    }
}

void cdl_read_output(const struct cdl_program *program, int i, size_t rows, float *to) {
    cdl_copy_out(program->outputs[i], 0, rows, to);
}

void cdl_read_gradient(const struct cdl_program *program, int i, size_t rows, float *to) {
    struct cdl_tensor gradient = *program->outputs[i];
    gradient.data = gradient.grad;
    if (gradient.data) cdl_copy_out(&gradient, 0, rows, to);
}

void cdl_read_input(const struct cdl_program *program, int i, size_t rows, void *to) {
    const struct cdl_tensor *x = program->inputs[i];
    if (!cdl_is_bf16(x)) cdl_copy_out(x, 0, rows, to);
    for (size_t line = 0; line < rows * x->lines && cdl_is_bf16(x); line++)
        program->kernels->convert[CDL_DTYPE_bfloat16](
            x->width, (const char *)(cdl_bf16(x->data) + line * x->ld), sizeof(uint16_t),
            (float *)to + line * x->width);
}

bool cdl_fault(const struct cdl_program *program, struct cdl_found *found) {
    const struct cdl_fault *fault = cdl_first_fault(program);
    if (!fault) return false;
    *found = (struct cdl_found){fault->instruction, fault->shared, cdl_fault_sample(fault),
                                cdl_fault_value(fault), fault->limit};
    return true;
}

int cdl_program_threads(const struct cdl_program *program) { return program->threads; }
size_t cdl_program_bytes(const struct cdl_program *program, size_t *least) {
    *least = program->least_floats * sizeof(float);
    return program->floats * sizeof(float);
}
const char *cdl_program_isa(const struct cdl_program *program) { return program->kernels->isa; }
