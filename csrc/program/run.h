/* run.h - training, evaluation and prediction with a program, and its reports. */
#pragma once

#include "program/definition.h"
#include "program/feed.h"

/* State of an epoch: a run over batches. The caller owns it and the arrays. */
struct cdl_epoch {
    const struct cdl_array *arrays; /* one an input of the program */
    const int64_t *order;           /* row numbers, or NULL: 0, 1, 2, ... */
    size_t rows, batch;             /* rows in all; rows a batch */
    size_t next;                    /* number of the next batch */
    size_t passed;                  /* batches of the epochs of cdl_train_epochs before this one */
    size_t skipped;                 /* batches that changed nothing (finite_only) */
    uint64_t seed;
    uint64_t iteration; /* steps that the optimizer has made */
    uint64_t counted;   /* the same when they were last counted */
    const float *rates; /* of the coming steps; the last one repeats */
    size_t n_rates;
    const float *shares; /* weight of the penalties in each batch of the epoch, or NULL: 1 */
};

/* Adds the steps made since `counted` to the optimizer's counter, which threads may share. */
void cdl_count(struct cdl_epoch *epoch, int64_t *counter);

/* Runs up to `steps` batches, or as many as fit about `seconds`; moves epoch->next and, in
 * training, epoch->iteration and rates. Adds to the accumulators. */
void cdl_run_batches(struct cdl_program *program, struct cdl_epoch *epoch, size_t steps,
                     double seconds, bool training);

/* A link of a chain: a program that learns. Links may share parameters, and a counter.
 * `gradients`: what the program adds its gradients of a batch to, and makes no step; or, if it
 * `applies`, what it makes its step by, without a batch. So steps may follow several gradients.
 * `results`: a program that only computes, for links behind it, writes output k of batch b to
 * results[k] + b * strides[k]. */
struct cdl_link {
    struct cdl_program *program;
    struct cdl_epoch *epoch;
    int64_t *counter;   /* steps that its optimizer has made */
    const float *rates; /* of the steps from number `first` on; the last one repeats */
    size_t n_rates;
    uint64_t first;
    struct cdl_param **gradients;
    size_t n_gradients;
    bool applies;
    float **results;
    size_t *strides;
    size_t n_results;
};

/* Trains up to `steps` batches as cdl_run_batches does, each by all links in turn. The watch is
 * polled between batches, and within long ones of the first link. */
void cdl_train_chain(const struct cdl_link *links, size_t n, size_t steps, double seconds);

/* Runs `epochs` epochs of training; `orders` has the order of each, one after the other. The
 * reports of each epoch (cdl_penalty, all of cdl_report) go to `found`. Returns the number of
 * finished epochs. */
size_t cdl_train_epochs(struct cdl_program *program, struct cdl_epoch *epoch, const int64_t *orders,
                        size_t epochs, double *found);
size_t cdl_found_doubles(const struct cdl_program *program); /* of an epoch */
bool cdl_are_finite(const double *numbers, size_t n);

/* Models alike the one that a program was made of, which train with it one after the other
 * (members.c), or up to sixteen at once in lanes (lanes.h). */
struct cdl_seed_place {
    int instruction, number; /* which of its numbers is a seed */
};
struct cdl_host_params {
    struct cdl_param *const *params; /* all that the program reads or changes */
    size_t n_params;
    const struct cdl_seed_place *seeds;
    size_t n_seeds;
    struct cdl_member_lanes **lanes; /* in which members run together (lanes.h), one a thread */
    size_t n_lanes;                  /* 0: they cannot */
};
enum cdl_member_state { CDL_WAITS, CDL_IS_IN, CDL_ENDED, CDL_LOST };
struct cdl_member {
    struct cdl_param *const *params; /* its own, one for each of the program's; or NULL: */
    float *const *floats;            /* theirs, row by row */
    const int64_t *seeds;            /* its own, one for each place */
    struct cdl_epoch epoch;
    int64_t *orders;              /* of its epochs, one after the other */
    struct cdl_row_orders *draws; /* draws them, or NULL: they are there; but for these epochs: */
    size_t drawn;
    int64_t first; /* its first row */
    size_t epochs, done;
    double *found; /* reports of its epochs */
    enum cdl_member_state state;
};

