/* gate.h - number of threads that share a step, and how evenly. */
#pragma once

#include <stdbool.h>

#include "program/definition.h"

/* Balance of a step's work over threads: the largest shares over the mean, of forward and backward
 * pass and of the whole step. */
struct cdl_balance {
    int threads;
    bool lockstep;
    double passes, step;
};

struct cdl_balance cdl_program_balance(const struct cdl_program *program);

/* Threads that a batch is worth, of those available. */
int cdl_worth_threads(struct cdl_program *program, const struct cdl_program_def *def);

/* Fewer threads, or lockstep, where pieces are few: the fewest that take hardly longer than the
 * best number would. Two threads stay as they are. */
void cdl_balance_threads(struct cdl_program *program, const struct cdl_program_def *def);
