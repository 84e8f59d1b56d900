/* run.h - what one does with a program: training, evaluation, prediction, and what it reports. */
#ifndef CDL_PROGRAM_RUN_H
#define CDL_PROGRAM_RUN_H

#include "program/definition.h"
#include "program/feed.h"

/* Where a run of batches stands. The caller owns it and the arrays. */
struct cdl_pass {
    const struct cdl_array *arrays; /* one an input of the program */
    const int64_t *order;           /* row numbers, or NULL: 0, 1, 2, ... */
    size_t rows, batch;             /* rows in all; rows a batch */
    size_t next;                    /* number of the next batch */
    size_t passed;                  /* batches of the passes of cdl_train_epochs before this one */
    size_t skipped;                 /* batches that changed nothing (finite_only) */
    uint64_t seed;
    uint64_t iteration; /* steps that the optimizer has made */
    const float *rates; /* of the coming steps; the last one repeats */
    size_t n_rates;
    const float *shares; /* how much penalties count in each batch of the pass, or NULL: 1 */
};

/* Up to `steps` batches, or as many as fit about `seconds`; moves pass->next and, in training,
 * pass->iteration and rates. Adds to the accumulators. */
void cdl_train(struct cdl_program *program, struct cdl_pass *pass, size_t steps, double seconds);
void cdl_test(struct cdl_program *program, struct cdl_pass *pass, size_t steps, double seconds);

/* `passes` passes, each in an order of its own, one after the other in `orders`. What cdl_penalty
 * and all of cdl_report give after a pass goes to `found`. Returns the number of passes that were
 * finished. */
size_t cdl_train_epochs(struct cdl_program *program, struct cdl_pass *pass, const int64_t *orders,
                        size_t passes, double *found);

/* One batch in two halves, for losses that are computed elsewhere: rows of the batch, 0 at the end.
 */
size_t cdl_forward(struct cdl_program *program, struct cdl_pass *pass, bool training);
void cdl_backward(struct cdl_program *program, struct cdl_pass *pass,
                  const float *const *gradients);

/* One step of the optimizer from a gradient for each trained parameter, laid out as it is. */
void cdl_apply(struct cdl_program *program, struct cdl_pass *pass,
               struct cdl_param *const *gradients);

/* What the random numbers of a prediction are a function of, besides its program. */
struct cdl_draws {
    uint64_t seed, call; /* which call it is: each has others */
    size_t first;        /* number of row 0 of the arrays in all that is predicted by the call */
};

/* How long a sample takes to predict, in floating-point operations or what is worth as much. */
double cdl_program_work(const struct cdl_program *program);

/* Rows [0, rows) of the arrays through the program to row-major outputs. */
void cdl_predict(struct cdl_program *program, const struct cdl_array *arrays, size_t rows,
                 float *const *outputs, struct cdl_draws draws);

/* What an instruction found wrong in its inputs, which ended the last run before its batch changed
 * a weight: a number that should be in [0, limit). */
struct cdl_found {
    int instruction;
    bool shared;   /* by all samples; else in this one of the pass or the prediction: */
    size_t sample; /* the first in which there is such a number */
    float value;
    size_t limit;
};
bool cdl_fault(const struct cdl_program *program, struct cdl_found *found);

/* Of a batch of the pass, the rows that are this process's. */
size_t cdl_own_rows(const struct cdl_program *program, const struct cdl_pass *pass, size_t batch);

/* State i (one a loss or metric instruction, in order): total and count, or what its op says. */
int cdl_reports(const struct cdl_program *program);
const double *cdl_report(const struct cdl_program *program, int i, size_t *doubles);
/* Penalties of the regularized parameters: the sum over batches of rows * penalty, and the rows. */
void cdl_penalty(const struct cdl_program *program, double *total, double *count);
void cdl_reset_reports(struct cdl_program *program);

/* Copies `rows` rows of output or input i of the last batch, row-major. */
void cdl_read_output(const struct cdl_program *program, int i, size_t rows, float *to);
/* The gradient of output i, which op probe gives; nothing if no loss depends on it. */
void cdl_read_gradient(const struct cdl_program *program, int i, size_t rows, float *to);
void cdl_read_input(const struct cdl_program *program, int i, size_t rows, void *to);

#endif
