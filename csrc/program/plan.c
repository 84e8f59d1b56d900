/* plan.c - the memory of a program, planned once: one arena, buffers reused when dead.
 *
 * Time runs over the schedule: node i computes at time i, its backward pass at 2 n - 1 - i, its
 * parameters learn in the same moment when one thread runs alone, and after all rows (time 2 n)
 * when several do. A buffer lives from the first moment that writes it to the last that reads it;
 * two buffers may share memory if their lives do not meet. Inputs live always: their pads are
 * zeroed once. First fit, in order of birth, stays close to the lower bound on straight lines.
 */
#include <stdlib.h>

#include "program/program.h"

struct buffer {
    float **place;
    size_t floats;
    int birth, death; /* inclusive */
    size_t offset;
};

struct plan {
    struct buffer *buffers;
    int n;
};

static void add(struct plan *plan, float **place, size_t floats, int birth, int death) {
    plan->buffers[plan->n++] = (struct buffer){
        .place = place, .floats = cdl_round_up(floats, CDL_LINE), .birth = birth, .death = death};
}

static bool is_among(struct cdl_tensor *const *list, int n, const struct cdl_tensor *value) {
    for (int i = 0; i < n; i++) {
        if (list[i] == value) return true;
    }
    return false;
}

static size_t floats_of(const struct cdl_program *program, const struct cdl_tensor *value) {
    return (value->shared ? 1 : program->rows) * value->lines * value->ld;
}

/* The life of a value's memory, which others may be too. */
static void add_data(struct plan *plan, struct cdl_program *program, struct cdl_tensor *value) {
    const int n = program->n_nodes, end = 2 * n;
    bool fixed = is_among(program->inputs, program->n_inputs, value);
    int producer = -1, last_reader = -1;
    for (int i = 0; i < program->n_outputs; i++) fixed |= program->outputs[i]->owner == value;
    for (int i = 0; i < n; i++) {
        const struct cdl_node *node = &program->nodes[i];
        if (is_among(node->out, node->n_out, value)) {
            producer = i;
            fixed |= node->once || node->op->stays;
        }
        for (int k = 0; k < node->n_in; k++) {
            if (node->in[k]->owner != value) continue;
            last_reader = i;
            fixed |= node->op->report || node->op->settle; /* made after the batch */
        }
    }
    const int backward = producer < 0 ? end : end - 1 - producer;
    int death = last_reader < producer ? producer : last_reader;
    if (program->training) death = backward;
    if (program->training && program->learns_later) death = end;
    if (program->threads > 1) death = end; /* others may be at another node: rows differ in place */
    add(plan, &value->data, floats_of(program, value), fixed || producer < 0 ? 0 : producer,
        fixed ? end : death);
}

/* The life of a value's gradient: from its only writer to the backward pass of its producer. */
static void add_gradient(struct plan *plan, struct cdl_program *program, struct cdl_tensor *value) {
    const int n = program->n_nodes, end = 2 * n;
    const bool pulled = is_among(program->pulled, program->n_pulled, value);
    int producer = -1, writer = -1;
    for (int i = 0; i < n; i++) {
        const struct cdl_node *node = &program->nodes[i];
        if (is_among(node->out, node->n_out, value)) producer = i;
        for (int k = 0; k < node->n_in; k++) {
            if (node->in[k] == value && node->needs[k]) writer = i;
        }
    }
    if (!pulled && writer < 0) return;
    /* A loss writes it while it runs forward; that of the caller comes between the passes. */
    const bool early = writer >= 0 && program->nodes[writer].op->is_loss;
    const int birth = pulled ? n : early ? writer : end - 1 - writer;
    const bool kept = pulled || (producer >= 0 && program->nodes[producer].op->wants_gradient);
    add(plan, &value->grad, floats_of(program, value), birth,
        program->learns_later || kept ? end : end - 1 - producer);
}

static int by_birth(const void *a, const void *b) {
    const struct buffer *x = a, *y = b;
    if (x->birth != y->birth) return x->birth < y->birth ? -1 : 1;
    return x->floats > y->floats ? -1 : x->floats < y->floats;
}

