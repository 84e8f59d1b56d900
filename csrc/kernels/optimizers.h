/* optimizers.h - the optimizers' updates: one row, one function of the step, one of the element.
 *
 * X(name, slots, hyper-parameters, names of slots): `NAME_step(rate, t, h, s)` derives what one
 * step needs (t = 1 for the first step, h the hyper-parameters in the row's order) into s[0], s[1]
 * ...; `NAME_update(w, g, slot, s)` returns the new weight and updates the slots. Formulas are
 * Keras's (keras.optimizers, 3.15), which differ from the papers in where epsilon stands, and in
 * float as there: 1 - 0.999f is not 0.001f but 1.3e-5 less, and the rate of Adam's first steps
 * shows it.
 *
 * Rows of learn/tensorwise.c need all of a parameter to know how far to go: their update returns
 * the direction, not the weight.
 */
#ifndef CDL_KERNELS_OPTIMIZERS_H
#define CDL_KERNELS_OPTIMIZERS_H

#include <math.h>

#define CDL_ADAM "beta_1,beta_2,epsilon"
#define CDL_FTRL                                                                                   \
    "learning_rate_power,l1_regularization_strength,l2_regularization_strength,"                   \
    "l2_shrinkage_regularization_strength,beta"
#define CDL_ADAFACTOR "beta_2_decay,epsilon_1,epsilon_2,clip_threshold"

// clang-format off
#define CDL_OPTIMIZERS(X)                                                                    \
    X(sgd,                       0, "",                     "")                              \
    X(sgd_momentum,              1, "momentum",             "momentum")                      \
    X(sgd_nesterov,              1, "momentum",             "momentum")                      \
    X(rmsprop,                   1, "rho,epsilon",          "velocity")                      \
    X(rmsprop_momentum,          2, "rho,epsilon,momentum", "velocity,momentum")             \
    X(rmsprop_centered,          2, "rho,epsilon",          "velocity,average_gradient")     \
    X(rmsprop_centered_momentum, 3, "rho,epsilon,momentum", "velocity,momentum,average_gradient") \
    X(adam,                      2, CDL_ADAM,               "momentum,velocity")             \
    X(adam_amsgrad,              3, CDL_ADAM,               "momentum,velocity,velocity_hat") \
    X(adamax,                    2, CDL_ADAM,               "momentum,norm")                 \
    X(nadam,                     2, CDL_ADAM,               "momentum,velocity")             \
    X(adagrad,                   1, "epsilon",              "accumulator")                   \
    X(adadelta,                  2, "rho,epsilon",   "accumulated_grad,accumulated_delta_var") \
    X(ftrl,                      2, CDL_FTRL,               "accumulator,linear")            \
    X(ftrl_power,                2, CDL_FTRL,               "accumulator,linear")            \
    X(lion,                      1, "beta_1,beta_2",        "momentum")                      \
    X(schedule_free_adamw,       2, CDL_ADAM ",warmup_steps", "momentum,velocity")           \
    X(lamb,                      2, CDL_ADAM,               "momentum,velocity")             \
    X(adafactor,                 1, CDL_ADAFACTOR,          "velocity")                      \
    X(adafactor_factored,        3, CDL_ADAFACTOR,          "row,column,velocity")           \
    X(muon,                      1, "momentum,nesterov,rms_rate,muon_a,muon_b,muon_c,ns_steps", \
                                                            "momentum")                      \
    X(muon_adam,                 2, "adam_beta_1,adam_beta_2,epsilon,adam_lr_ratio",         \
                                                            "momentum,velocity")
// clang-format on

enum cdl_optimizer {
#define X(NAME, N_SLOTS, HYPERS, SLOTS) CDL_OPTIMIZER_##NAME,
    CDL_OPTIMIZERS(X)
#undef X
        CDL_N_OPTIMIZERS
};

enum { CDL_MAX_SLOTS = 3, CDL_MAX_HYPERS = 12, CDL_MAX_DERIVED = 8 };

/* Where a pad or a weight that nothing pulls at would be 0 / 0 with epsilon = 0. Beside any other
 * number it is nothing. */
#define CDL_TINY 1e-30f

static inline float tiny_at_least(double epsilon) {
    return (float)epsilon > CDL_TINY ? (float)epsilon : CDL_TINY;
}

/* 1 - b^t, the factor by which a mean that began with 0 is too small. Once b^t < e^-20 it is 1,
 * without a power, which costs as much as a small layer. */
