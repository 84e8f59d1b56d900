/* predict.c - the program's outputs for any number of rows.
 *
 * Each thread walks its own rows, a block at a time through all nodes, so that the activations of a
 * block stay in its cache. A program in which samples see each other (a mean over the batch) runs
 * on one thread, in batches of the rows that it was built for.
 */
#include "program/steps.h"

struct prediction {
    struct cdl_program *program;
    const struct cdl_array *arrays;
    size_t rows;
    float *const *outputs;
    struct cdl_draws draws;
};

/* What no sample changes is computed once, by one thread. */
static void run_once(const struct cdl_program *program, struct cdl_context *ctx,
                     struct cdl_team *team, int thread) {
    if (!program->n_once) return;
    for (int i = 0; i < program->n_nodes && thread == 0; i++) {
        const struct cdl_node *node = &program->nodes[i];
        if (node->once) cdl_run_shared(node->op->forward, node->op->forward_stages, node, ctx);
    }
    cdl_barrier_wait(team, thread);
}

/* A node on a block of rows. Stages are for ops that see the whole batch: this block. */
static void run_node(const struct cdl_node *node, struct cdl_context *ctx, size_t first,
                     size_t last) {
    if (node->once) return;
    if (node->shared) {
        cdl_run_shared(node->op->forward, node->op->forward_stages, node, ctx);
        return;
    }
    const int stages = node->op->mixes && node->op->stages_always ? node->op->forward_stages : 1;
    for (ctx->stage = 0; ctx->stage == 0 || ctx->stage < stages; ctx->stage++)
        node->op->forward(node, ctx, first, last);
}

static void predict_work(void *arg, struct cdl_team *team, int thread) {
    const struct prediction *job = arg;
    const struct cdl_program *program = job->program;
    const size_t capacity = program->rows / (size_t)program->threads;
    const size_t base = (size_t)thread * capacity;
    const struct cdl_share mine = cdl_share_of(job->rows, thread, team->size);
    struct cdl_context ctx = {.kernels = program->kernels,
                              .threads = 1,
                              .seed = job->draws.seed,
                              .step = job->draws.call};
    run_once(program, &ctx, team, thread);
    for (size_t at = mine.first; at < mine.last && !cdl_has_failed(program); at += capacity) {
        const size_t rows = mine.last - at < capacity ? mine.last - at : capacity;
        ctx.rows = ctx.batch = program->mixes_rows ? rows : program->rows;
        ctx.start = job->draws.first + at - base;
        for (int i = 0; i < program->n_inputs; i++) {
            /* Row base + r of the buffer is row at + r of the array. */
            cdl_gather(program->kernels, &job->arrays[i], NULL, 0, at - base, base, base + rows,
                       program->inputs[i]);
        }
        for (int i = 0; i < program->n_nodes; i++)
            run_node(&program->nodes[i], &ctx, base, base + rows);
        for (int i = 0; i < program->n_outputs; i++) {
            const struct cdl_tensor *value = program->outputs[i];
            if (value->shared && thread > 0) continue; /* the first has copied it */
            const size_t sample = value->shared ? 0 : value->lines * value->width;
            cdl_copy_out(value, base, rows, job->outputs[i] + at * sample);
        }
    }
}

void cdl_predict(struct cdl_program *program, const struct cdl_array *arrays, size_t rows,
                 float *const *outputs, struct cdl_draws draws) {
    struct prediction job = {program, arrays, rows, outputs, draws};
    cdl_prepare(program, false);
    /* A region of sleeping threads takes some 35 us to start: a few rows are done before that. */
    const double flops = program->row_flops * (double)rows;
    const bool alone = !program->forced && flops < CDL_REGION_FLOPS;
    cdl_region(alone ? 1 : cdl_team_size(program), predict_work, &job);
}
