/* loop.h - common parts of the nodes of a loop's body. */
#pragma once

#include "ops/op.h"

/* Numbers of loop, of carried, and of element and collect. */
enum { CDL_LOOP_ITERATIONS, CDL_LOOP_DRAWS, CDL_LOOP_BODY };
enum { CDL_CARRIED_BEHIND };
enum { CDL_ELEMENT_REVERSE };

static inline size_t cdl_iterations_of(const struct cdl_node *loop) {
    return (size_t)loop->numbers[CDL_LOOP_ITERATIONS];
}

/* Nodes of a loop's body: those behind it. */
static inline size_t cdl_body_of(const struct cdl_node *loop) {
    return (size_t)loop->numbers[CDL_LOOP_BODY];
}

/* Numbers that a generator of the user's draws in an iteration. */
static inline uint64_t cdl_draws_of(const struct cdl_node *loop) {
    return (uint64_t)loop->numbers[CDL_LOOP_DRAWS];
}

/* How far behind a carried value what it is next is left. */
static inline size_t cdl_behind(const struct cdl_node *carried) {
    return (size_t)carried->numbers[CDL_CARRIED_BEHIND];
}

/* True if the first iteration has the last element. */
static inline bool cdl_is_reverse(const struct cdl_node *element) {
    return element->numbers[CDL_ELEMENT_REVERSE] != 0;
}

/* Do the lines of all iterations lie one behind the other, for an op that learns from lines? */
static inline bool cdl_learns_at_once(const struct cdl_node *node) {
    return node->op->parts == CDL_BY_LINES && node->in[0]->owner->slices > 1 &&
           node->out[0]->grad_owner->grad_slices > 1;
}

/* True if a node reads a shared value: its gradient is summed over the iterations in scratch. */
static inline bool cdl_adds_iterations(const struct cdl_node *node) {
    return node->op->role == CDL_PRODUCT;
}

/* True if a node of a body passes on a shared value. */
static inline bool cdl_passes_shared(const struct cdl_node *node) {
    const bool passes = node->op->role == CDL_CAPTURED || node->op->role == CDL_FORK;
    return passes && node->in[0]->shared;
}

/* Floats of lines that are summed up at once: they stay in the L2 cache, and sums are short. */
enum { CDL_LOOP_FLOATS = 1 << 17 };

/* Iterations that a node learns from at once. */
static inline size_t cdl_iterations_at_once(const struct cdl_node *node, size_t rows) {
    if (!cdl_learns_at_once(node)) return 1;
    const size_t iteration = rows * (node->in[0]->row_floats + node->out[0]->row_floats);
    return cdl_min(cdl_max(CDL_LOOP_FLOATS / cdl_max(iteration, 1), 1), node->iterations);
}