static int by_offset(const void *a, const void *b) {
    const struct buffer *x = *(const struct buffer *const *)a,
                        *y = *(const struct buffer *const *)b;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* First fit: the lowest offset where no buffer that lives at the same time stands. */
static size_t place_all(struct plan *plan, struct buffer **alive) {
    size_t top = 0;
    for (int i = 0; i < plan->n; i++) {
        struct buffer *buffer = &plan->buffers[i];
        int n_alive = 0;
        for (int j = 0; j < i; j++) {
            struct buffer *other = &plan->buffers[j];
            if (other->death >= buffer->birth && buffer->death >= other->birth)
                alive[n_alive++] = other;
        }
        qsort(alive, (size_t)n_alive, sizeof *alive, by_offset);
        size_t offset = 0;
        for (int j = 0; j < n_alive; j++) {
            if (alive[j]->offset >= offset + buffer->floats) break;
            if (alive[j]->offset + alive[j]->floats > offset)
                offset = alive[j]->offset + alive[j]->floats;
        }
        buffer->offset = offset;
        if (offset + buffer->floats > top) top = offset + buffer->floats;
    }
    return top;
}

/* The most that update() or an op's backward() needs. */
static size_t thread_floats(const struct cdl_program *program) {
    size_t most = CDL_THREAD_SCRATCH;
    for (int i = 0; i < program->n_nodes && program->training; i++) {
        const struct cdl_node *node = &program->nodes[i];
        const size_t floats = node->op->thread_floats ? node->op->thread_floats(node) : 0;
        if (floats > most) most = floats;
    }
    return cdl_round_up(most, CDL_LINE);
}

cdl_status cdl_plan(struct cdl_program *program) {
    const size_t most = 2 * (size_t)program->n_values + (size_t)program->n_nodes +
                        (size_t)program->n_trained + (size_t)program->n_parts + 2;
    struct plan plan = {.buffers = calloc(most, sizeof *plan.buffers)};
    struct buffer **alive = calloc(most, sizeof *alive);
    cdl_status status = CDL_ERR_NO_MEMORY;
    if (plan.buffers && alive) {
        for (int v = 0; v < program->n_values; v++) {
            struct cdl_tensor *value = &program->values[v];
            if (value->owner == value) add_data(&plan, program, value);
            if (program->training) add_gradient(&plan, program, value);
        }
        for (int i = 0; i < program->n_nodes; i++) {
            struct cdl_node *node = &program->nodes[i];
            if (!node->op->scratch_floats) continue;
            add(&plan, &node->scratch, node->op->scratch_floats(node, program->rows), 0,
                2 * program->n_nodes);
        }
        for (int i = 0; i < program->n_trained && program->whole; i++) {
            struct cdl_trained *trained = &program->trained[i];
            add(&plan, &trained->gradient, cdl_param_floats(trained->param), 0,
                2 * program->n_nodes);
        }
        for (int i = 0; i < program->n_parts; i++) {
            add(&plan, &program->parts[i].gradient, cdl_param_floats(program->parts[i].param), 0,
                2 * program->n_nodes);
        }
        program->thread_floats = thread_floats(program);
        add(&plan, &program->thread_scratch, (size_t)program->threads * program->thread_floats, 0,
            2 * program->n_nodes);
        program->whole_floats = cdl_round_up(program->whole_floats, CDL_LINE);
        add(&plan, &program->whole_scratch, (size_t)program->threads * program->whole_floats, 0,
            2 * program->n_nodes);
        qsort(plan.buffers, (size_t)plan.n, sizeof *plan.buffers, by_birth);
        program->arena = cdl_alloc(place_all(&plan, alive));
        if (program->arena) status = CDL_OK;
    }
    for (int i = 0; i < plan.n && status == CDL_OK; i++) {
        *plan.buffers[i].place = program->arena + plan.buffers[i].offset;
    }
    for (int v = 0; v < program->n_values && status == CDL_OK; v++)
        program->values[v].data = program->values[v].owner->data;
    free(alive);
    free(plan.buffers);
    return status;
}
