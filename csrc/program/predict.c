/* predict.c - the program's outputs for any number of rows.
 *
 * Each thread takes its own rows through all nodes, a block at a time, so that the activations of a
 * block stay in its cache; in lockstep all threads share a block. With states kept between batches
 * (ops/state.c) a thread has the same places of all batches, of the rows that the program was built
 * for. A program whose samples depend on each other (a mean over the batch) runs on one thread, in
 * such batches.
 */
#include <assert.h>
#include <math.h>

#include "program/steps.h"

struct prediction {
    struct cdl_program *program;
    const struct cdl_array *arrays;
    size_t rows;
    float *const *outputs;
    struct cdl_draws draws;
    bool in_place; /* the first node reads the array's rows where they are */
};

/* Nodes constant in a call are computed once, by one thread. */
static void run_once(const struct cdl_program *program, struct cdl_context *ctx,
                     struct cdl_team *team, int thread) {
    if (!program->n_once) return;
    for (int i = 0; i < program->n_nodes && thread == 0; i++) {
        const struct cdl_node *node = &program->nodes[i];
        if (node->once) cdl_run(program, node, false, ctx, NULL, (struct cdl_range){0, 1});
    }
    cdl_barrier_wait(team, thread);
}

/* Can the kernels read an array's rows in place? Rows that are a multiple of 2 KB apart are copied
 * all the same: they would fall on one or two sets of the L1 cache. */
static bool is_plain(const struct cdl_array *array) {
    enum { ITEM = sizeof(float), ALIASING = 2048 };
    const ptrdiff_t row = array->strides[0];
    return !array->sparse && !array->swapped && array->dtype == CDL_DTYPE_float32 &&
           array->n_dims == 2 && array->strides[1] == ITEM && row > 0 && row % ITEM == 0 &&
           row % ALIASING != 0 && (uintptr_t)array->data % ITEM == 0;
}

/* Copies of the first node and its input, as one thread sees them when it reads in place. */
struct direct {
    struct cdl_node node;
    struct cdl_tensor x;
};

static void look_at(const struct cdl_program *program, const struct cdl_array *array,
                    struct direct *direct) {
    direct->node = program->nodes[0];
    direct->x = *program->inputs[0];
    direct->x.ld = direct->x.row_floats = (size_t)array->strides[0] / sizeof(float);
    direct->x.uncached = true;
    direct->node.in[0] = &direct->x;
}

/* Moves the input so that row r of the program's memory is row r + shift of the array. */
static void shift_to(const struct prediction *job, struct direct *direct, ptrdiff_t shift) {
    const struct cdl_array *array = &job->arrays[0];
    direct->x.data = (float *)(uintptr_t)(array->data + shift * array->strides[0]);
}

/* Copies rows of an output to the caller's memory, piece by piece, until the watch stops it. */
static void copy_pieces(const struct cdl_program *program, const struct cdl_context *ctx,
                        const struct cdl_tensor *value, struct cdl_range rows, float *to) {
    for (size_t piece; rows.first < rows.last && !cdl_stopped(ctx); rows.first += piece) {
        piece = cdl_min(rows.last - rows.first, program->piece);
        cdl_copy_out(value, rows.first, piece, to);
        to += piece * value->lines * value->width;
    }
}

/* Is the error to report final? It is if a row before `at` has failed. */
static bool is_settled(const struct cdl_program *program, size_t at) {
    if (!program->may_fail) return false;
    const struct cdl_fault *fault = cdl_first_fault(program);
    return fault ? cdl_fault_sample(fault) < at : cdl_has_failed(program);
}

/* Predicts a thread's rows of a block, of which row r is row r + shift of the arrays; in lockstep
 * (with a team) each node by all threads. */
