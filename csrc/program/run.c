/* run.c - the loops over batches: train, test, predict.
 *
 * One region of threads a call. In a step each thread takes the same rows of every node: gather,
 * forward, loss, backward; after a barrier it takes its share of every node's parameters; after
 * another the next step begins. No sum is shared between threads, so any number of them gives the
 * same bits. A thread alone lets a node learn right after its backward pass, while the operands
 * are still in cache.
 */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <string.h>
#include <time.h>

#include "ops/learn.h"
#include "ops/whole.h"
#include "program/program.h"

struct share {
    size_t first, last;
};

static struct share share_of(size_t rows, int thread, int threads) {
    const size_t each = cdl_round_up((rows + (size_t)threads - 1) / (size_t)threads, CDL_ROW_BLOCK);
    const size_t first = (size_t)thread * each < rows ? (size_t)thread * each : rows;
    return (struct share){first, first + each < rows ? first + each : rows};
}

static double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* `done`: steps since the first of pass->rates. */
static void prepare_step(const struct cdl_program *program, const struct cdl_pass *pass,
                         size_t done, struct cdl_step *step) {
    static void (*const steps[])(double, double, const double *, float *) = {
#define X(NAME, N_SLOTS, HYPERS, SLOTS) NAME##_step,
        CDL_OPTIMIZERS(X)
#undef X
    };
    if (program->n_groups == 0) return;
    const struct cdl_rules *rules = &program->rules;
    const double rate = (double)pass->rates[done < pass->n_rates ? done : pass->n_rates - 1];
    const int64_t each = rules->accumulation_steps > 1 ? rules->accumulation_steps : 1;
    const int64_t t = (int64_t)pass->iteration / each + 1;
    for (int i = 0; i < program->n_groups; i++) {
        const struct cdl_group_def *group = &program->groups[i];
        step->groups[i].update = program->kernels->update[group->optimizer];
        step->groups[i].whole = cdl_wholes[group->optimizer];
        steps[group->optimizer](rate, (double)t, group->hypers, step->groups[i].derived);
    }
    step->rate = (float)rate;
    step->clip_value = (float)rules->clip_value;
    step->clip_norm = (float)rules->clip_norm;
    step->global_clip_norm = (float)rules->global_clip_norm;
    step->average_momentum = t > 1 ? (float)rules->average_momentum : 0.0f;
    step->overwrite = rules->overwrite_frequency > 0 && t % rules->overwrite_frequency == 0;
    step->accumulate = (int)each;
    step->finite_only = rules->finite_only;
    step->apply = ((int64_t)pass->iteration + 1) % each == 0;
}

typedef void phase_fn(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                      size_t last);

/* One op on the thread's rows, stage by stage; a thread without rows still keeps the others' time.
 */
static void run_stages(phase_fn *phase, int stages, const struct cdl_node *node,
                       struct cdl_context *ctx, struct cdl_team *team, int thread,
                       struct share rows) {
    const bool all = ctx->training || node->op->stages_always;
    for (ctx->stage = 0; ctx->stage == 0 || (all && ctx->stage < stages); ctx->stage++) {
        if (ctx->stage > 0) cdl_barrier_wait(team, thread);
        if (rows.first < rows.last) phase(node, ctx, rows.first, rows.last);
    }
}

static void forward_rows(const struct cdl_program *program, struct cdl_context *ctx,
                         const struct cdl_pass *pass, size_t start, struct cdl_team *team,
                         int thread, struct share rows) {
    for (int i = 0; i < program->n_inputs; i++) {
        cdl_gather(program->kernels, &pass->arrays[i], pass->order, pass->rows, start, rows.first,
                   rows.last, program->inputs[i]);
    }
    for (int i = 0; i < program->n_nodes; i++) {
        const struct cdl_op *op = program->nodes[i].op;
        run_stages(op->forward, op->forward_stages, &program->nodes[i], ctx, team, thread, rows);
    }
}

/* Whether update() has something to do. */
static bool learns(const struct cdl_node *node) {
    bool any = false;
    for (int i = 0; i < CDL_MAX_PARAMS; i++) any |= node->trained[i] != NULL;
    return node->op->update && any && node->has_dy;
}

/* The gradient through an op that has none, such as a search for bins: zeros. */
static void no_gradient(const struct cdl_node *node, struct share rows) {
    const struct cdl_tensor *x = node->in[0];
    if (rows.first < rows.last && node->needs_dx && !node->op->report) {
        memset(cdl_grad_rows(x, rows.first), 0,
               (rows.last - rows.first) * x->lines * x->ld * sizeof(float));
    }
}

