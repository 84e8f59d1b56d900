/* micro.c - micro-batches: a batch of images goes through all nodes, forward and back, a few
 * samples at a time, and weights learn from the sum of their gradients.
 *
 * The values of a batch of images are some ten to a hundred times as large as an L2 cache, and each
 * is written once and read four times in a step: by the next node, by the two passes back and for
 * the gradient of weights. Those of a micro-batch stay in the cache from their first use to their
 * last, and the memory of a program is that of one. Its number of samples follows from shapes
 * alone. In lockstep threads share the nodes of several micro-batches; without lockstep there is
 * memory for the whole batch. All take samples and add up gradients by the same
 * micro-batches, so that bits are the same for any number of threads.
 */
#include <stdlib.h>

#include "learn/learn.h"
#include "program/steps.h"

/* Floats of a micro-batch, 1 MB; and their least multiple of the weights, which each micro-batch
 * reads again, transposed and transformed as well, and whose gradients it adds up. */
enum { MICRO_FLOATS = 1 << 18, LEAST_FLOATS = 4 };

/* Limit of the report states that are saved before each batch. */
enum { MOST_STATES = 256 };

/* Are all samples independent, and are there windows? Without these, values are small beside
 * weights. */
static bool may_split(const struct cdl_program *program) {
    bool all = program->n_external_grads == 0 && program->n_nodes > 0, windows = false;
    size_t states = 0;
    CDL_EACH_NODE(node, program) {
        all &= node->op->parts >= CDL_BY_MICRO_BATCHES && !node->shared && !node->mixes;
        windows |= node->op->role == CDL_WINDOWS;
    }
    for (int i = 0; i < program->n_reports; i++) states += program->state_sizes[i];
    return all && windows && states <= MOST_STATES;
}

static size_t micro_of(const struct cdl_program *program) {
    size_t values = 0, weights = 0;
    CDL_EACH_VALUE(value, program) {
        if (value->owner == value) values += value->row_floats;
    }
    for (int i = 0; i < program->n_trained; i++)
        weights += cdl_param_floats(program->trained[i].param);
    return cdl_max(cdl_max(MICRO_FLOATS, LEAST_FLOATS * weights) / values, 1);
}

/* Samples in memory at once: two micro-batches for each thread, since all wait for the last of them
 * behind each node. */
static size_t rows_at_a_time(const struct cdl_program *program) {
    const size_t micro = program->micro, all = 2 * micro * (size_t)program->threads;
    if (program->threads == 1) return micro;
    return cdl_max(all, (cdl_worth_samples(program) + micro - 1) / micro * micro);
}

cdl_status cdl_split(struct cdl_program *program, const struct cdl_program_def *def) {
    program->batch = program->rows;
    if (!def->splits || program->ranks.leaves || !may_split(program)) return CDL_OK;
    const size_t micro = micro_of(program);
    if (micro >= program->rows) return CDL_OK;
    program->micro = micro;
    for (int i = 0; i < program->n_nodes; i++) {
        if (!cdl_takes_any_samples(&program->nodes[i])) program->nodes[i].piece = micro;
    }
    if (program->threads > 1 && !program->lockstep) return CDL_OK;
    const size_t rows = rows_at_a_time(program);
    if (rows >= program->rows) return CDL_OK;
    program->rows = rows;
    program->block = cdl_min(program->block, rows);
    program->slots = program->training && program->lockstep ? rows / micro : 0;
    for (int v = 0; v < program->n_values; v++) {
        for (int i = 0; i < program->n_outputs; i++)
            program->values[v].whole |= program->values[v].owner == program->outputs[i]->owner;
    }
    program->saved = calloc(MOST_STATES, sizeof *program->saved);
    return program->saved ? CDL_OK : CDL_ERR_NO_MEMORY;
}

void cdl_place_outputs(const struct cdl_program *program, size_t first) {
    CDL_EACH_VALUE(value, program) {
        if (value->whole) value->data = value->base + first * value->row_floats;
    }
}

void cdl_save_reports(const struct cdl_program *program, bool back) {
    double *at = program->saved;
    for (int i = 0; i < program->n_reports; at += program->state_sizes[i++]) {
        double *state = program->states[i];
        memcpy(back ? state : at, back ? at : state, program->state_sizes[i] * sizeof *at);
    }
}

static size_t micros_of(const struct cdl_context *ctx) {
    return (ctx->rows + ctx->micro - 1) / ctx->micro;
}

bool cdl_uses_slots(const struct cdl_program *program, const struct cdl_context *ctx) {
    return program->slots && micros_of(ctx) >= (size_t)ctx->threads;
}

void cdl_fill_slots(const struct cdl_node *node, const struct cdl_context *ctx) {
    const struct cdl_range mine = cdl_own(ctx, micros_of(ctx));
    cdl_guard_scratch(ctx, node, CDL_THREAD_SCRATCH);
    struct cdl_context all = *ctx;
    all.thread = 0;
    all.threads = 1;
    for (size_t i = mine.first; i < mine.last; i++) {
        const size_t first = i * ctx->micro, n = cdl_min(ctx->rows - first, ctx->micro);
        const struct cdl_sink to = {.leaves = true, .slot = i + 1};
        node->op->update(node, &all, (struct cdl_rows){first, n, ctx->micro}, &to);
    }
}

void cdl_learn_filled(const struct cdl_node *node, const struct cdl_context *ctx,
                      const struct cdl_sink *to) {
    for (int p = 0; p < CDL_MAX_PARAMS; p++) {
        if (node->trained[p])
            cdl_learn_slots(node->trained[p], ctx, to, micros_of(ctx), ctx->scratch);
    }
}
