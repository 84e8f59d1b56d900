/* step.h - how one parameter learns, and what a step of the optimizer needs beside the gradients.
 */
#ifndef CDL_LEARN_STEP_H
#define CDL_LEARN_STEP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/param.h"
#include "kernels/kernels.h"

/* Norm constraints act on the columns of a matrix, or on all of a vector: w *= d / (1e-7 + norm)
 * with d = rate * clip(norm, low, high) + (1 - rate) * norm (Keras's MinMaxNorm, of which MaxNorm
 * has low = 0 and UnitNorm low = high = 1). */
enum cdl_constraint { CDL_FREE, CDL_NON_NEGATIVE, CDL_NORM };

/* Sums of squares over a block: of the gradient, of the weights, of the direction (tensorwise.h).
 */
struct cdl_squares {
    double g, w, d;
};

/* How one parameter learns; NULL in the node if it is frozen. */
struct cdl_trained {
    struct cdl_param *param;
    size_t outer, height, width; /* what it is: `outer` matrices; a vector is one row */
    float *slots[CDL_MAX_SLOTS];
    int group;         /* of parameters that learn by the same row of the table of optimizers */
    float l1, l2;      /* penalty l1 sum |w| + l2 sum w w, part of the loss */
    float *added_grad; /* what is added to the gradient, or NULL: penalties computed elsewhere */
    float decay;       /* weight decay, to be multiplied by the rate */
    enum cdl_constraint constraint;
    float low, high, rate;
    float *average;     /* moving average of the weights, or NULL */
    float *accumulated; /* sum of the gradients of the steps that wait for an update, or NULL */
    float *gradient;    /* NULL: blocks go straight into the update; else all of it is kept */
    float *sum; /* of the micro-batches of a batch so far, and behind it slots for single ones; or
                   NULL */
    double *penalty; /* of each line of CDL_LINE floats, from the last step; NULL without */
    struct cdl_squares *squares; /* a block, of the last step; NULL if nothing asks for norms */
    /* A parameter that several instructions use has a part for each: all that a part holds is
     * `param`, `gradient` (what its instruction contributes), `sum` and `next`; NULL ends the
     * list. */
    struct cdl_trained *parts, *next;
    int users;                 /* how often instructions have it */
    struct cdl_param *rounded; /* what becomes of w, rounded, once it has learned, or NULL */
    enum cdl_dtype rounds_to;
    bool is_part;
    enum cdl_dtype dtype; /* of the gradient that its instruction hands over: float16 or not */
    bool gradientless;    /* no instruction hands it a gradient: it learns from zeros */
};

/* What one step of the optimizer needs beside the gradients: by group, and for all parameters. */
enum { CDL_MAX_GROUPS = 2 };

struct cdl_group {
    cdl_update_fn *update;
    const struct cdl_tensorwise *tensorwise; /* or NULL: update is all */
    float derived[CDL_MAX_DERIVED];
};

struct cdl_step {
    struct cdl_group groups[CDL_MAX_GROUPS];
    float rate;
    float share;                                   /* of the penalties */
    float clip_value, clip_norm, global_clip_norm; /* or 0 */
    float average_momentum;                        /* 0 in the first step */
    bool overwrite;                                /* the weights by their average */
    int accumulate;                                /* gradients a step is made of */
    bool apply;                                    /* whether this one completes them */
    bool finite_only; /* whether nothing is to be learned from gradients that are not finite */
    float unscale;    /* what undoes the scale of the loss in gradients */
};

#endif
