/* lockstep.h - all threads share each node of a program, and wait for each other behind it. */
#ifndef CDL_PROGRAM_LOCKSTEP_H
#define CDL_PROGRAM_LOCKSTEP_H

#include "program/steps.h"

/* Whether a program runs so: whether its nodes are worth a barrier each with the threads that are
 * planned, unless the caller has said. */
bool cdl_keeps_step(const struct cdl_program *program, enum cdl_lockstep wanted);

/* Whether any samples of a node may be taken together, since its op takes them one by one and their
 * numbers begin with whole registers: a loop's vectors and tail must fall on the same numbers. */
bool cdl_takes_any_samples(const struct cdl_node *node);

/* Samples whose nodes are worth it, on average, for all threads of a program. */
size_t cdl_worth_samples(const struct cdl_program *program);

/* What each thread does of a node, up to the barrier behind it. */
void cdl_forward_lockstep(const struct cdl_node *node, struct cdl_context *ctx,
                          struct cdl_team *team);
void cdl_backward_lockstep(const struct cdl_program *program, const struct cdl_node *node,
                           struct cdl_context *ctx, struct cdl_team *team);

#endif
