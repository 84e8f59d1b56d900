/* plan.c - the memory of a program, planned once: one arena, buffers reused when dead.
 *
 * Time runs over the schedule: node i computes at time i, its backward pass at 2 n - 1 - i, its
 * parameters learn at that time with a single thread and in lockstep, and after all rows (time 2 n)
 * with several threads without lockstep. A buffer lives from the first moment that
 * writes it to the last that reads it; two buffers may share memory if their lives do not meet.
 * Inputs live for the whole step: their pads are zeroed once. Where threads do not wait for each
 * other, all buffers live to the end, since threads may be at different nodes.
 */
#include <stdlib.h>

#include "base/red_zones.h"
#include "ops/loop.h"
#include "program/program.h"
#include "program/steps.h"

#define MOST_FLOATS 1e17
#define MOST_FLOATS_APART 2.5e8 /* limit of buffers that share no memory: 1 GB */

struct plan {
    struct cdl_buffer *buffers;
    int n;
    double floats; /* total of all buffers: a double cannot wrap around */
};

/* Floats of so many copies, as a loop keeps them; an overflow is refused later, by the total. */
static void add(struct plan *plan, float **place, size_t copies, size_t floats, int birth,
                int death) {
    const double all = (double)copies * (double)floats;
    plan->floats += all;
    if (all > MOST_FLOATS) return;
    plan->buffers[plan->n++] =
        (struct cdl_buffer){.place = place,
                            .floats = cdl_round_up(copies * floats, CDL_LINE),
                            .birth = birth,
                            .death = death};
}

/* The times of a node's forward pass: those of all nodes of the loop that runs it. */
static int begin_of(const struct cdl_program *program, int i) {
    const struct cdl_node *loop = program->nodes[i].loop;
    return loop ? (int)(loop - program->nodes) : i;
}
static int end_of(const struct cdl_program *program, int i) {
    const struct cdl_node *loop = program->nodes[i].loop;
    return loop ? (int)(loop - program->nodes) + (int)cdl_body_of(loop) : i;
}

/* Time at which a node last reads its operands: in its forward pass, backward pass or update. */
static int last_use(const struct cdl_program *program, int i) {
    const struct cdl_node *node = &program->nodes[i];
    const int end = 2 * program->n_nodes;
    if (node->op->report || node->op->settle) return end; /* after the batch */
    if (node->learns && program->learns_later) return end;
    return node->learns || node->goes_back ? end - 1 - begin_of(program, i) : end_of(program, i);
}

/* Lifetime of a value's memory, or of its gradient's, which other values may share. */
struct life {
    int birth, death;
    bool fixed; /* lives always */
};

static struct life *life_of(struct life *lives, const struct cdl_program *program,
                            const struct cdl_tensor *owner) {
    return &lives[owner - program->values];
}

static void find_lives(const struct cdl_program *program, struct life *lives) {
    for (int i = 0; i < program->n_inputs; i++)
        life_of(lives, program, program->inputs[i])->fixed = true;
    for (int i = 0; i < program->n_outputs; i++)
        life_of(lives, program, program->outputs[i]->owner)->fixed = true;
    for (int i = 0; i < program->n_nodes; i++) {
        const struct cdl_node *node = &program->nodes[i];
        const int last = last_use(program, i);
        for (int o = 0; o < node->n_out; o++) {
            struct life *life = life_of(lives, program, node->out[o]);
            life->birth = begin_of(program, i);
            life->fixed |= node->once || (node->op->derive && !node->op->forward->run);
            if (last > life->death) life->death = last;
        }
        for (int k = 0; k < node->n_in; k++) {
            struct life *life = life_of(lives, program, node->in[k]->owner);
            if (last > life->death) life->death = last;
        }
    }
}

/* Lifetimes of gradients: from the first writer, if there is one, to the backward pass of the
 * value's producer. */
