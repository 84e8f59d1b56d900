/* step.h - the update rule of one parameter, and the settings of an optimizer's step. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/param.h"
#include "kernels/kernels.h"

/* Norm constraints act on the columns of a matrix, or on all of a vector: w *= d / (1e-7 + norm)
 * with d = rate * clip(norm, low, high) + (1 - rate) * norm (Keras's MinMaxNorm, of which MaxNorm
 * has low = 0 and UnitNorm low = high = 1). */
enum cdl_constraint { CDL_FREE, CDL_NON_NEGATIVE, CDL_NORM };

/* Sums of squares over a block: of gradient, weights and direction (tensorwise.h). */
struct cdl_squares {
    double g, w, d;
};

/* A trained parameter and its rules, which the caller states up to `accumulated`; NULL in the node
 * if it is frozen. */
struct cdl_trained {
    struct cdl_param *param;
    size_t outer, height, width; /* shape: `outer` matrices; a vector is one row */
    float *slots[CDL_MAX_SLOTS];
    int group;         /* below n_groups: parameters with one row of the table of optimizers */
    float l1, l2;      /* penalty l1 sum |w| + l2 sum w w, part of the loss */
    float *added_grad; /* term added to the gradient, or NULL: penalties computed elsewhere */
    float decay;       /* weight decay, times the rate */
    enum cdl_constraint constraint;
    float low, high, rate;
    float *average;     /* moving average of the weights, or NULL */
    float *accumulated; /* gradients accumulated for the next update, or NULL */
    float *gradient;    /* NULL: blocks go straight into the update; else all of it is kept */
    float *sum;      /* sum over the micro-batches of a batch so far, and behind it slots for single
                        ones; or NULL */
    double *penalty; /* penalty of each line of CDL_LINE floats, from the last step; NULL without,
                        and in lanes, which are not lines of one model */
    struct cdl_squares *squares; /* per block, of the last step; NULL if no norm is needed */
    /* Parts, one for each instruction that uses the parameter. All that a part holds is `param`,
     * `gradient` (what its instruction contributes), `sum` and `next`; NULL ends the list. */
    struct cdl_trained *parts, *next;
    int users;                 /* number of uses by instructions */
    struct cdl_param *rounded; /* rounded copy of w, made by the update; or NULL */
    enum cdl_dtype rounds_to;
    bool is_part;
    enum cdl_dtype
        dtype;          /* dtype of the gradient that its instruction hands over: float16 or not */
    cdl_rest_fn *rests; /* where blocks may owe steps (program/owed.c); else NULL */
    bool gradientless;  /* without a gradient from any instruction: it learns from zeros */
};

static inline bool cdl_is_penalized(const struct cdl_trained *trained) {
    return trained->l1 != 0.0f || trained->l2 != 0.0f;
}

/* Settings of one step of the optimizer: by group, and for all parameters. */
enum { CDL_MAX_GROUPS = 8 };

struct cdl_group {
    cdl_update_fn *update;
    const struct cdl_tensorwise
        *tensorwise; /* rule of a step that depends on the whole parameter, or NULL */
    float derived[CDL_MAX_DERIVED];
    const float *by_lane; /* the same of models in lanes, a line of each, or NULL */
};

/* Settings around the optimizer's row; 0 where they do not apply. */
struct cdl_rules {
    float clip_value, clip_norm, global_clip_norm;
    double average_momentum;
    int64_t overwrite_frequency, accumulation_steps;
    bool finite_only;                   /* skips a batch whose gradients are not all finite */
    const struct cdl_param *loss_scale; /* divisor of the gradients, or NULL */
};

struct cdl_step {
    const struct cdl_rules *rules;
    struct cdl_group groups[CDL_MAX_GROUPS];
    float rate;
    float share;            /* weight of the penalties */
    float average_momentum; /* 0 in the first step */
    bool overwrite;         /* overwrites the weights by their average */
    int accumulate;         /* number of gradients accumulated for a step */
    bool apply;             /* this one completes them: the update is made */
    float unscale;          /* factor that undoes the loss scale in gradients */
};