static void backward_rows(const struct cdl_program *program, struct cdl_context *ctx,
                          struct cdl_team *team, int thread, struct share rows) {
    for (int i = program->n_nodes - 1; i >= 0; i--) {
        const struct cdl_node *node = &program->nodes[i];
        if (!node->op->backward) {
            no_gradient(node, rows);
        } else if (node->needs_dx || learns(node)) {
            run_stages(node->op->backward, node->op->backward_stages, node, ctx, team, thread,
                       rows);
        }
        if (!program->learns_later && learns(node))
            node->op->update(node, ctx, program->thread_scratch, 0, 1);
    }
}

static void update_share(const struct cdl_program *program, const struct cdl_context *ctx,
                         int thread, int threads) {
    float *scratch = program->thread_scratch + (size_t)thread * CDL_THREAD_SCRATCH;
    for (int i = program->n_nodes - 1; i >= 0; i--) {
        const struct cdl_node *node = &program->nodes[i];
        if (learns(node)) node->op->update(node, ctx, scratch, thread, threads);
    }
}

/* After all parts of all gradients are there: what several instructions use learns. */
static void learn_parts(struct cdl_program *program, const struct cdl_context *ctx,
                        struct cdl_team *team, int thread) {
    float *scratch = program->thread_scratch + (size_t)thread * CDL_THREAD_SCRATCH;
    if (!program->n_parts) return;
    cdl_barrier_wait(team, thread);
    for (int i = thread; i < program->n_trained; i += team->size) {
        if (program->trained[i].parts) cdl_learn_parts(&program->trained[i], ctx, scratch);
    }
}

/* After all blocks of all gradients are kept: the parameters learn, each by one thread. False if
 * none does, since the gradients are not finite (nor is then the sum of their squares). */
static bool learn_whole(struct cdl_program *program, const struct cdl_context *ctx,
                        struct cdl_team *team, int thread) {
    learn_parts(program, ctx, team, thread);
    if (!program->whole) return true;
    cdl_barrier_wait(team, thread);
    for (int i = thread; i < program->n_trained; i += team->size) {
        cdl_learn_squares(&program->trained[i], ctx);
    }
    cdl_barrier_wait(team, thread);
    double all_squares = 0.0;
    for (int i = 0; i < program->n_trained; i++) all_squares += program->trained[i].squares;
    if (ctx->optimizer.finite_only && !(all_squares < INFINITY)) return false;
    for (int i = thread; i < program->n_trained; i += team->size) {
        cdl_learn_whole(&program->trained[i], ctx, all_squares,
                        program->whole_scratch + (size_t)thread * program->whole_floats);
    }
    return true;
}

/* The next batch; of the optimizer's steps only those count that changed something. */
static void go_on(struct cdl_pass *pass, bool training, bool learned) {
    pass->next++;
    pass->iteration += training && learned;
    pass->skipped += training && !learned;
}

/* The penalties that the last step saw, as the loss counts them: once a batch, for all its rows. */
static void count_penalties(struct cdl_program *program, const struct cdl_context *ctx) {
    double sum = 0.0;
    for (int i = 0; i < program->n_trained; i++) {
        const struct cdl_trained *trained = &program->trained[i];
        if (!trained->penalty) continue;
        const size_t n = cdl_param_floats(trained->param);
        if (!ctx->training) {
            ctx->kernels->penalize(n, trained->param->w, NULL, trained->l1, trained->l2,
                                   trained->penalty);
        }
        for (size_t line = 0; line < (n + CDL_LINE - 1) / CDL_LINE; line++)
            sum += trained->penalty[line];
    }
    program->penalty_total += sum * (double)ctx->rows;
    program->penalty_count += (double)ctx->rows;
}

static void count_reports(struct cdl_program *program, const struct cdl_context *ctx) {
    for (int i = 0; i < program->n_nodes; i++) {
        const struct cdl_node *node = &program->nodes[i];
        if (node->op->penalty)
            program->penalty_total += node->op->penalty(node, ctx) * (double)ctx->rows;
    }
    for (int i = 0; i < program->n_reports; i++) {
        const struct cdl_node *node = program->reports[i];
        node->op->report(node, ctx, program->states[i]);
    }
}

