/* learn.h - what happens to a block of a parameter's gradient: the update of its weights. */
#ifndef CDL_OPS_LEARN_H
#define CDL_OPS_LEARN_H

#include "ops/op.h"

/* Updates the `n` floats of the parameter at `offset` (whole lines) by their gradient g. */
void cdl_learn(const struct cdl_trained *trained, const struct cdl_step *step, size_t offset,
               size_t n, const float *g);

#endif
