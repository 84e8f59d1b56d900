/* run.c - the loops over batches: train, test, and one batch in two halves.
 *
 * One region of threads a call. In a step each thread takes the same rows of every node: gather,
 * forward, loss, backward; after a barrier it takes its share of every node's parameters; after
 * another the next step begins. No sum is shared between threads, so any number of them gives the
 * same bits. A thread alone lets a node learn right after its backward pass, while the operands
 * are still in cache.
 */
#define _POSIX_C_SOURCE 200809L
#include <string.h>
#include <time.h>

#include "ops/learn.h"
#include "program/steps.h"

static double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

struct loop {
    struct cdl_program *program;
    struct cdl_pass *pass;
    size_t steps;
    double seconds;
    bool training;
    bool stop; /* written by thread 0 between two barriers */
};

/* Asks the clock at most every half millisecond: for a tiny net it would cost as much as a layer.
 */
struct stopwatch {
    double end, last;
    size_t every, until_next;
};

static bool time_is_up(struct stopwatch *watch) {
    if (--watch->until_next > 0) return false;
    const double now = seconds_now();
    if (now - watch->last < 0.5e-3) watch->every *= 2;
    if (now - watch->last > 2e-3 && watch->every > 1) watch->every /= 2;
    watch->last = now;
    watch->until_next = watch->every;
    return now >= watch->end;
}

/* The next batch; of the optimizer's steps only those count that changed something. */
static void go_on(struct cdl_pass *pass, bool training, bool learned) {
    pass->next++;
    pass->iteration += training && learned;
    pass->skipped += training && !learned;
}

static void loop_work(void *arg, struct cdl_team *team, int thread) {
    struct loop *loop = arg;
    struct cdl_program *program = loop->program;
    /* Every thread counts for itself; thread 0 writes the pass back when all have finished. */
    struct cdl_pass pass = *loop->pass;
    const uint64_t first = pass.iteration;
    const double start_time = seconds_now();
    struct stopwatch watch = {start_time + loop->seconds, start_time, 1, 1};
    for (size_t done = 0; done < loop->steps && pass.next * pass.batch < pass.rows; done++) {
        struct cdl_context ctx = cdl_context_of(program, &pass, loop->training, thread, team->size);
        const struct cdl_share rows = cdl_share_of(ctx.rows, thread, team->size);
        cdl_forward_rows(program, &ctx, &pass, team, rows);
        /* Alone, nodes learn as the backward pass goes; else nothing has before the barrier. */
        if (team->size == 1 && cdl_has_failed(program)) break;
        if (loop->training) {
            cdl_prepare_step(program, &pass, pass.iteration - first, &ctx.optimizer);
            cdl_backward_rows(program, &ctx, team, rows);
        }
        cdl_barrier_wait(team, thread);
        if (cdl_has_failed(program)) break;
        const bool learned = loop->training && cdl_update(program, &ctx, team);
        go_on(&pass, loop->training, learned);
        if (program->settles) cdl_barrier_wait(team, thread);
        if (thread == 0) {
            if (program->settles) cdl_settle(program, &ctx);
            cdl_count_reports(program, &ctx);
            loop->stop = time_is_up(&watch);
        }
        cdl_barrier_wait(team, thread);
        if (thread == 0) cdl_count_penalties(program, &ctx);
        if (loop->stop) break;
    }
    if (thread == 0) {
        loop->pass->next = pass.next;
        loop->pass->iteration = pass.iteration;
        loop->pass->skipped = pass.skipped;
    }
}

void cdl_train(struct cdl_program *program, struct cdl_pass *pass, size_t steps, double seconds) {
    struct loop loop = {program, pass, steps, seconds, true, false};
    cdl_prepare(program, true);
    cdl_region(cdl_team_size(program), loop_work, &loop);
}

void cdl_test(struct cdl_program *program, struct cdl_pass *pass, size_t steps, double seconds) {
    struct loop loop = {program, pass, steps, seconds, false, false};
    cdl_prepare(program, false);
    cdl_region(cdl_team_size(program), loop_work, &loop);
}

/* ---- one batch in two halves ------------------------------------------------------------------
 */

struct half {
    struct cdl_program *program;
    struct cdl_pass *pass;
    struct cdl_context ctx;
    const float *const *gradients;
    bool learned; /* written by thread 0 */
};

