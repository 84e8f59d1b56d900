/* definition.h - the caller's description of a program, and what a built program says of itself. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "ops/op.h"

struct cdl_value_def {
    int n_dims;
    size_t dims[CDL_MAX_DIMS]; /* per sample */
    enum cdl_dtype dtype;      /* int32, float32, bfloat16 or float16 */
    bool shared;               /* one for the whole batch */
    bool rounded;              /* floats that are all numbers of bfloat16 */
    bool whole;                /* integer input, whose numbers floats must hold exactly */
};

struct cdl_instruction_def {
    int op;
    int n_in, n_out, n_params;
    int in[CDL_MAX_INPUTS], out[CDL_MAX_OUTPUTS];
    struct cdl_param *params[CDL_MAX_PARAMS];
    /* Dtype that a weight is rounded to before the op reads it: bfloat16 or float16, else none. */
    enum cdl_dtype param_dtypes[CDL_MAX_PARAMS];
    int trained[CDL_MAX_PARAMS]; /* number in the program's list of trained parameters, or -1 */
    const int64_t *numbers;      /* n_numbers, in the order of the op's signature */
    size_t n_numbers;
    float attributes[CDL_MAX_ATTRIBUTES]; /* in that order */
    float row_params[CDL_MAX_ROW_PARAMS]; /* in the row's order */
    const double *data;                   /* n_data, of any length; both are copied */
    size_t n_data;
    struct cdl_host host; /* of op "host" */
};

/* Parameters with one optimizer: a row of the table of optimizers, at a part of its rate. */
struct cdl_group_def {
    int optimizer;
    double rate_factor;
    double hypers[CDL_MAX_HYPERS];
};

/* Lockstep (all threads share each node): where nodes are worth it, or as the caller says. */
enum cdl_lockstep { CDL_LOCKSTEP_WORTH, CDL_LOCKSTEP_NEVER, CDL_LOCKSTEP_ALWAYS };

struct cdl_program_def {
    size_t rows; /* capacity: the largest batch; for each thread when not training */
    bool training;
    bool predicts;   /* only cdl_predict is called: memory for a block of rows suffices */
    bool splits;     /* only cdl_run_batches and cdl_train_epochs are called: micro-batches are
                        possible */
    const char *isa; /* or NULL */
    int threads;     /* or 0: the gate decides (below 0: of so many that there would be) */
    enum cdl_lockstep lockstep;
    int n_values, n_instructions, n_inputs, n_outputs, n_external_grads, n_trained;
    const struct cdl_value_def *values;
    const struct cdl_instruction_def *instructions;
    const int *inputs, *outputs;
    const int *external_grads;         /* values whose gradients cdl_backward is given */
    const struct cdl_trained *trained; /* n_trained, their first fields */
    int n_groups;                      /* 0: nothing learns */
    struct cdl_group_def groups[CDL_MAX_GROUPS];
    struct cdl_rules rules;
    /* Program run once after each training batch, after the update, such as constraints: shared
     * values only, with nodes that assign to weights. The caller keeps it. Or NULL. */
    struct cdl_program *after;
    cdl_poll_fn *poll; /* asks whether a run must end early (base/watch.h), or NULL */
    void *who;
    struct cdl_ranks ranks; /* all 0: this process is the only one */
};

struct cdl_program;

/* An error in a program's description. */
struct cdl_misfit {
    int instruction;    /* number of the instruction; -1: not of one */
    const char *op;     /* its op's name */
    const char *reason; /* error and expectation; the text is never freed */
};

/* On CDL_ERR_PROGRAM `*misfit` says why. */
cdl_status cdl_program_create(const struct cdl_program_def *def, struct cdl_program **out,
                              struct cdl_misfit *misfit);
void cdl_program_destroy(struct cdl_program *program);
int cdl_program_threads(const struct cdl_program *program);
/* Bytes of the program's values, gradients and scratch; `least` is what no plan could save. */
size_t cdl_program_bytes(const struct cdl_program *program, size_t *least);
const char *cdl_program_isa(const struct cdl_program *program);
