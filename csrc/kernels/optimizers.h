/* optimizers.h - the optimizers' updates: one row, one function of the step, one of the element.
 *
 * X(name, hyper-parameters, slots): `NAME_step(rate, t, h, s)` derives what one step needs (t = 1
 * for the first step, h the hyper-parameters in the row's order) into s[0..3], in double;
 * `NAME_update(w, g, slot, s)` returns the new weight and updates the slots. Formulas are Keras's
 * (keras.optimizers, 3.15), which differ from the papers in where epsilon stands.
 */
#ifndef CDL_KERNELS_OPTIMIZERS_H
#define CDL_KERNELS_OPTIMIZERS_H

#include <math.h>

// clang-format off
#define CDL_OPTIMIZERS(X)                                                                    \
    X(sgd,          0, "",                       "")                                         \
    X(sgd_momentum, 1, "momentum",               "momentum")                                 \
    X(sgd_nesterov, 1, "momentum",               "momentum")                                 \
    X(adam,         2, "beta_1,beta_2,epsilon",  "momentum,velocity")                        \
    X(adam_amsgrad, 3, "beta_1,beta_2,epsilon",  "momentum,velocity,velocity_hat")
// clang-format on

enum cdl_optimizer {
#define X(NAME, N_SLOTS, HYPERS, SLOTS) CDL_OPTIMIZER_##NAME,
    CDL_OPTIMIZERS(X)
#undef X
        CDL_N_OPTIMIZERS
};

enum { CDL_MAX_SLOTS = 3, CDL_MAX_HYPERS = 12, CDL_MAX_DERIVED = 8 };

static inline void sgd_step(double rate, double t, const double *h, float *s) {
    (void)t, (void)h;
    s[0] = (float)rate;
}
static inline void sgd_momentum_step(double rate, double t, const double *h, float *s) {
    (void)t;
    s[0] = (float)rate, s[1] = (float)h[0];
}
static inline void sgd_nesterov_step(double rate, double t, const double *h, float *s) {
    sgd_momentum_step(rate, t, h, s);
}

/* Kingma and Ba, 2014, section 2's last form: both bias corrections go into the rate, epsilon
 * is added to the uncorrected root ("epsilon hat"). */
static inline void adam_step(double rate, double t, const double *h, float *s) {
    s[0] = (float)(rate * sqrt(1.0 - pow(h[1], t)) / (1.0 - pow(h[0], t)));
    s[1] = (float)(1.0 - h[0]);
    s[2] = (float)(1.0 - h[1]);
    s[3] = (float)h[2];
}
static inline void adam_amsgrad_step(double rate, double t, const double *h, float *s) {
    adam_step(rate, t, h, s);
}

#endif

#ifdef CDL_TEMPLATE /* inside isa/instantiate.h */

CDL_INLINE float sgd_update(float w, float g, float *slot, const float *s) {
    return (void)slot, w - s[0] * g;
}

CDL_INLINE float sgd_momentum_update(float w, float g, float *slot, const float *s) {
    slot[0] = slot[0] * s[1] - s[0] * g;
    return w + slot[0];
}

CDL_INLINE float sgd_nesterov_update(float w, float g, float *slot, const float *s) {
    slot[0] = slot[0] * s[1] - s[0] * g;
    return w + (slot[0] * s[1] - s[0] * g);
}

CDL_INLINE float adam_update(float w, float g, float *slot, const float *s) {
    slot[0] += (g - slot[0]) * s[1];
    slot[1] += (g * g - slot[1]) * s[2];
    return w - slot[0] * s[0] / (sqrtf(slot[1]) + s[3]);
}

CDL_INLINE float adam_amsgrad_update(float w, float g, float *slot, const float *s) {
    slot[0] += (g - slot[0]) * s[1];
    slot[1] += (g * g - slot[1]) * s[2];
    slot[2] = max_f(slot[2], slot[1]);
    return w - slot[0] * s[0] / (sqrtf(slot[2]) + s[3]);
}

#endif