static inline float bias_left(double b, double t) {
    const double base = (double)(float)b;
    return t * (1.0 - base) > 20.0 ? 1.0f : 1.0f - (float)pow(base, t);
}

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

static inline void rmsprop_step(double rate, double t, const double *h, float *s) {
    (void)t;
    s[0] = (float)rate;
    s[1] = (float)h[0];
    s[2] = (float)(1.0 - h[0]);
    s[3] = tiny_at_least(h[1]);
}
static inline void rmsprop_centered_step(double rate, double t, const double *h, float *s) {
    rmsprop_step(rate, t, h, s);
}
static inline void rmsprop_momentum_step(double rate, double t, const double *h, float *s) {
    rmsprop_step(rate, t, h, s);
    s[4] = (float)h[2];
}
static inline void rmsprop_centered_momentum_step(double rate, double t, const double *h,
                                                  float *s) {
    rmsprop_momentum_step(rate, t, h, s);
}

/* Kingma and Ba, 2014, section 2's last form: both bias corrections go into the rate, epsilon
 * is added to the uncorrected root ("epsilon hat"). */
static inline void adam_step(double rate, double t, const double *h, float *s) {
    s[0] = (float)rate * sqrtf(bias_left(h[1], t)) / bias_left(h[0], t);
    s[1] = (float)(1.0 - h[0]);
    s[2] = (float)(1.0 - h[1]);
    s[3] = tiny_at_least(h[2]);
}
static inline void adam_amsgrad_step(double rate, double t, const double *h, float *s) {
    adam_step(rate, t, h, s);
}

/* The same paper, section 7.1. */
static inline void adamax_step(double rate, double t, const double *h, float *s) {
    s[0] = (float)rate / bias_left(h[0], t);
    s[1] = (float)(1.0 - h[0]);
    s[2] = (float)h[1];
    s[3] = tiny_at_least(h[2]);
}

/* Dozat, 2016: u_i = beta_1 (1 - 0.5 * 0.96^i) is the momentum of step i. From CONSTANT on it is
 * beta_1 to the last bit of a double. */
enum { NADAM_CONSTANT = 1000 };
static inline double nadam_momentum(double beta, double i) {
    return i < NADAM_CONSTANT ? beta * (1.0 - 0.5 * pow(0.96, i)) : beta;
}
/* The product of the first t of them, computed anew. It is less than beta_1^t, and once that is
 * below e^-38 nothing beside 1. */
static inline double nadam_product(double beta, double t) {
    double product = 1.0, power = 1.0;
    if (t * (1.0 - beta) > 38.0) return 0.0;
    for (double i = 1.0; i <= t && i < NADAM_CONSTANT; i += 1.0) {
        power *= 0.96;
        product *= beta * (1.0 - 0.5 * power);
    }
    return t < NADAM_CONSTANT ? product : product * pow(beta, t - (NADAM_CONSTANT - 1));
}
static inline void nadam_step(double rate, double t, const double *h, float *s) {
    const double product = nadam_product(h[0], t);
    const double u = nadam_momentum(h[0], t), next = nadam_momentum(h[0], t + 1.0);
    s[0] = (float)(rate * next / (1.0 - product * next));
    s[1] = (float)(rate * (1.0 - u) / (1.0 - product));
    s[2] = 1.0f / bias_left(h[1], t);
    s[3] = 1.0f - (float)h[0];
    s[4] = 1.0f - (float)h[1];
    s[5] = tiny_at_least(h[2]);
}

static inline void adagrad_step(double rate, double t, const double *h, float *s) {
    (void)t;
    s[0] = (float)rate, s[1] = tiny_at_least(h[0]);
}

static inline void adadelta_step(double rate, double t, const double *h, float *s) {
    rmsprop_step(rate, t, h, s);
}

static inline void ftrl_step(double rate, double t, const double *h, float *s) {
    (void)t;
    s[0] = (float)rate;
    s[1] = (float)-h[0];
    s[2] = (float)h[1];
    s[3] = 2.0f * ((float)h[2] + (float)h[4] / (2.0f * (float)rate));
    s[4] = (float)(2.0 * h[3]);
    s[5] = 1.0f / (float)rate;
}
static inline void ftrl_power_step(double rate, double t, const double *h, float *s) {
    ftrl_step(rate, t, h, s);
}

static inline void lion_step(double rate, double t, const double *h, float *s) {
    (void)t;
    s[0] = (float)rate;
    s[1] = (float)h[0], s[2] = 1.0f - (float)h[0];
    s[3] = (float)h[1], s[4] = 1.0f - (float)h[1];
}

