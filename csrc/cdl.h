/* cdl.h - the whole interface of the core, as the binding sees it.
 *
 * A caller describes a program by value (struct cdl_program_def), creates it, which checks it and
 * allocates all that it will ever need, and runs it. Runs allocate nothing and return no error.
 */
#ifndef CDL_H
#define CDL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/host.h"
#include "base/param.h"
#include "base/shuffle.h"
#include "base/status.h"
#include "base/watch.h"
#include "kernels/convert.h"
#include "kernels/elementwise.h"

/* ---- tables, by name: rows are numbered from 0; NULL past the end -------------------------- */

struct cdl_row {
    const char *name;
    const char *params;  /* comma-separated names of the row's parameters, or an op's attributes */
    const char *more;    /* ops: parameters; optimizers: slots; losses, metrics, tallies:
                            "values", "classes" or "numbers"; activations: "x" or "y", what the slope
                            is computed from */
    const char *table;   /* ops: the table that attribute 0 names a row of, or NULL */
    bool gives_gradient; /* ops: whether in[0] gets a gradient from it */
    bool many;           /* ops: and all its other inputs that are floats too */
    bool effects;        /* ops: does more than give its outputs */
    bool reports;        /* ops: has a state for cdl_report, and needs no output */
};

/* table: "ops", "activations", "losses", "metrics", "tallies", "optimizers", "reductions",
 * "draws", "elementwise" (whose params are a primitive's operands) and "dtypes", whose names are
 * NumPy's. */
bool cdl_table_row(const char *table, int row, struct cdl_row *out);

const char *cdl_isa_row(int row, bool *runs);
void cdl_start(void); /* once, at import */
int cdl_threads_limit(void);
int cdl_limit_threads(int most); /* of programs that the calling thread builds; 0: no limit */
const char *cdl_threads_why(void);
bool cdl_has_openmp(void);
const char *cdl_compiler(void);

/* ---- arrays of the caller -------------------------------------------------------------------- */

enum { CDL_MAX_ARRAY_DIMS = 9 };

/* The stored elements of a sparse array of two axes, row by row (CSR). */
struct cdl_sparse {
    const char *values;  /* of the array's dtype */
    const char *columns; /* int32, or int64 if `wide` */
    bool wide;
    size_t stored; /* how many there are */
};

/* Any strided array; axis 0 are the samples. Nothing is copied: rows are converted as they are
 * used. */
struct cdl_array {
    const char *data; /* sparse: the number of each row's first element, int64, and one more */
    enum cdl_dtype dtype;
    bool swapped; /* bytes in the other order than the machine's */
    int n_dims;
    size_t shape[CDL_MAX_ARRAY_DIMS];
    ptrdiff_t strides[CDL_MAX_ARRAY_DIMS]; /* in bytes */
    const struct cdl_sparse *sparse;       /* or NULL: every element is there */
};

/* Number of the first element (in C order) that is no integer in [0, classes), or -1. */
int64_t cdl_check_classes(const struct cdl_array *array, int64_t classes);

/* ---- programs -------------------------------------------------------------------------------- */

struct cdl_value_def {
    int n_dims;
    size_t dims[8]; /* per sample */
    bool is_int;
    bool shared; /* one for the whole batch */
};

struct cdl_instruction_def {
    int op;
    int n_in, n_out, n_params;
    int in[8], out[2];
    struct cdl_param *params[7];
    int trained[7];        /* number in the program's list of trained parameters, or -1 */
    float attributes[8];   /* in the op's order */
    float row_params[4];   /* in the row's order */
    const double *numbers; /* n_numbers, of any length; copied */
    size_t n_numbers;
    struct cdl_host host; /* of op "host" */
};

struct cdl_trained_def {
    struct cdl_param *param;
    size_t outer, height, width; /* its shape: the last two axes, and the product of the others */
    int group;                   /* below n_groups */
    struct cdl_param *slots[3];
    float l1, l2;
    struct cdl_param *pull; /* what is added to the gradient, or NULL */
    float decay;            /* weight decay; the rate is multiplied to it */
    int constraint;         /* 0 none, 1 not negative, 2 norms: low, high, rate */
    float low, high, rate;
    struct cdl_param *average, *accumulated; /* or NULL */
};

/* What stands around the optimizer's row; 0 where it does not apply. */
struct cdl_rules {
    double clip_value, clip_norm, global_clip_norm;
    double average_momentum;
    int64_t overwrite_frequency, accumulation_steps;
    bool finite_only; /* a batch whose gradients are not all finite changes nothing */
};

/* Parameters that learn by the same row of the table of optimizers. */
struct cdl_group_def {
    int optimizer;
    double hypers[12];
};

struct cdl_program_def {
    size_t rows; /* capacity: the largest batch; for each thread when not training */
    bool training;
    const char *isa; /* or NULL */
    int threads;     /* or 0: the gate decides */
    int n_values, n_instructions, n_inputs, n_outputs, n_pulled, n_trained;
    const struct cdl_value_def *values;
    const struct cdl_instruction_def *instructions;
    const int *inputs, *outputs;
    const int *pulled; /* values whose gradients cdl_backward is given */
    const struct cdl_trained_def *trained;
    int n_groups; /* 0: nothing learns */
    struct cdl_group_def groups[2];
    struct cdl_rules rules;
    cdl_ask_fn *ask; /* whether a run is to end early (base/watch.h), or NULL */
    void *who;
};

struct cdl_program;

/* On CDL_ERR_PROGRAM `*fault` is the number of the instruction that does not fit. */
cdl_status cdl_program_create(const struct cdl_program_def *def, struct cdl_program **out,
                              int *fault);
void cdl_program_destroy(struct cdl_program *program);
int cdl_program_threads(const struct cdl_program *program);
/* Bytes that the program's values, gradients and scratch take; and how many no plan could save. */
size_t cdl_program_bytes(const struct cdl_program *program, size_t *least);
const char *cdl_program_isa(const struct cdl_program *program);

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
