/* link.c - flow of gradients between the nodes of a program, and values shared by all rows. */
#include <assert.h>

#include "program/program.h"

/* Can a node give input k a gradient? A value that only metrics read gets none. */
static bool can_give(const struct cdl_node *node, int k) {
    const bool has_one = (node->op->role == CDL_LOSS) || node->op->backward->run;
    if (node->op->gives && !node->op->gives(node, k)) return false;
    return has_one && !cdl_is_int(node->in[k]) && (k == 0 || node->op->all_inputs);
}

/* Does an output of a node get a gradient, from the caller or from a later node that can give one?
 * A loss needs none. */
static bool gets_gradient(const struct cdl_node *node) {
    bool any = (node->op->role == CDL_LOSS);
    for (int o = 0; o < node->n_out; o++)
        any |= node->out[o]->external_grad || node->out[o]->grad_possible;
    return any;
}

/* Nodes give a gradient to an input if they have one and anything before the input learns. The only
 * reader of another node's activated output may apply the gradient of that activation itself. */
static bool find_possible(struct cdl_program *program) {
    bool changed = false;
    for (int i = program->n_nodes - 1; i >= 0; i--) {
        struct cdl_node *node = &program->nodes[i];
        node->has_dy = gets_gradient(node);
        for (int k = 0; k < node->n_in && node->has_dy; k++) {
            changed |= can_give(node, k) && !node->in[k]->grad_possible;
            node->in[k]->grad_possible |= can_give(node, k);
        }
    }
    return changed;
}

static bool find_needed(struct cdl_program *program) {
    bool changed = false;
    CDL_EACH_NODE(node, program) {
        for (int k = 0; k < node->n_in && node->has_dy; k++) {
            const struct cdl_node *before = node->in[k]->producer;
            const bool wanted = before && (cdl_node_gives(before) || cdl_node_trains(before));
            changed |= wanted && can_give(node, k) && !node->needs[k];
            node->needs[k] = wanted && can_give(node, k);
            node->in[k]->needed |= node->needs[k];
        }
        node->learns = node->has_dy && node->op->update && cdl_node_trains(node);
        const bool learns = node->learns && node->op->role != CDL_TABLE;
        node->goes_back = node->op->backward->run && (learns || cdl_node_gives(node));
        node->dx_activation = CDL_ACTIVATION_linear;
        if (!node->needs[0] || !node->op->applies_gradient || !node->op->applies_gradient(node))
            continue;
        struct cdl_node *before = node->in[0]->producer;
        if (before->op->absorbs_gradient && node->in[0]->users == 1) {
            node->dx_activation = (int)before->numbers[0];
            node->dx_row_param = before->row_param;
            before->dy_is_dz = true;
        }
    }
    return changed;
}

/* Gradients of a loop: a carried value is read before it is written, so the searches repeat until
 * nothing changes. */
static void link_backward(struct cdl_program *program) {
    while (find_possible(program) && program->loops) continue;
    while (find_needed(program) && program->loops) continue;
}

/* Does the node add output gradients into its input's own gradient memory? */
static bool adds_up(const struct cdl_node *node) { return node->op->passes_on && node->n_out > 1; }

/* Index of the fork's output whose gradient memory is that of the sum. */
static int kept_output(const struct cdl_node *fork) {
    const struct cdl_tensor *behind = fork->out[fork->n_out - 1];
    return behind->external_grad || behind->needed ? fork->n_out - 1 : 0;
}

static void find_writers(struct cdl_program *program) {
    for (int i = program->n_nodes - 1; i >= 0; i--) {
        struct cdl_node *node = &program->nodes[i];
        for (int k = 0; k < node->n_in; k++) {
            if (node->needs[k])
                node->in[k]->grad_writer =
                    adds_up(node) ? node->out[kept_output(node)]->grad_writer : node;
        }
    }
}

/* May an output that aliases its input share the gradient of the input, too? */
static bool takes_over(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0], *y = node->n_out ? node->out[0] : NULL;
    return cdl_is_renaming(node) && y->owner == x->owner && node->needs[0] && x->users == 1 &&
           !x->external_grad && !y->external_grad;
}

/* Gradients of one value share one memory, which the last user writes first. An earlier user whose
 * gradient is mostly zero adds it to that memory directly: otherwise n slices of one value would be
 * n gradients as large as the value, all alive until the forks add them. */
static void link_sums(struct cdl_program *program) {
    find_writers(program);
    CDL_EACH_NODE(node, program) {
        if (takes_over(node)) node->out[0]->grad_owner = node->in[0]->grad_owner;
        if (!adds_up(node) || !node->needs[0]) continue;
        const int kept = kept_output(node);
        const struct cdl_node *first = node->out[kept]->grad_writer;
        node->out[kept]->grad_owner = node->in[0]->grad_owner;
        for (int o = 0; o < node->n_out; o++) {
            const struct cdl_node *writer = node->out[o]->grad_writer;
            if (o == kept || !writer || writer->op->role != CDL_PICK ||
                writer->in[0] != node->out[o])
                continue;
            if (!first || writer > first) continue;
            program->nodes[writer - program->nodes].adds = true;
            node->out[o]->grad_owner = node->in[0]->grad_owner;
        }
    }
}

