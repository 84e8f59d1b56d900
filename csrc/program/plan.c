/* plan.c - the memory of a program, planned once: one arena, buffers reused when dead.
 *
 * Time runs over the schedule: node i computes at time i, its backward pass at 2 n - 1 - i, its
 * parameters learn in the same moment when one thread runs alone, and after all rows (time 2 n)
 * when several do. A buffer lives from the first moment that writes it to the last that reads it;
 * two buffers may share memory if their lives do not meet. Inputs live always: their pads are
 * zeroed once. Where several threads run, all live to the end, since one may be at another node
 * than the next.
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

/* When a node last reads its operands: its forward pass, its backward pass, or when it learns. */
static int last_use(const struct cdl_program *program, int i) {
    const struct cdl_node *node = &program->nodes[i];
    const int end = 2 * program->n_nodes;
    if (node->op->report || node->op->settle) return end; /* after the batch */
    if (node->learns && program->learns_later) return end;
    return node->learns || node->goes_back ? end - 1 - i : i;
}

/* The life of a value's memory, which others may be too. */
static void add_data(struct plan *plan, struct cdl_program *program, struct cdl_tensor *value) {
    const int n = program->n_nodes, end = 2 * n;
    bool fixed = is_among(program->inputs, program->n_inputs, value);
    int birth = 0, death = 0;
    for (int i = 0; i < program->n_outputs; i++) fixed |= program->outputs[i]->owner == value;
    for (int i = 0; i < n; i++) {
        const struct cdl_node *node = &program->nodes[i];
        const bool gives = is_among(node->out, node->n_out, value);
        bool reads = gives;
        for (int k = 0; k < node->n_in; k++) reads |= node->in[k]->owner == value;
        if (gives) birth = i;
        if (gives) fixed |= node->once || node->op->stays;
        if (reads && last_use(program, i) > death) death = last_use(program, i);
    }
    if (program->threads > 1) death = end; /* others may be at another node: rows differ in place */
    add(plan, &value->data, floats_of(program, value), fixed ? 0 : birth, fixed ? end : death);
}

/* The life of a gradient, from its first writer to the backward pass of its value's producer. */
static void add_gradient(struct plan *plan, struct cdl_program *program, struct cdl_tensor *value) {
    const int n = program->n_nodes, end = 2 * n;
    int birth = end, death = 0;
    bool kept = false;
    for (int i = 0; i < n; i++) {
        const struct cdl_node *node = &program->nodes[i];
        /* A loss writes it while it runs forward. */
        const int writes = node->op->is_loss ? i : end - 1 - i;
        for (int k = 0; k < node->n_in; k++) {
            const bool is_it = node->needs[k] && node->in[k]->grad_owner == value;
            if (is_it && writes < birth) birth = writes;
        }
        if (!is_among(node->out, node->n_out, value)) continue;
        death = last_use(program, i);
        kept = node->op->wants_gradient;
    }
    for (int i = 0; i < program->n_pulled; i++) {
        if (program->pulled[i]->grad_owner == value && birth > n) birth = n; /* from the caller */
    }
    if (birth == end) return; /* nobody gives one */
    if (program->threads > 1 || kept) death = end;
    add(plan, &value->grad, floats_of(program, value), birth, death < birth ? birth : death);
}

static int by_birth(const void *a, const void *b) {
    const struct buffer *x = a, *y = b;
    if (x->birth != y->birth) return x->birth < y->birth ? -1 : 1;
    return x->floats > y->floats ? -1 : x->floats < y->floats;
}

static int by_size(const void *a, const void *b) {
    const struct buffer *x = a, *y = b;
    if (x->floats != y->floats) return x->floats > y->floats ? -1 : 1;
    return by_birth(a, b);
}

static bool meet(const struct buffer *a, const struct buffer *b) {
    return a->death >= b->birth && b->death >= a->birth;
}

/* The lowest offset that is free while a buffer lives, among n that are placed, by offset. */
static size_t fit(const struct buffer *buffer, int n, struct buffer *const *placed) {
    size_t offset = 0;
    for (int j = 0; j < n; j++) {
        const struct buffer *other = placed[j];
        if (!meet(other, buffer)) continue;
        if (other->offset >= offset + buffer->floats) break;
        if (other->offset + other->floats > offset) offset = other->offset + other->floats;
    }
    return offset;
}