/* Runs the members' epochs, of training or evaluation as the program is made for, for about
 * `seconds`. CDL_ENDED: all are done or it has left, and the weights are written back; CDL_LOST: a
 * batch had a fault or an epoch a report that is not finite, and the weights are as they were;
 * CDL_IS_IN: begun, its weights are the program's, or in lanes, until a later call or until it
 * leaves. */
void cdl_train_members(struct cdl_program *program, const struct cdl_host_params *host,
                       struct cdl_member *const *members, size_t n, double seconds);
void cdl_member_leaves(const struct cdl_host_params *host, struct cdl_member *member);
/* Its memory goes, wherever it is: lanes hold it no longer. */
void cdl_member_is_freed(const struct cdl_host_params *host, const struct cdl_member *member);
/* For runs by other calls: only the weights and seeds of the member are read. */
void cdl_member_enters(const struct cdl_program *program, const struct cdl_host_params *host,
                       struct cdl_member *member);

/* One batch in two halves, for losses computed elsewhere: rows of the batch, 0 at the end. */
size_t cdl_forward(struct cdl_program *program, struct cdl_epoch *epoch, bool training);
void cdl_backward(struct cdl_program *program, struct cdl_epoch *epoch,
                  const float *const *gradients);

/* One step of the optimizer from a gradient for each trained parameter, laid out as it is. */
bool cdl_apply(struct cdl_program *program, struct cdl_epoch *epoch,
               struct cdl_param *const *gradients);

/* Key of a prediction's random numbers, beside its program. */
struct cdl_draws {
    uint64_t seed, call; /* number of the call: each draws other numbers */
    size_t first;        /* number of row 0 of the arrays in all that is predicted by the call */
};

/* Cost of predicting a sample, in floating-point operations or their equivalent. */
double cdl_program_work(const struct cdl_program *program);

/* Rows [0, rows) of the arrays through the program to row-major outputs. */
void cdl_predict(struct cdl_program *program, const struct cdl_array *arrays, size_t rows,
                 float *const *outputs, struct cdl_draws draws);

/* Predictions of models that are alike, each of its own rows of one array (members.c). */
struct cdl_member_rows {
    float *const *stacks; /* of each of the host's parameters: those of all members, row by row */
    const struct cdl_array *array;
    const int64_t *firsts, *rows; /* of the array, by member */
    size_t n;
    float *output; /* of all, one after the other */
};
/* Goes on with member `done` for about `seconds`; the number of those that are done. */
size_t cdl_predict_members(struct cdl_program *program, const struct cdl_host_params *host,
                           const struct cdl_member_rows *of, size_t done, double seconds);

/* An input error found by an instruction, which ended the last run before its batch changed a
 * weight: a number that should be in [0, limit). */
struct cdl_found {
    int instruction;
    bool shared;   /* shared by all samples; else it is in the sample: */
    size_t sample; /* first sample with such a number, counted in the epoch or prediction */
    float value;
    size_t limit;
};
bool cdl_fault(const struct cdl_program *program, struct cdl_found *found);

/* This process's rows of a batch of the epoch. */
size_t cdl_own_rows(const struct cdl_program *program, const struct cdl_epoch *epoch, size_t batch);

/* State i (one a loss or metric instruction, in order): total and count, or what its op says. */
int cdl_reports(const struct cdl_program *program);
const double *cdl_report(const struct cdl_program *program, int i, size_t *doubles);
/* Penalties of the regularized parameters: the sum over batches of rows * penalty, and the rows. */
void cdl_penalty(const struct cdl_program *program, double *total, double *count);
void cdl_reset_reports(struct cdl_program *program);

/* Copies `rows` rows of output or input i of the last batch, row-major. */
void cdl_read_output(const struct cdl_program *program, int i, size_t rows, float *to);
/* Copies the gradient of output i, which op probe gives; nothing if no loss depends on it. */
void cdl_read_gradient(const struct cdl_program *program, int i, size_t rows, float *to);
void cdl_read_input(const struct cdl_program *program, int i, size_t rows, void *to);