/* Defazio et al., 2024, with weights 1/t. */
static inline void schedule_free_adamw_step(double rate, double t, const double *h, float *s) {
    s[0] = (float)rate * (t < h[3] ? (float)t / (float)h[3] : 1.0f);
    s[1] = (float)h[0];
    s[2] = 1.0f - (float)h[1];
    s[3] = 1.0f / bias_left(h[1], t);
    s[4] = tiny_at_least(h[2]);
    s[5] = 1.0f / (float)t;
    s[6] = 1.0f / (float)h[0];
}

static inline void lamb_step(double rate, double t, const double *h, float *s) {
    s[0] = 1.0f / bias_left(h[0], t);
    s[1] = (float)(1.0 - h[0]);
    s[2] = (float)(1.0 - h[1]);
    s[3] = tiny_at_least(h[2]);
    s[4] = 1.0f / bias_left(h[1], t);
    s[5] = (float)rate;
}

static inline void adafactor_step(double rate, double t, const double *h, float *s) {
    const float root = 1.0f / sqrtf((float)t);
    s[0] = 1.0f - (float)pow(t, h[0]);
    s[1] = 1.0f - s[0];
    s[2] = tiny_at_least(h[1]);
    s[3] = (float)rate < root ? (float)rate : root;
    s[4] = (float)h[2];
    s[5] = (float)h[3];
}
static inline void adafactor_factored_step(double rate, double t, const double *h, float *s) {
    adafactor_step(rate, t, h, s);
}