/* Casts in place: every alias of their outputs becomes an alias of their inputs. */
static void link_casts(struct cdl_program *program) {
    for (int i = 0; i < program->n_nodes && !program->loops; i++) {
        const struct cdl_node *node = &program->nodes[i];
        if (!cdl_casts_in_place(node)) continue;
        struct cdl_tensor *x = node->in[0];
        const struct cdl_tensor *y = node->out[0];
        bool is_given = false;
        for (int o = 0; o < program->n_outputs; o++) is_given |= program->outputs[o]->owner == x;
        if (is_given) continue;
        for (int v = 0; v < program->n_values; v++) {
            if (program->values[v].owner == y) program->values[v].owner = x;
        }
        if (y->grad_owner == y) x->grad_owner = y;
    }
}

/* Parameters without a gradient: they still learn, because penalties and decay move weights. */
static void link_gradientless(struct cdl_program *program) {
    if (!program->n_groups) return;
    for (int t = 0; t < program->n_trained; t++)
        program->trained[t].gradientless = !program->trained[t].parts;
    CDL_EACH_NODE(node, program) {
        for (int p = 0; p < CDL_MAX_PARAMS && node->learns; p++) {
            if (node->trained[p]) node->trained[p]->gradientless = false;
        }
    }
    for (int t = 0; t < program->n_trained; t++)
        program->n_gradientless += program->trained[t].gradientless;
}

/* Finds the nodes that one thread runs for all, those that are constant in a prediction, and
 * whether samples depend on each other. */
static void link_shared(struct cdl_program *program) {
    CDL_EACH_NODE(node, program) {
        bool any_in = false, all = true, any_out = false, once = true;
        for (int k = 0; k < node->n_in; k++) {
            const struct cdl_node *before = node->in[k]->producer;
            any_in |= !node->in[k]->shared;
            once &= before && before->once;
        }
        for (int o = 0; o < node->n_out; o++) {
            all &= node->out[o]->shared;
            any_out |= node->out[o]->shared;
        }
        node->shared = all && !any_in && node->n_in + node->n_out > 0;
        node->once = node->shared && once && !program->training;
        program->n_once += node->once;
        program->mixes_rows |= any_in && any_out;
        program->keeps_order |= node->op->role == CDL_STATE;
    }
}

/* Barriers: one between the writer of a shared value and any other thread that reads it. */
static void link_waits(struct cdl_program *program) {
    for (int i = 0; i < program->n_nodes; i++) {
        struct cdl_node *node = &program->nodes[i];
        const bool last = i + 1 == program->n_nodes, first = i == 0;
        bool gives = (node->op->role == CDL_LOSS) && node->in[0]->shared, gives_back = false;
        for (int o = 0; o < node->n_out; o++) gives |= node->out[o]->shared;
        for (int k = 0; k < node->n_in; k++) gives_back |= node->needs[k] && node->in[k]->shared;
        node->waits_forward = gives && (last || !node->shared || !program->nodes[i + 1].shared);
        node->waits_backward =
            gives_back && (first || !node->shared || !program->nodes[i - 1].shared);
    }
}

/* May predictions pass rows of the first input to the first node in place? A dense node reads no
 * pads. */
static void link_rows(struct cdl_program *program) {
    const struct cdl_node *first = program->nodes;
    if (program->n_nodes == 0 || program->n_inputs == 0 || first->op->role != CDL_DENSE) return;
    const struct cdl_tensor *x = program->inputs[0];
    bool alone = first->in[0] == x && x->users == 1 && x->lines == 1 && !x->shared;
    for (int i = 0; i < program->n_outputs; i++) alone &= program->outputs[i]->owner != x;
    program->reads_rows =
        alone && !cdl_rounds_to(program->inputs[0]->dtype) && !first->shared && !first->once;
}

#ifndef NDEBUG
/* Is each gradient written by one node only? Exceptions: nodes that add to it, and the carried
 * values of a loop. */
static inline bool writes_once(const struct cdl_program *program) {
    CDL_EACH_NODE(node, program) {
        for (int k = 0; k < node->n_in; k++) {
            const struct cdl_node *writer = node->in[k]->grad_writer;
            const bool carried = writer && writer->op->role == CDL_CARRIED;
            if (!node->needs[k] || node->adds || adds_up(node) || carried) continue;
            if (writer != node) return false;
        }
    }
    return true;
}
#endif

void cdl_link(struct cdl_program *program) {
    link_shared(program);
    if (program->training) link_backward(program);
    link_sums(program);
    assert(writes_once(program));
    link_casts(program);
    link_gradientless(program);
    link_waits(program);
    link_rows(program);
    cdl_link_loops(program);
}