static void find_lives_of_gradients(const struct cdl_program *program, struct life *lives) {
    const int n = program->n_nodes, end = 2 * n;
    for (int v = 0; v < program->n_values; v++) lives[v] = (struct life){.birth = end};
    for (int i = 0; i < n; i++) {
        const struct cdl_node *node = &program->nodes[i];
        /* A loss writes its gradient in its forward pass. */
        const int writes = node->op->role == CDL_LOSS ? i : end - 1 - end_of(program, i);
        for (int k = 0; k < node->n_in; k++) {
            struct life *life = life_of(lives, program, node->in[k]->grad_owner);
            if (node->needs[k] && writes < life->birth) life->birth = writes;
        }
        for (int o = 0; o < node->n_out; o++) {
            struct life *life = life_of(lives, program, node->out[o]->grad_owner);
            const int last = node->op->role == CDL_PROBE ? end : last_use(program, i);
            if (last > life->death) life->death = last;
        }
    }
    for (int i = 0; i < program->n_external_grads; i++) {
        struct life *life = life_of(lives, program, program->external_grads[i]->grad_owner);
        if (life->birth > n) life->birth = n; /* from the caller */
    }
}

/* Scratch of a thread: the most that update() or an op needs. */
static size_t thread_floats(struct cdl_program *program) {
    const bool training = program->training;
    size_t most = training ? CDL_THREAD_SCRATCH : 0;
    for (int i = 0; i < program->n_inputs; i++)
        most = cdl_max(most, cdl_feed_floats(program->inputs[i]));
    CDL_EACH_NODE(node, program) {
        const size_t rows = node->shared ? 1 : program->rows;
        node->thread_floats = node->arithmetic == CDL_THROUGH_FLOATS ? cdl_narrow_floats(node) : 0;
        if (node->op->thread_floats) {
            const size_t floats = node->op->thread_floats(node, rows, training);
            const size_t of_micro =
                program->micro ? node->op->thread_floats(node, program->micro, training) : 0;
            node->thread_floats = cdl_max(node->thread_floats, cdl_max(floats, of_micro));
        }
        most = cdl_max(most, node->thread_floats);
    }
    return cdl_round_up(most, CDL_LINE);
}

/* Buffers of values and gradients with their lifetimes; `lives` has room for two a value. */
static void add_values(struct plan *plan, struct cdl_program *program, struct life *lives) {
    const int end = 2 * program->n_nodes;
    /* Other threads may be at another node. */
    const bool always = program->threads > 1 && !program->lockstep;
    struct life *of_gradients = lives + program->n_values;
    find_lives(program, lives);
    if (program->training) find_lives_of_gradients(program, of_gradients);
    for (int v = 0; v < program->n_values; v++) {
        struct cdl_tensor *value = &program->values[v];
        const size_t rows = value->shared ? 1 : value->whole ? program->batch : program->rows;
        const size_t floats = rows * cdl_sample_floats(value);
        const struct life own = lives[v], back = of_gradients[v];
        if (value->owner == value)
            add(plan, &value->data, value->slices, floats, own.fixed ? 0 : own.birth,
                own.fixed || always ? end : own.death);
        if (!program->training || value->grad_owner != value || back.birth == end) continue;
        const int death = always ? end : back.death;
        add(plan, &value->grad, value->grad_slices, floats, back.birth,
            death < back.birth ? back.birth : death);
    }
}