/* s[2] is the rate; a negative rms_rate leaves it as it is, whatever the matrix. */
static inline void muon_step(double rate, double t, const double *h, float *s) {
    (void)t;
    s[0] = (float)h[0], s[1] = (float)h[1];
    s[2] = (float)rate, s[3] = (float)h[2];
    s[4] = (float)h[3], s[5] = (float)h[4], s[6] = (float)h[5];
    s[7] = (float)h[6];
}
static inline void muon_adam_step(double rate, double t, const double *h, float *s) {
    adam_step(rate * h[3], t, h, s);
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

CDL_INLINE float rmsprop_update(float w, float g, float *slot, const float *s) {
    slot[0] = s[1] * slot[0] + s[2] * (g * g);
    return w - over_root_f(s[0] * g, sqrtf(slot[0] + s[3]));
}

CDL_INLINE float rmsprop_momentum_update(float w, float g, float *slot, const float *s) {
    slot[0] = s[1] * slot[0] + s[2] * (g * g);
    slot[1] = s[4] * slot[1] + over_root_f(s[0] * g, sqrtf(slot[0] + s[3]));
    return w - slot[1];
}

CDL_INLINE float rmsprop_centered_update(float w, float g, float *slot, const float *s) {
    slot[0] = s[1] * slot[0] + s[2] * (g * g);
    slot[1] = s[1] * slot[1] + s[2] * g;
    return w - over_root_f(s[0] * g, sqrtf(slot[0] - slot[1] * slot[1] + s[3]));
}

CDL_INLINE float rmsprop_centered_momentum_update(float w, float g, float *slot, const float *s) {
    slot[0] = s[1] * slot[0] + s[2] * (g * g);
    slot[2] = s[1] * slot[2] + s[2] * g;
    slot[1] = s[4] * slot[1] + over_root_f(s[0] * g, sqrtf(slot[0] - slot[2] * slot[2] + s[3]));
    return w - slot[1];
}

CDL_INLINE float adam_update(float w, float g, float *slot, const float *s) {
    slot[0] += (g - slot[0]) * s[1];
    slot[1] += (g * g - slot[1]) * s[2];
    return w - over_root_f(slot[0] * s[0], sqrtf(slot[1]) + s[3]);
}

CDL_INLINE float adam_amsgrad_update(float w, float g, float *slot, const float *s) {
    slot[0] += (g - slot[0]) * s[1];
    slot[1] += (g * g - slot[1]) * s[2];
    slot[2] = max_f(slot[2], slot[1]);
    return w - over_root_f(slot[0] * s[0], sqrtf(slot[2]) + s[3]);
}

CDL_INLINE float adamax_update(float w, float g, float *slot, const float *s) {
    slot[0] += (g - slot[0]) * s[1];
    slot[1] = max_f(s[2] * slot[1], abs_f(g));
    return w - slot[0] * s[0] / (slot[1] + s[3]);
}

CDL_INLINE float nadam_update(float w, float g, float *slot, const float *s) {
    slot[0] += (g - slot[0]) * s[3];
    slot[1] += (g * g - slot[1]) * s[4];
    return w - over_root_f(s[0] * slot[0] + s[1] * g, sqrtf(slot[1] * s[2]) + s[5]);
}

CDL_INLINE float adagrad_update(float w, float g, float *slot, const float *s) {
    slot[0] += g * g;
    return w - over_root_f(s[0] * g, sqrtf(slot[0] + s[1]));
}

CDL_INLINE float adadelta_update(float w, float g, float *slot, const float *s) {
    slot[0] = s[1] * slot[0] + s[2] * (g * g);
    const float delta = over_root_f(sqrtf(slot[1] + s[3]) * g, sqrtf(slot[0] + s[3]));
    slot[1] = s[1] * slot[1] + s[2] * (delta * delta);
    return w - s[0] * delta;
}

/* McMahan et al., 2013; `before` and `after` are the accumulator to the power, s[3] is twice the
 * L2 strength, s[4] twice the shrinkage. */
CDL_INLINE float ftrl_weight(float w, float g, float *slot, const float *s, float before,
                             float after) {
    slot[1] += g + s[4] * w - (after - before) * s[5] * w;
    const float quadratic = after * s[5] + s[3];
    const float clipped = max_f(min_f(slot[1], s[2]), -s[2]);
    return quadratic == 0.0f ? 0.0f : (clipped - slot[1]) / quadratic;
}

CDL_INLINE float ftrl_update(float w, float g, float *slot, const float *s) {
    const float before = slot[0];
    slot[0] += g * g;
    return ftrl_weight(w, g, slot, s, sqrtf(before), sqrtf(slot[0]));
}

/* x^p for x >= 0 and p >= 0. With log_f, whose ends are selects too, gcc makes branches of all of
 * them, and no vectors of the loop. */
CDL_INLINE float power_f(float x, float p) {
    const float general = exp_f(p * log_normal_f(x));
    const float finite = x < INFINITY ? general : x;
    const float positive = x < 1.17549435e-38f ? 0.0f : finite;
    return p == 0.0f ? 1.0f : positive;
}

CDL_INLINE float ftrl_power_update(float w, float g, float *slot, const float *s) {
    const float before = slot[0];
    slot[0] += g * g;
    return ftrl_weight(w, g, slot, s, power_f(before, s[1]), power_f(slot[0], s[1]));
}

CDL_INLINE float lion_update(float w, float g, float *slot, const float *s) {
    const float c = slot[0] * s[1] + g * s[2];
    slot[0] = slot[0] * s[3] + g * s[4];
    return w - (c > 0.0f ? s[0] : (c < 0.0f ? -s[0] : 0.0f * c));
}

/* Keras keeps y, where the gradient is taken, as the weight, and z as its "momentum"; the mean x
 * follows from the two. */
CDL_INLINE float schedule_free_adamw_update(float w, float g, float *slot, const float *s) {
    const float x = (w - (1.0f - s[1]) * slot[0]) * s[6];
    slot[1] += (g * g - slot[1]) * s[2];
    slot[0] -= over_root_f(s[0] * g, sqrtf(slot[1] * s[3]) + s[4]);
    const float mean = (1.0f - s[5]) * x + s[5] * slot[0];
    return (1.0f - s[1]) * slot[0] + s[1] * mean;
}

CDL_INLINE float lamb_update(float w, float g, float *slot, const float *s) {
    slot[0] += (g - slot[0]) * s[1];
    slot[1] += (g * g - slot[1]) * s[2];
    return (void)w, over_root_f(slot[0] * s[0], sqrtf(slot[1] * s[4]) + s[3]);
}

/* Shazeer and Stern, 2018, for what has less than two axes. */
CDL_INLINE float adafactor_update(float w, float g, float *slot, const float *s) {
    slot[0] = s[0] * slot[0] + s[1] * (g * g + s[2]);
    return (void)w, over_root_f(g, sqrtf(slot[0]));
}
/* The factors belong to rows and columns: tensorwise.c does all of it. */
CDL_INLINE float adafactor_factored_update(float w, float g, float *slot, const float *s) {
    return (void)slot, (void)s, (void)g, w;
}

CDL_INLINE float muon_update(float w, float g, float *slot, const float *s) {
    slot[0] += g + slot[0] * (s[0] - 1.0f);
    return (void)w, s[1] != 0.0f ? g + s[0] * slot[0] : slot[0];
}

CDL_INLINE float muon_adam_update(float w, float g, float *slot, const float *s) {
    return adam_update(w, g, slot, s);
}

#endif