static void predict_rows(const struct prediction *job, struct cdl_context *ctx,
                         struct cdl_team *team, struct direct *direct, ptrdiff_t shift,
                         struct cdl_range rows) {
    struct cdl_program *program = job->program;
    const struct cdl_epoch whole = {.arrays = job->arrays};
    if (job->in_place) shift_to(job, direct, shift);
    for (int i = job->in_place; i < program->n_inputs; i++)
        cdl_feed_pieces(program, ctx, i, &whole, (size_t)shift, rows.first, rows.last);
    if (team) cdl_barrier_wait(team, ctx->thread);
    for (int i = 0; i < program->n_nodes; i++) {
        const struct cdl_node *node = &program->nodes[i];
        if (i == 0 && job->in_place) node = &direct->node;
        if (node->once) continue;
        cdl_run(program, node, false, ctx, team, rows);
        if (team && node->waits_forward) cdl_barrier_wait(team, ctx->thread);
    }
    for (int i = 0; i < program->n_outputs; i++) {
        const struct cdl_tensor *value = program->outputs[i];
        if (value->shared && !ctx->polls) continue; /* the first thread copies it */
        const struct cdl_range own = value->shared ? (struct cdl_range){0, 1} : rows;
        const size_t at = value->shared ? 0 : rows.first + (size_t)shift;
        copy_pieces(program, ctx, value, own, job->outputs[i] + at * value->lines * value->width);
    }
    if (team) cdl_barrier_wait(team, ctx->thread);
}

/* A stopped thread skips its work, but not the barriers. */
static void predict_in_lockstep(const struct prediction *job, struct cdl_context *ctx,
                                struct cdl_team *team) {
    struct direct direct;
    if (job->in_place) look_at(job->program, &job->arrays[0], &direct);
    ctx->threads = team->size;
    ctx->watch = &job->program->watch;
    const size_t most = job->program->rows, all = job->program->block * (size_t)team->size;
    const size_t block = cdl_min(all, most);
    for (size_t at = 0; at < job->rows; at += block) {
        ctx->rows = ctx->batch = ctx->joined = cdl_min(job->rows - at, block);
        ctx->start = job->draws.first + at;
        predict_rows(job, ctx, team, &direct, (ptrdiff_t)at,
                     cdl_own_blocks(ctx, CDL_ROW_BLOCK, ctx->rows));
    }
}

static void predict_work(void *arg, struct cdl_team *team, int thread) {
    const struct prediction *job = arg;
    struct cdl_program *program = job->program;
    const size_t block = program->block, capacity = program->rows / (size_t)program->threads;
    const bool places = program->keeps_order;
    const size_t batch = places ? cdl_min(block, job->rows) : job->rows;
    const struct cdl_range mine = cdl_share(CDL_ROW_BLOCK, batch, thread, team->size);
    const size_t base = places ? mine.first : (size_t)thread * capacity;
    const size_t most = places ? mine.last - mine.first : block;
    const size_t end = places && most ? job->rows : mine.last;
    const struct cdl_epoch epoch = {.seed = job->draws.seed, .iteration = job->draws.call};
    struct cdl_context ctx = cdl_context_of(program, &epoch, false, thread, 1);
    if (!program->lockstep) ctx.thread = 0;
    assert(base + most <= program->rows);
    run_once(program, &ctx, team, thread);
    if (program->lockstep) {
        predict_in_lockstep(job, &ctx, team);
        return;
    }
    struct direct direct;
    if (job->in_place) look_at(program, &job->arrays[0], &direct);
    for (size_t at = mine.first; at < end; at += block) {
        if (is_settled(program, job->draws.first + at)) break;
        const size_t rows = cdl_min(end - at, most);
        ctx.rows = ctx.batch = ctx.joined = program->mixes_rows ? rows : program->rows;
        ctx.start = job->draws.first + at - base;
        predict_rows(job, &ctx, NULL, &direct, (ptrdiff_t)at - (ptrdiff_t)base,
                     (struct cdl_range){base, base + rows});
        if (end - at <= block) break;
        if (thread == 0 && cdl_watch_tick(&program->watch, INFINITY, false) &&
            cdl_watch_answers(&program->watch, INFINITY))
            cdl_watch_stop(&program->watch);
        if (cdl_watch_stopped(&program->watch)) break;
    }
}

void cdl_predict(struct cdl_program *program, const struct cdl_array *arrays, size_t rows,
                 float *const *outputs, struct cdl_draws draws) {
    const bool in_place = rows >= CDL_ROW_BLOCK && program->reads_rows && is_plain(&arrays[0]);
    struct prediction job = {program, arrays, rows, outputs, draws, in_place};
    cdl_prepare(program, false);
    cdl_watch_begin(&program->watch);
    /* One thread does a few rows sooner than a region of sleeping threads starts (some 35 us). */
    const double flops = program->row_flops * (double)rows;
    const bool alone = !program->forced && flops < CDL_REGION_FLOPS;
    if (!alone) program->turns.now.rows += rows;
    cdl_run_region(program, alone, predict_work, &job);
}