/* Whether a function of the caller's has failed: nothing may come of this batch. */
static bool has_failed(const struct cdl_program *program) {
    bool any = false;
    for (int i = 0; i < program->n_hosts; i++) any |= program->hosts[i].failed;
    return any;
}

struct loop {
    struct cdl_program *program;
    struct cdl_pass *pass;
    size_t steps;
    double seconds;
    bool training;
    bool stop; /* written by thread 0 between two barriers */
};

static struct cdl_context context_of(const struct cdl_program *program, const struct cdl_pass *pass,
                                     bool training) {
    const size_t start = pass->next * pass->batch;
    const size_t left = start < pass->rows ? pass->rows - start : 0;
    return (struct cdl_context){.kernels = program->kernels,
                                .training = training,
                                .rows = left < pass->batch ? left : pass->batch,
                                .seed = pass->seed,
                                .step = pass->iteration};
}

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

static void loop_work(void *arg, struct cdl_team *team, int thread) {
    struct loop *loop = arg;
    struct cdl_program *program = loop->program;
    /* Every thread counts for itself; thread 0 writes the pass back when all have finished. */
    struct cdl_pass pass = *loop->pass;
    const uint64_t first = pass.iteration;
    const double start_time = seconds_now();
    struct stopwatch watch = {start_time + loop->seconds, start_time, 1, 1};
    for (size_t done = 0; done < loop->steps && pass.next * pass.batch < pass.rows; done++) {
        struct cdl_context ctx = context_of(program, &pass, loop->training);
        const struct share rows = share_of(ctx.rows, thread, team->size);
        forward_rows(program, &ctx, &pass, pass.next * pass.batch, team, thread, rows);
        if (loop->training) {
            prepare_step(program, &pass, pass.iteration - first, &ctx.optimizer);
            backward_rows(program, &ctx, team, thread, rows);
        }
        if (has_failed(program)) break;
        cdl_barrier_wait(team, thread);
        if (loop->training && program->learns_later)
            update_share(program, &ctx, thread, team->size);
        const bool learned = loop->training && learn_whole(program, &ctx, team, thread);
        go_on(&pass, loop->training, learned);
        if (thread == 0) {
            count_reports(program, &ctx);
            loop->stop = time_is_up(&watch);
        }
        cdl_barrier_wait(team, thread);
        if (thread == 0) count_penalties(program, &ctx);
        if (loop->stop) break;
    }
    if (thread == 0) {
        loop->pass->next = pass.next;
        loop->pass->iteration = pass.iteration;
        loop->pass->skipped = pass.skipped;
    }
}

static void prepare(const struct cdl_program *program, bool training) {
    for (int i = 0; i < program->n_hosts; i++) program->hosts[i].failed = false;
    for (int i = 0; i < program->n_nodes; i++) {
        const struct cdl_node *node = &program->nodes[i];
        if (node->op->prepare) node->op->prepare(node, training);
    }
}

void cdl_train(struct cdl_program *program, struct cdl_pass *pass, size_t steps, double seconds) {
    struct loop loop = {program, pass, steps, seconds, true, false};
    prepare(program, true);
    cdl_region(program->threads, loop_work, &loop);
}

void cdl_test(struct cdl_program *program, struct cdl_pass *pass, size_t steps, double seconds) {
    struct loop loop = {program, pass, steps, seconds, false, false};
    prepare(program, false);
    cdl_region(program->threads, loop_work, &loop);
}

/* ---- one batch in two halves ------------------------------------------------------------------
 */

struct half {
    struct cdl_program *program;
    struct cdl_pass *pass;
    struct cdl_context ctx;
    const float *gradient;
    bool learned; /* written by thread 0 */
};

static void forward_half(void *arg, struct cdl_team *team, int thread) {
    struct half *half = arg;
    struct cdl_context ctx = half->ctx;
    const struct share rows = share_of(ctx.rows, thread, team->size);
    forward_rows(half->program, &ctx, half->pass, half->pass->next * half->pass->batch, team,
                 thread, rows);
}

size_t cdl_forward(struct cdl_program *program, struct cdl_pass *pass, bool training) {
    struct half half = {program, pass, context_of(program, pass, training), NULL, false};
    if (half.ctx.rows == 0) return 0;
    prepare(program, training);
    cdl_region(program->threads, forward_half, &half);
    count_reports(program, &half.ctx);
    if (!training) count_penalties(program, &half.ctx); /* training counts them in its backward */
    return half.ctx.rows;
}

