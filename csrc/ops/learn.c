/* learn.c - the one place where weights change during training. */
#include "ops/learn.h"

void cdl_learn(const struct cdl_trained *trained, const struct cdl_step *step, size_t offset,
               size_t n, const float *g) {
    float *slots[CDL_MAX_SLOTS];
    for (int i = 0; i < CDL_MAX_SLOTS; i++) {
        slots[i] = trained->slots[i] ? trained->slots[i] + offset : NULL;
    }
    step->update(n, trained->param->w + offset, g, slots, step->derived);
}