/* Buffers that live always: scratch, and gradients of parameters that are kept whole. */
static void add_kept(struct plan *plan, struct cdl_program *program) {
    const int end = 2 * program->n_nodes;
    CDL_EACH_NODE(node, program) {
        if (!node->op->scratch_floats) continue;
        size_t rows = node->shared ? 1 : program->rows;
        if (node->op->joins && program->ranks.all) /* room for the sums of all blocks of all */
            rows = cdl_round_up(rows, CDL_ROW_BLOCK) * (size_t)program->ranks.all;
        const size_t floats = cdl_round_up(node->op->scratch_floats(node, rows), CDL_LINE);
        const bool of_iteration = node->loop && !node->op->follows && !cdl_adds_iterations(node);
        const bool kept = of_iteration && (node->goes_back || node->learns);
        node->scratch_slice = kept ? floats : 0;
        add(plan, &node->scratch, kept ? node->iterations : 1, floats, 0, end);
    }
    CDL_EACH_NODE(node, program) {
        if (!node->loop || !node->learns) continue;
        if (cdl_iterations_at_once(node, program->rows) == node->iterations) continue;
        for (int p = 0; p < CDL_MAX_PARAMS; p++) {
            struct cdl_trained *trained = node->trained[p];
            if (trained) add(plan, &trained->sum, 1, cdl_param_floats(trained->param), 0, end);
        }
    }
    for (int i = 0; i < program->n_trained && program->keeps_grads; i++) {
        struct cdl_trained *trained = &program->trained[i];
        add(plan, &trained->gradient, 1, cdl_param_floats(trained->param), 0, end);
    }
    for (int i = 0; i < program->n_parts && !program->ranks.all; i++) {
        struct cdl_trained *part = &program->parts[i];
        add(plan, &part->gradient, 1, cdl_param_floats(part->param), 0, end);
    }
    if (program->ranks.all && program->training) {
        size_t leaf = 0;
        for (int i = 0; i < program->n_parts; i++)
            leaf += cdl_param_floats(program->parts[i].param);
        program->ranks.leaf_floats = leaf;
        program->joined_floats = CDL_HEADER + (program->ranks.leaves ? CDL_LEAVES : 1) * leaf;
        program->joined = program->ranks.block(program->ranks.who, program->joined_floats);
        if (!program->joined) add(plan, &program->joined, 1, program->joined_floats, 0, end);
    }
    for (int i = 0; i < program->n_trained + program->n_parts && program->micro; i++) {
        struct cdl_trained *trained =
            i < program->n_trained ? &program->trained[i] : &program->parts[i - program->n_trained];
        const size_t floats = cdl_param_floats(trained->param);
        add(plan, &trained->sum, 1 + program->slots, floats, 0, end);
    }
    const size_t threads = (size_t)program->threads;
    program->thread_floats = thread_floats(program) + CDL_RED_ZONE;
    program->tensorwise_floats = cdl_round_up(program->tensorwise_floats, CDL_LINE);
    add(plan, &program->thread_scratch, threads, program->thread_floats, 0, end);
    add(plan, &program->tensorwise_scratch, threads, program->tensorwise_floats, 0, end);
    add(plan, &program->undo, 1, program->undo_floats, 0, end);
}

/* Red zones (AddressSanitizer): each buffer has its own place, and a poisoned one behind it;
 * returns the floats of all. */
static size_t set_apart(struct plan *plan) {
    size_t floats = 0;
    for (int i = 0; i < plan->n; i++) {
        plan->buffers[i].offset = floats;
        floats += plan->buffers[i].floats + CDL_RED_ZONE;
    }
    return floats;
}

static void poison(const struct plan *plan, const struct cdl_program *program) {
    for (int i = 0; i < plan->n; i++) {
        const struct cdl_buffer *buffer = &plan->buffers[i];
        cdl_poison(program->arena + buffer->offset + buffer->floats, CDL_RED_ZONE);
    }
}

static cdl_status allocate(struct plan *plan, struct cdl_program *program) {
    if (plan->floats > MOST_FLOATS) return CDL_ERR_NO_MEMORY;
    CDL_TRY(cdl_place(plan->buffers, plan->n, &program->floats, &program->least_floats));
    const bool apart = CDL_RED_ZONE && plan->floats < MOST_FLOATS_APART;
    program->arena = cdl_alloc(apart ? set_apart(plan) : program->floats);
    if (!program->arena) return CDL_ERR_NO_MEMORY;
    if (apart) poison(plan, program);
    for (int i = 0; i < plan->n; i++)
        *plan->buffers[i].place = program->arena + plan->buffers[i].offset;
    for (int t = 1; t <= program->threads && apart; t++)
        cdl_poison(cdl_scratch_of(program, t) - CDL_RED_ZONE, CDL_RED_ZONE);
    float *part = program->joined + (program->joined ? CDL_HEADER : 0);
    for (int i = 0; i < program->n_parts && program->joined; i++) {
        program->parts[i].gradient = part;
        part += cdl_param_floats(program->parts[i].param);
    }
    CDL_EACH_VALUE(value, program) {
        value->data = value->base = value->owner->data;
        value->grad = value->grad_owner->grad;
    }
    return CDL_OK;
}

cdl_status cdl_plan(struct cdl_program *program) {
    const size_t values = (size_t)program->n_values;
    const size_t most = 2 * values + (size_t)program->n_nodes + 2 * (size_t)program->n_trained +
                        2 * (size_t)program->n_parts + 4;
    struct plan plan = {.buffers = calloc(most, sizeof *plan.buffers)};
    struct life *lives = calloc(2 * values + 1, sizeof *lives);
    cdl_status status = CDL_ERR_NO_MEMORY;
    if (plan.buffers && lives) {
        add_values(&plan, program, lives);
        add_kept(&plan, program);
        status = allocate(&plan, program);
    }
    free(lives);
    free(plan.buffers);
    return status;
}
