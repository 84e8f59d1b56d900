/* loops.c - the nodes that a loop runs, and the memory that they keep for all iterations. */
#include "ops/loop.h"
#include "program/program.h"

/* A carried value reads what `carry` has left, which comes later in the list. */
static const char *join(struct cdl_node *node, size_t left) {
    const size_t behind = cdl_behind(node);
    CDL_EXPECT(behind - 1 < left && node[behind].op->role == CDL_CARRY,
               "behind: expected how far behind its carry is");
    node->in[1] = node[behind].out[0];
    node->n_in = 2;
    node->in[1]->users++;
    return cdl_check_alike(node->in[1], node->out[0]);
}

static bool leaves(const struct cdl_op *op) {
    return op->role == CDL_CARRY || op->role == CDL_COLLECT;
}
static bool enters(const struct cdl_op *op) {
    return op->role == CDL_CARRIED || op->role == CDL_ELEMENT || op->role == CDL_CAPTURED;
}

/* The number of elements must be that of the iterations. */
static bool fits(const struct cdl_node *node, size_t iterations) {
    const struct cdl_tensor *all = node->op->role == CDL_ELEMENT   ? node->in[0]
                                   : node->op->role == CDL_COLLECT ? node->out[0]
                                                                   : NULL;
    return !all || all->dims[0] == iterations;
}

/* Checks a node in the body of a loop, `left` nodes from its end. */
static const char *take(struct cdl_node *loop, struct cdl_node *node, size_t left) {
    CDL_EXPECT(cdl_can_loop(node->op), "body: expected ops that a loop can run");
    CDL_EXPECT(node->n_in + node->n_out > 0, "body: expected nodes that have values");
    node->loop = loop;
    node->iterations = cdl_iterations_of(loop);
    CDL_EXPECT(fits(node, node->iterations), "expected as many elements as iterations");
    for (int k = 0; k < node->n_in; k++) {
        const struct cdl_node *before = node->in[k]->producer;
        const bool inner = before && before->loop == loop && node->in[k]->view;
        const bool may = cdl_adds_iterations(node) || cdl_passes_shared(node);
        CDL_EXPECT(!node->in[k]->shared || may, "body: expected values of samples");
        CDL_EXPECT(enters(node->op) ? !node->in[k]->view : inner,
                   "body: expected values that its own instructions give");
    }
    for (int o = 0; o < node->n_out; o++) {
        CDL_EXPECT(!node->out[o]->shared || cdl_passes_shared(node),
                   "body: expected values of samples");
        CDL_EXPECT(cdl_padded(node->out[o]->width) <= CDL_THREAD_SCRATCH || node->n_in < 3 ||
                       !cdl_adds_iterations(node),
                   "body: expected a bias of fewer numbers");
        if (!leaves(node->op)) node->out[o]->view = ++loop->views;
    }
    return node->op->role == CDL_CARRIED ? join(node, left) : NULL;
}

const char *cdl_find_loops(struct cdl_program *program) {
    for (int i = 0; i < program->n_nodes; i++) {
        struct cdl_node *loop = &program->nodes[i];
        const bool alone = enters(loop->op) || leaves(loop->op);
        CDL_EXPECT(!alone, "expected a loop around it");
        for (int k = 0; k < loop->n_in; k++)
            CDL_EXPECT(!loop->in[k]->view, "expected no value from within a loop");
        if (loop->op->role != CDL_LOOP) continue;
        const size_t body = cdl_body_of(loop);
        CDL_EXPECT(body < (size_t)(program->n_nodes - i), "body: expected so many instructions");
        for (size_t k = 1; k <= body; k++) CDL_CHECK(take(loop, &loop[k], body - k));
        i += (int)body;
    }
    return NULL;
}

static void keep_value(const struct cdl_node *node, const struct cdl_tensor *value, int k) {
    struct cdl_tensor *owner = (struct cdl_tensor *)value->owner;
    if (owner->view && (!node->op->reads_back || node->op->reads_back(node, k)))
        owner->slices = node->iterations;
}

/* Memory for all iterations, for a node that has a backward pass or an update. */
static void keep(const struct cdl_node *node) {
    for (int k = 0; k < node->n_in; k++) keep_value(node, node->in[k], k);
    for (int o = 0; o < node->n_out; o++) {
        keep_value(node, node->out[o], CDL_OUTPUT);
        if (node->learns && node->out[o]->view)
            ((struct cdl_tensor *)node->out[o]->grad_owner)->grad_slices = node->iterations;
    }
}

/* Does a carried value get a gradient from behind the loop, such as from the next loop? */
static bool has_outside_gradient(const struct cdl_program *program, const struct cdl_tensor *left) {
    bool any = left->external_grad;
    CDL_EACH_NODE(node, program) {
        for (int k = 0; k < node->n_in && !node->loop; k++)
            any |= node->needs[k] && node->in[k] == left;
        any |= node->loop && node->needs[0] && node->in[0] == left;
    }
    return any;
}

void cdl_link_loops(struct cdl_program *program) {
    CDL_EACH_NODE(node, program) {
        struct cdl_node *loop = (struct cdl_node *)node->loop;
        if (!loop) continue;
        const bool joins = node->op->role == CDL_CAPTURED && node->shared && node->goes_back;
        loop->waits_backward |= joins;
        node->waits_forward = node->waits_backward = false;
        loop->goes_back |= node->goes_back;
        loop->learns |= node->learns;
        if (node->goes_back || node->learns) keep(node);
        if (node->op->role == CDL_CARRY)
            node->begins_at_zero = !has_outside_gradient(program, node->out[0]);
        if (node->op->role == CDL_CARRIED) node[cdl_behind(node)].is_carried_back = node->needs[1];
    }
}