/* First fit, one buffer after the other; `placed` has room for all. */
static size_t place_all(struct plan *plan, struct buffer **placed) {
    size_t top = 0;
    for (int i = 0; i < plan->n; i++) {
        struct buffer *buffer = &plan->buffers[i];
        buffer->offset = fit(buffer, i, placed);
        if (buffer->offset + buffer->floats > top) top = buffer->offset + buffer->floats;
        int at = i;
        for (; at > 0 && placed[at - 1]->offset > buffer->offset; at--) placed[at] = placed[at - 1];
        placed[at] = buffer;
    }
    return top;
}

/* The most that update() or an op's backward() needs. */
static size_t thread_floats(const struct cdl_program *program) {
    size_t most = CDL_THREAD_SCRATCH;
    for (int i = 0; i < program->n_nodes && program->training; i++) {
        const struct cdl_node *node = &program->nodes[i];
        const size_t rows = node->shared ? 1 : program->rows;
        const size_t floats = node->op->thread_floats ? node->op->thread_floats(node, rows) : 0;
        if (floats > most) most = floats;
    }
    return cdl_round_up(most, CDL_LINE);
}

/* What lives at one moment at least: no plan takes less. */
static size_t lower_bound(const struct plan *plan) {
    size_t most = 0;
    for (int i = 0; i < plan->n; i++) {
        const int moment = plan->buffers[i].birth;
        size_t floats = 0;
        for (int j = 0; j < plan->n; j++) {
            const struct buffer *other = &plan->buffers[j];
            if (other->birth <= moment && moment <= other->death) floats += other->floats;
        }
        if (floats > most) most = floats;
    }
    return most;
}

/* Large ones first or, as in nets that are straight lines, in order of birth: whichever takes less.
 */
static size_t place_well(struct plan *plan, struct buffer **placed, size_t least) {
    qsort(plan->buffers, (size_t)plan->n, sizeof *plan->buffers, by_birth);
    const size_t top = place_all(plan, placed);
    if (top == least) return top;
    qsort(plan->buffers, (size_t)plan->n, sizeof *plan->buffers, by_size);
    const size_t other = place_all(plan, placed);
    if (other < top) return other;
    qsort(plan->buffers, (size_t)plan->n, sizeof *plan->buffers, by_birth);
    return place_all(plan, placed);
}

cdl_status cdl_plan(struct cdl_program *program) {
    const size_t most = 2 * (size_t)program->n_values + (size_t)program->n_nodes +
                        (size_t)program->n_trained + (size_t)program->n_parts + 2;
    struct plan plan = {.buffers = calloc(most, sizeof *plan.buffers)};
    struct buffer **placed = calloc(most, sizeof *placed);
    cdl_status status = CDL_ERR_NO_MEMORY;
    if (plan.buffers && placed) {
        for (int v = 0; v < program->n_values; v++) {
            struct cdl_tensor *value = &program->values[v];
            if (value->owner == value) add_data(&plan, program, value);
            if (program->training && value->grad_owner == value)
                add_gradient(&plan, program, value);
        }
        for (int i = 0; i < program->n_nodes; i++) {
            struct cdl_node *node = &program->nodes[i];
            if (!node->op->scratch_floats) continue;
            const size_t rows = node->shared ? 1 : program->rows;
            add(&plan, &node->scratch, node->op->scratch_floats(node, rows), 0,
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
        program->least_floats = lower_bound(&plan);
        program->floats = place_well(&plan, placed, program->least_floats);
        program->arena = cdl_alloc(program->floats);
        if (program->arena) status = CDL_OK;
    }
    for (int i = 0; i < plan.n && status == CDL_OK; i++) {
        *plan.buffers[i].place = program->arena + plan.buffers[i].offset;
    }
    for (int v = 0; v < program->n_values && status == CDL_OK; v++) {
        struct cdl_tensor *value = &program->values[v];
        value->data = value->owner->data;
        value->grad = value->grad_owner->grad;
    }
    free(placed);
    free(plan.buffers);
    return status;
}
