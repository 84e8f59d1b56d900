/* loop.h - what the nodes of a loop's body have in common. */
#ifndef CDL_OPS_LOOP_H
#define CDL_OPS_LOOP_H

#include "ops/op.h"

/* Numbers of loop, of carried, and of element and collect. */
enum { CDL_LOOP_TURNS, CDL_LOOP_DRAWS, CDL_LOOP_BODY };
enum { CDL_CARRIED_BEHIND };
enum { CDL_ELEMENT_REVERSE };

static inline size_t cdl_turns_of(const struct cdl_node *loop) {
    return (size_t)loop->numbers[CDL_LOOP_TURNS];
}

/* Nodes of a loop's body: those behind it. */
static inline size_t cdl_body_of(const struct cdl_node *loop) {
    return (size_t)loop->numbers[CDL_LOOP_BODY];
}

/* Numbers that a generator of the user's draws in a turn. */
static inline uint64_t cdl_draws_of(const struct cdl_node *loop) {
    return (uint64_t)loop->numbers[CDL_LOOP_DRAWS];
}

/* How far behind a carried value what it is next is left. */
static inline size_t cdl_behind(const struct cdl_node *carried) {
    return (size_t)carried->numbers[CDL_CARRIED_BEHIND];
}

/* Whether the first turn has the last element. */
static inline bool cdl_is_reverse(const struct cdl_node *element) {
    return element->numbers[CDL_ELEMENT_REVERSE] != 0;
}

/* Whether the lines of all turns lie one behind the other, for an op that learns from lines. */
static inline bool cdl_learns_at_once(const struct cdl_node *node) {
    return node->op->learns_by_lines && node->in[0]->owner->slices > 1 &&
           node->out[0]->grad_owner->grad_slices > 1;
}

#endif
