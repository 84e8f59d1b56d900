/* lockstep.h - all threads share each node of a program, and wait for each other behind it. */
#ifndef CDL_PROGRAM_LOCKSTEP_H
#define CDL_PROGRAM_LOCKSTEP_H

#include "program/steps.h"

/* Does a program run in lockstep? By default if its nodes are worth a barrier each with the planned
 * threads; the caller may decide otherwise. */
bool cdl_keeps_step(const struct cdl_program *program, enum cdl_lockstep wanted);

/* May samples of a node be cut anywhere? Its op must take them one by one, and each must begin with
 * whole registers: vectors and tails of loops must fall on the same numbers. */
bool cdl_takes_any_samples(const struct cdl_node *node);

/* Least samples whose nodes, on average, are worth lockstep for all threads. */
size_t cdl_worth_samples(const struct cdl_program *program);

/* A thread's samples of a node. */
struct cdl_range cdl_samples_of(const struct cdl_node *node, const struct cdl_context *ctx);

/* A barrier stands behind each node that has work. */
void cdl_link_lockstep(struct cdl_program *program);

#endif