/* The half's context as a thread of the team sees it. */
static struct cdl_context seen(const struct half *half, const struct cdl_team *team, int thread) {
    struct cdl_context ctx = half->ctx;
    ctx.thread = thread;
    ctx.threads = team->size;
    ctx.scratch = cdl_scratch_of(half->program, thread);
    return ctx;
}

static void forward_half(void *arg, struct cdl_team *team, int thread) {
    struct half *half = arg;
    struct cdl_context ctx = seen(half, team, thread);
    const struct cdl_share rows = cdl_share_of(ctx.rows, thread, team->size);
    cdl_forward_rows(half->program, &ctx, half->pass, team, rows);
}

size_t cdl_forward(struct cdl_program *program, struct cdl_pass *pass, bool training) {
    struct half half = {program, pass, cdl_context_of(program, pass, training, 0, 1), NULL, false};
    if (half.ctx.rows == 0) return 0;
    cdl_prepare(program, training);
    cdl_region(cdl_team_size(program), forward_half, &half);
    if (cdl_has_failed(program)) return half.ctx.rows;
    /* Where something learns, a backward pass comes, which reads the weights as they are. */
    if (!training || program->n_groups == 0) cdl_settle(program, &half.ctx);
    cdl_count_reports(program, &half.ctx);
    if (!training) cdl_count_penalties(program, &half.ctx); /* training: in its backward */
    return half.ctx.rows;
}

/* Rows of a gradient that the caller computed; a value before which nothing learns keeps none. */
static void copy_in(const struct cdl_tensor *value, struct cdl_share rows, const float *from) {
    if (!value->grad) return;
    for (size_t line = rows.first * value->lines; line < rows.last * value->lines; line++) {
        for (size_t j = 0; j < cdl_padded(value->width); j++) {
            value->grad[line * value->ld + j] =
                j < value->width ? from[line * value->width + j] : 0.0f;
        }
    }
}

static void backward_half(void *arg, struct cdl_team *team, int thread) {
    struct half *half = arg;
    struct cdl_program *program = half->program;
    struct cdl_context ctx = seen(half, team, thread);
    const struct cdl_share rows = cdl_share_of(ctx.rows, thread, team->size);
    for (int i = 0; i < program->n_pulled; i++)
        copy_in(program->pulled[i], rows, half->gradients[i]);
    cdl_backward_rows(program, &ctx, team, rows);
    cdl_barrier_wait(team, thread);
    if (cdl_has_failed(program)) return;
    const bool learned = cdl_update(program, &ctx, team);
    if (thread == 0) half->learned = learned;
}

void cdl_backward(struct cdl_program *program, struct cdl_pass *pass,
                  const float *const *gradients) {
    struct half half = {program, pass, cdl_context_of(program, pass, true, 0, 1), gradients, false};
    cdl_prepare_step(program, pass, 0, &half.ctx.optimizer);
    cdl_region(cdl_team_size(program), backward_half, &half);
    if (program->n_groups && !cdl_has_failed(program)) cdl_settle(program, &half.ctx);
    cdl_count_penalties(program, &half.ctx);
    go_on(pass, true, half.learned);
}

/* ---- one step from gradients that are there ----------------------------------------------------
 */

struct application {
    struct cdl_program *program;
    struct cdl_context ctx;
    struct cdl_param *const *gradients;
};

static void apply_work(void *arg, struct cdl_team *team, int thread) {
    struct application *job = arg;
    for (int i = 0; i < job->program->n_trained; i++) {
        cdl_learn_given(&job->program->trained[i], &job->ctx, job->gradients[i]->w,
                        job->program->thread_scratch);
    }
    (void)thread;
    cdl_learn_kept(job->program, &job->ctx, team);
}

void cdl_apply(struct cdl_program *program, struct cdl_pass *pass,
               struct cdl_param *const *gradients) {
    struct application job = {program, cdl_context_of(program, pass, true, 0, 1), gradients};
    cdl_prepare_step(program, pass, 0, &job.ctx.optimizer);
    cdl_region(1, apply_work, &job);
}

/* ---- what a caller reads ----------------------------------------------------------------------
 */

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
    cdl_copy_out(program->inputs[i], 0, rows, to);
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