static void backward_half(void *arg, struct cdl_team *team, int thread) {
    struct half *half = arg;
    struct cdl_program *program = half->program;
    struct cdl_context ctx = half->ctx;
    const struct share rows = share_of(ctx.rows, thread, team->size);
    const struct cdl_tensor *output = program->outputs[0];
    for (size_t line = rows.first * output->lines; line < rows.last * output->lines; line++) {
        for (size_t j = 0; j < cdl_padded(output->width); j++) {
            output->grad[line * output->ld + j] =
                j < output->width ? half->gradient[line * output->width + j] : 0.0f;
        }
    }
    backward_rows(program, &ctx, team, thread, rows);
    cdl_barrier_wait(team, thread);
    if (has_failed(program)) return;
    if (program->learns_later) update_share(program, &ctx, thread, team->size);
    const bool learned = learn_whole(program, &ctx, team, thread);
    if (thread == 0) half->learned = learned;
}

void cdl_backward(struct cdl_program *program, struct cdl_pass *pass, const float *gradient) {
    struct half half = {program, pass, context_of(program, pass, true), gradient, false};
    prepare_step(program, pass, 0, &half.ctx.optimizer);
    cdl_region(program->threads, backward_half, &half);
    count_penalties(program, &half.ctx);
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
    learn_whole(job->program, &job->ctx, team, thread);
}

void cdl_apply(struct cdl_program *program, struct cdl_pass *pass,
               struct cdl_param *const *gradients) {
    struct application job = {program, context_of(program, pass, true), gradients};
    prepare_step(program, pass, 0, &job.ctx.optimizer);
    cdl_region(1, apply_work, &job);
}

/* ---- predict ----------------------------------------------------------------------------------
 */

struct prediction {
    struct cdl_program *program;
    const struct cdl_array *arrays;
    size_t rows;
    float *const *outputs;
};

/* `rows` rows of the buffer, from `first`, to row-major memory. */
static void copy_out(const struct cdl_tensor *value, size_t first, size_t rows, float *to) {
    for (size_t line = first * value->lines; line < (first + rows) * value->lines; line++) {
        const float *from = value->data + line * value->ld;
        for (size_t j = 0; j < value->width; j++) *to++ = from[j];
    }
}

/* Each thread walks its own rows, a block at a time through all nodes, so that the activations
 * of a block stay in its cache. */
static void predict_work(void *arg, struct cdl_team *team, int thread) {
    const struct prediction *job = arg;
    const struct cdl_program *program = job->program;
    const size_t capacity = program->rows / (size_t)program->threads;
    const size_t base = (size_t)thread * capacity;
    const struct share mine = share_of(job->rows, thread, team->size);
    struct cdl_context ctx = {.kernels = program->kernels};
    for (size_t at = mine.first; at < mine.last && !has_failed(program); at += capacity) {
        const size_t rows = mine.last - at < capacity ? mine.last - at : capacity;
        ctx.rows = program->rows;
        for (int i = 0; i < program->n_inputs; i++) {
            /* Row base + r of the buffer is row at + r of the array. */
            cdl_gather(program->kernels, &job->arrays[i], NULL, 0, at - base, base, base + rows,
                       program->inputs[i]);
        }
        for (int i = 0; i < program->n_nodes; i++) {
            program->nodes[i].op->forward(&program->nodes[i], &ctx, base, base + rows);
        }
        for (int i = 0; i < program->n_outputs; i++) {
            const struct cdl_tensor *value = program->outputs[i];
            copy_out(value, base, rows, job->outputs[i] + at * value->lines * value->width);
        }
    }
}

void cdl_predict(struct cdl_program *program, const struct cdl_array *arrays, size_t rows,
                 float *const *outputs) {
    struct prediction job = {program, arrays, rows, outputs};
    prepare(program, false);
    /* A region of sleeping threads takes some 35 us to start: a few rows are done before that. */
    const double flops = program->row_flops * (double)rows;
    const bool alone = !program->forced && flops < CDL_REGION_FLOPS;
    cdl_region(alone ? 1 : program->threads, predict_work, &job);
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
    copy_out(program->outputs[i], 0, rows, to);
}

void cdl_read_input(const struct cdl_program *program, int i, size_t rows, void *to) {
    copy_out(program->inputs[i], 0, rows, to);
}

int cdl_program_threads(const struct cdl_program *program) { return program->threads; }
const char *cdl_program_isa(const struct cdl_program *program) { return program->kernels->isa; }
