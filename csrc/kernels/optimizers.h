/* optimizers.h - the optimizers' updates: one row, one function of the step, one of the element.
 *
 * X(name, slots, hyper-parameters, names of slots): `NAME_step(rate, t, h, s)` derives what one
 * step needs (t = 1 for the first step, h the hyper-parameters in the row's order) into s, whose
 * places the enum before it names; `NAME_update(w, g, slot, s)` returns the new weight and updates
 * the slots. Formulas are Keras's (keras.optimizers, 3.15), which differ from the papers in where
 * epsilon stands, and in float as there: 1 - 0.999f is not 0.001f but 1.3e-5 less, and the rate of
 * Adam's first steps shows it.
 *
 * The length of a step of the rows of learn/tensorwise.c depends on the whole parameter: their
 * update returns the direction, not the weight.
 */
#ifndef CDL_TEMPLATE

#include <math.h>

#include "kernels/wide.h"

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

/* Rows that a gradient of 0 leaves as they are where slots are 0, whatever the step. */
#define CDL_RESTING(X)                                                                       \
    X(sgd_momentum, 1)                                                                       \
    X(sgd_nesterov, 1)                                                                       \
    X(rmsprop, 1)                                                                            \
    X(rmsprop_momentum, 2)                                                                   \
    X(adam, 2)                                                                               \
    X(adam_amsgrad, 3)                                                                       \
    X(adamax, 2)                                                                             \
    X(nadam, 2)
// clang-format on

#define CDL_OPTIMIZER_NUMBER(NAME, ...) CDL_OPTIMIZER_##NAME,
enum cdl_optimizer { CDL_OPTIMIZERS(CDL_OPTIMIZER_NUMBER) CDL_N_OPTIMIZERS };

enum { CDL_MAX_SLOTS = 3, CDL_MAX_HYPERS = 12, CDL_MAX_DERIVED = 8 };

/* Least epsilon, so that pads and weights without a gradient are not 0 / 0 with epsilon = 0. It is
 * negligible beside any other number. */
#define CDL_TINY 1e-30f

static inline float tiny_at_least(double epsilon) {
    return (float)epsilon > CDL_TINY ? (float)epsilon : CDL_TINY;
}

/* b^t for whole t >= 0 by squares, since the C library's powers are not the same on every machine;
 * to t 2^-53 of it. */
static inline double whole_power(double b, double t) {
    double power = 1.0;
    for (uint64_t left = (uint64_t)t; left; left >>= 1, b *= b) power *= left & 1 ? b : 1.0;
    return power;
}

/* 1 - b^t, the factor by which a mean that began with 0 is too small. Once b^t < e^-20 it is 1,
 * without a power, which costs as much as a small layer. */
static inline float bias_left(double b, double t) {
    const double base = (double)(float)b;
    return t * (1.0 - base) > 20.0 ? 1.0f : 1.0f - (float)whole_power(base, t);
}

enum { SGD_RATE, SGD_MOMENTUM };
static inline void sgd_step(double rate, double t, const double *h, float *s) {
    s[SGD_RATE] = (float)rate;
}
static inline void sgd_momentum_step(double rate, double t, const double *h, float *s) {
    const double momentum = h[0];
    s[SGD_RATE] = (float)rate, s[SGD_MOMENTUM] = (float)momentum;
}

enum { RMSPROP_RATE, RMSPROP_KEEP, RMSPROP_TAKE, RMSPROP_EPSILON, RMSPROP_MOMENTUM };
static inline void rmsprop_step(double rate, double t, const double *h, float *s) {
    const double rho = h[0], epsilon = h[1];
    s[RMSPROP_RATE] = (float)rate;
    s[RMSPROP_KEEP] = (float)rho;
    s[RMSPROP_TAKE] = (float)(1.0 - rho);
    s[RMSPROP_EPSILON] = tiny_at_least(epsilon);
}
static inline void rmsprop_momentum_step(double rate, double t, const double *h, float *s) {
    const double momentum = h[2];
    rmsprop_step(rate, t, h, s);
    s[RMSPROP_MOMENTUM] = (float)momentum;
}

/* Kingma and Ba, 2014, section 2's last form: both bias corrections go into the rate, epsilon
 * is added to the uncorrected root ("epsilon hat"). */
enum { ADAM_RATE, ADAM_TAKE_1, ADAM_TAKE_2, ADAM_EPSILON };
static inline void adam_step(double rate, double t, const double *h, float *s) {
    const double beta_1 = h[0], beta_2 = h[1], epsilon = h[2];
    s[ADAM_RATE] = (float)rate * sqrtf(bias_left(beta_2, t)) / bias_left(beta_1, t);
    s[ADAM_TAKE_1] = (float)(1.0 - beta_1);
    s[ADAM_TAKE_2] = (float)(1.0 - beta_2);
    s[ADAM_EPSILON] = tiny_at_least(epsilon);
}

/* Adamax: section 7.1 of the paper of Adam. */
enum { ADAMAX_RATE, ADAMAX_TAKE_1, ADAMAX_KEEP_2, ADAMAX_EPSILON };
static inline void adamax_step(double rate, double t, const double *h, float *s) {
    const double beta_1 = h[0], beta_2 = h[1], epsilon = h[2];
    s[ADAMAX_RATE] = (float)rate / bias_left(beta_1, t);
    s[ADAMAX_TAKE_1] = (float)(1.0 - beta_1);
    s[ADAMAX_KEEP_2] = (float)beta_2;
    s[ADAMAX_EPSILON] = tiny_at_least(epsilon);
}

/* Dozat, 2016: u_i = beta_1 (1 - 0.5 * 0.96^i) is the momentum of step i. From CONSTANT on it is
 * beta_1 to the last bit of a double. */
enum { NADAM_CONSTANT = 1000 };
static inline double nadam_momentum(double beta, double i) {
    return i < NADAM_CONSTANT ? beta * (1.0 - 0.5 * whole_power(0.96, i)) : beta;
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
    return t < NADAM_CONSTANT ? product : product * whole_power(beta, t - (NADAM_CONSTANT - 1));
}
enum { NADAM_RATE, NADAM_GRADIENT_RATE, NADAM_UNBIAS_2, NADAM_TAKE_1, NADAM_TAKE_2, NADAM_EPSILON };
static inline void nadam_step(double rate, double t, const double *h, float *s) {
    const double beta_1 = h[0], beta_2 = h[1], epsilon = h[2];
    const double product = nadam_product(beta_1, t);
    const double u = nadam_momentum(beta_1, t), next = nadam_momentum(beta_1, t + 1.0);
    s[NADAM_RATE] = (float)(rate * next / (1.0 - product * next));
    s[NADAM_GRADIENT_RATE] = (float)(rate * (1.0 - u) / (1.0 - product));
    s[NADAM_UNBIAS_2] = 1.0f / bias_left(beta_2, t);
    s[NADAM_TAKE_1] = 1.0f - (float)beta_1;
    s[NADAM_TAKE_2] = 1.0f - (float)beta_2;
    s[NADAM_EPSILON] = tiny_at_least(epsilon);
}

enum { ADAGRAD_RATE, ADAGRAD_EPSILON };
static inline void adagrad_step(double rate, double t, const double *h, float *s) {
    const double epsilon = h[0];
    s[ADAGRAD_RATE] = (float)rate, s[ADAGRAD_EPSILON] = tiny_at_least(epsilon);
}

enum { FTRL_RATE, FTRL_POWER, FTRL_L1, FTRL_TWICE_L2, FTRL_TWICE_SHRINKAGE, FTRL_PER_RATE };
static inline void ftrl_step(double rate, double t, const double *h, float *s) {
    const double power = h[0], l1 = h[1], l2 = h[2], shrinkage = h[3], beta = h[4];
    s[FTRL_RATE] = (float)rate;
    s[FTRL_POWER] = (float)-power;
    s[FTRL_L1] = (float)l1;
    s[FTRL_TWICE_L2] = 2.0f * ((float)l2 + (float)beta / (2.0f * (float)rate));
    s[FTRL_TWICE_SHRINKAGE] = (float)(2.0 * shrinkage);
    s[FTRL_PER_RATE] = 1.0f / (float)rate;
}

enum { LION_RATE, LION_KEEP_1, LION_TAKE_1, LION_KEEP_2, LION_TAKE_2 };
static inline void lion_step(double rate, double t, const double *h, float *s) {
    const double beta_1 = h[0], beta_2 = h[1];
    s[LION_RATE] = (float)rate;
    s[LION_KEEP_1] = (float)beta_1, s[LION_TAKE_1] = 1.0f - (float)beta_1;
    s[LION_KEEP_2] = (float)beta_2, s[LION_TAKE_2] = 1.0f - (float)beta_2;
}

/* Defazio et al., 2024, with weights 1/t. */
enum {
    FREE_RATE,
    FREE_BETA_1,
    FREE_TAKE_2,
    FREE_UNBIAS_2,
    FREE_EPSILON,
    FREE_WEIGHT,
    FREE_PER_BETA_1
};
static inline void schedule_free_adamw_step(double rate, double t, const double *h, float *s) {
    const double beta_1 = h[0], beta_2 = h[1], epsilon = h[2], warmup = h[3];
    s[FREE_RATE] = (float)rate * (t < warmup ? (float)t / (float)warmup : 1.0f);
    s[FREE_BETA_1] = (float)beta_1;
    s[FREE_TAKE_2] = 1.0f - (float)beta_2;
    s[FREE_UNBIAS_2] = 1.0f / bias_left(beta_2, t);
    s[FREE_EPSILON] = tiny_at_least(epsilon);
    s[FREE_WEIGHT] = 1.0f / (float)t;
    s[FREE_PER_BETA_1] = 1.0f / (float)beta_1;
}

enum { LAMB_UNBIAS_1, LAMB_TAKE_1, LAMB_TAKE_2, LAMB_EPSILON, LAMB_UNBIAS_2, LAMB_RATE };
static inline void lamb_step(double rate, double t, const double *h, float *s) {
    const double beta_1 = h[0], beta_2 = h[1], epsilon = h[2];
    s[LAMB_UNBIAS_1] = 1.0f / bias_left(beta_1, t);
    s[LAMB_TAKE_1] = (float)(1.0 - beta_1);
    s[LAMB_TAKE_2] = (float)(1.0 - beta_2);
    s[LAMB_EPSILON] = tiny_at_least(epsilon);
    s[LAMB_UNBIAS_2] = 1.0f / bias_left(beta_2, t);
    s[LAMB_RATE] = (float)rate;
}

enum {
    ADAFACTOR_KEEP,
    ADAFACTOR_TAKE,
    ADAFACTOR_EPSILON_1,
    ADAFACTOR_RATE,
    ADAFACTOR_EPSILON_2,
    ADAFACTOR_CLIP
};
static inline void adafactor_step(double rate, double t, const double *h, float *s) {
    const double decay = h[0], epsilon_1 = h[1], epsilon_2 = h[2], clip = h[3];
    const float root = 1.0f / sqrtf((float)t);
    s[ADAFACTOR_KEEP] = 1.0f - (float)exp_w(decay * log_w(t));
    s[ADAFACTOR_TAKE] = 1.0f - s[ADAFACTOR_KEEP];
    s[ADAFACTOR_EPSILON_1] = tiny_at_least(epsilon_1);
    s[ADAFACTOR_RATE] = (float)rate < root ? (float)rate : root;
    s[ADAFACTOR_EPSILON_2] = (float)epsilon_2;
    s[ADAFACTOR_CLIP] = (float)clip;
}

/* A negative rms_rate leaves the rate as it is, whatever the matrix. */
enum { MUON_MOMENTUM, MUON_NESTEROV, MUON_RATE, MUON_RMS_RATE, MUON_A, MUON_B, MUON_C, MUON_STEPS };
static inline void muon_step(double rate, double t, const double *h, float *s) {
    const double momentum = h[0], nesterov = h[1], rms_rate = h[2], a = h[3], b = h[4], c = h[5],
                 steps = h[6];
    s[MUON_MOMENTUM] = (float)momentum, s[MUON_NESTEROV] = (float)nesterov;
    s[MUON_RATE] = (float)rate, s[MUON_RMS_RATE] = (float)rms_rate;
    s[MUON_A] = (float)a, s[MUON_B] = (float)b, s[MUON_C] = (float)c;
    s[MUON_STEPS] = (float)steps;
}
static inline void muon_adam_step(double rate, double t, const double *h, float *s) {
    const double ratio = h[3];
    adam_step(rate * ratio, t, h, s);
}

/* Rows whose step is that of another one. */
#define sgd_nesterov_step sgd_momentum_step
#define rmsprop_centered_step rmsprop_step
#define rmsprop_centered_momentum_step rmsprop_momentum_step
#define adam_amsgrad_step adam_step
#define adadelta_step rmsprop_step
#define ftrl_power_step ftrl_step
#define adafactor_factored_step adafactor_step

/* The largest mean of squares that is kept: sums of two such are floats. */
#define CDL_MOST_SQUARE 1e38f

#else /* inside isa/instantiate.h */

CDL_INLINE float sgd_update(float w, float g, float *slot, const float *s) {
    return fma_f(-s[SGD_RATE], g, w);
}

CDL_INLINE float sgd_momentum_update(float w, float g, float *slot, const float *s) {
    slot[0] = fma_f(slot[0], s[SGD_MOMENTUM], -s[SGD_RATE] * g);
    return w + slot[0];
}

CDL_INLINE float sgd_nesterov_update(float w, float g, float *slot, const float *s) {
    slot[0] = fma_f(slot[0], s[SGD_MOMENTUM], -s[SGD_RATE] * g);
    return w + fma_f(slot[0], s[SGD_MOMENTUM], -s[SGD_RATE] * g);
}

CDL_INLINE float rmsprop_update(float w, float g, float *slot, const float *s) {
    slot[0] = fma_f(s[RMSPROP_KEEP], slot[0], s[RMSPROP_TAKE] * (g * g));
    return less_over_root_f(w, s[RMSPROP_RATE] * g, sqrtf(slot[0] + s[RMSPROP_EPSILON]));
}

CDL_INLINE float rmsprop_momentum_update(float w, float g, float *slot, const float *s) {
    slot[0] = fma_f(s[RMSPROP_KEEP], slot[0], s[RMSPROP_TAKE] * (g * g));
    slot[1] = fma_f(s[RMSPROP_MOMENTUM], slot[1],
                    over_root_f(s[RMSPROP_RATE] * g, sqrtf(slot[0] + s[RMSPROP_EPSILON])));
    return w - slot[1];
}

CDL_INLINE float rmsprop_centered_update(float w, float g, float *slot, const float *s) {
    slot[0] = fma_f(s[RMSPROP_KEEP], slot[0], s[RMSPROP_TAKE] * (g * g));
    slot[1] = fma_f(s[RMSPROP_KEEP], slot[1], s[RMSPROP_TAKE] * g);
    const float variance = fma_f(-slot[1], slot[1], slot[0]);
    return less_over_root_f(w, s[RMSPROP_RATE] * g, sqrtf(variance + s[RMSPROP_EPSILON]));
}

CDL_INLINE float rmsprop_centered_momentum_update(float w, float g, float *slot, const float *s) {
    slot[0] = fma_f(s[RMSPROP_KEEP], slot[0], s[RMSPROP_TAKE] * (g * g));
    slot[2] = fma_f(s[RMSPROP_KEEP], slot[2], s[RMSPROP_TAKE] * g);
    const float variance = fma_f(-slot[2], slot[2], slot[0]);
    slot[1] = fma_f(s[RMSPROP_MOMENTUM], slot[1],
                    over_root_f(s[RMSPROP_RATE] * g, sqrtf(variance + s[RMSPROP_EPSILON])));
    return w - slot[1];
}

CDL_INLINE float adam_update(float w, float g, float *slot, const float *s) {
    slot[0] = fma_f(g - slot[0], s[ADAM_TAKE_1], slot[0]);
    slot[1] = fma_f(fma_f(g, g, -slot[1]), s[ADAM_TAKE_2], slot[1]);
    return less_over_root_f(w, slot[0] * s[ADAM_RATE], sqrtf(slot[1]) + s[ADAM_EPSILON]);
}

CDL_INLINE float adam_amsgrad_update(float w, float g, float *slot, const float *s) {
    slot[0] = fma_f(g - slot[0], s[ADAM_TAKE_1], slot[0]);
    slot[1] = fma_f(fma_f(g, g, -slot[1]), s[ADAM_TAKE_2], slot[1]);
    slot[2] = max_f(slot[2], slot[1]);
    return less_over_root_f(w, slot[0] * s[ADAM_RATE], sqrtf(slot[2]) + s[ADAM_EPSILON]);
}

CDL_INLINE float adamax_update(float w, float g, float *slot, const float *s) {
    slot[0] = fma_f(g - slot[0], s[ADAMAX_TAKE_1], slot[0]);
    slot[1] = max_f(s[ADAMAX_KEEP_2] * slot[1], abs_f(g));
    return w - slot[0] * s[ADAMAX_RATE] / (slot[1] + s[ADAMAX_EPSILON]);
}

CDL_INLINE float nadam_update(float w, float g, float *slot, const float *s) {
    slot[0] = fma_f(g - slot[0], s[NADAM_TAKE_1], slot[0]);
    slot[1] = fma_f(fma_f(g, g, -slot[1]), s[NADAM_TAKE_2], slot[1]);
    return less_over_root_f(w, fma_f(s[NADAM_RATE], slot[0], s[NADAM_GRADIENT_RATE] * g),
                            sqrtf(slot[1] * s[NADAM_UNBIAS_2]) + s[NADAM_EPSILON]);
}

CDL_INLINE float adagrad_update(float w, float g, float *slot, const float *s) {
    slot[0] = fma_f(g, g, slot[0]);
    return less_over_root_f(w, s[ADAGRAD_RATE] * g, sqrtf(slot[0] + s[ADAGRAD_EPSILON]));
}

CDL_INLINE float adadelta_update(float w, float g, float *slot, const float *s) {
    slot[0] = fma_f(s[RMSPROP_KEEP], slot[0], s[RMSPROP_TAKE] * (g * g));
    const float delta =
        over_root_f(sqrtf(slot[1] + s[RMSPROP_EPSILON]) * g, sqrtf(slot[0] + s[RMSPROP_EPSILON]));
    slot[1] = fma_f(s[RMSPROP_KEEP], slot[1], s[RMSPROP_TAKE] * (delta * delta));
    return fma_f(-s[RMSPROP_RATE], delta, w);
}

/* McMahan et al., 2013; `before` and `after` are the accumulator to the power. */
CDL_INLINE float ftrl_weight(float w, float g, float *slot, const float *s, float before,
                             float after) {
    const float shrunk = fma_f(s[FTRL_TWICE_SHRINKAGE], w, g);
    slot[1] += fma_f((before - after) * s[FTRL_PER_RATE], w, shrunk);
    const float quadratic = fma_f(after, s[FTRL_PER_RATE], s[FTRL_TWICE_L2]);
    const float clipped = max_f(min_f(slot[1], s[FTRL_L1]), -s[FTRL_L1]);
    return quadratic == 0.0f ? 0.0f : (clipped - slot[1]) / quadratic;
}

CDL_INLINE float ftrl_update(float w, float g, float *slot, const float *s) {
    const float before = slot[0];
    slot[0] = fma_f(g, g, slot[0]);
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
    slot[0] = fma_f(g, g, slot[0]);
    return ftrl_weight(w, g, slot, s, power_f(before, s[FTRL_POWER]),
                       power_f(slot[0], s[FTRL_POWER]));
}

CDL_INLINE float lion_update(float w, float g, float *slot, const float *s) {
    const float c = fma_f(slot[0], s[LION_KEEP_1], g * s[LION_TAKE_1]);
    slot[0] = fma_f(slot[0], s[LION_KEEP_2], g * s[LION_TAKE_2]);
    return w - (c > 0.0f ? s[LION_RATE] : (c < 0.0f ? -s[LION_RATE] : 0.0f * c));
}

/* Keras keeps y, where the gradient is taken, as the weight, and z as its "momentum"; the mean x
 * follows from the two. */
CDL_INLINE float schedule_free_adamw_update(float w, float g, float *slot, const float *s) {
    const float x = fma_f(s[FREE_BETA_1] - 1.0f, slot[0], w) * s[FREE_PER_BETA_1];
    slot[1] = fma_f(fma_f(g, g, -slot[1]), s[FREE_TAKE_2], slot[1]);
    slot[0] = less_over_root_f(slot[0], s[FREE_RATE] * g,
                               sqrtf(slot[1] * s[FREE_UNBIAS_2]) + s[FREE_EPSILON]);
    const float mean = fma_f(1.0f - s[FREE_WEIGHT], x, s[FREE_WEIGHT] * slot[0]);
    return fma_f(1.0f - s[FREE_BETA_1], slot[0], s[FREE_BETA_1] * mean);
}

/* g g, but no more than CDL_MOST_SQUARE, of optimizers whose steps large gradients leave finite. */
CDL_INLINE float finite_square_f(float g) {
    const float square = g * g;
    return square > CDL_MOST_SQUARE ? CDL_MOST_SQUARE : square;
}

CDL_INLINE float lamb_update(float w, float g, float *slot, const float *s) {
    slot[0] = fma_f(g - slot[0], s[LAMB_TAKE_1], slot[0]);
    slot[1] = fma_f(finite_square_f(g) - slot[1], s[LAMB_TAKE_2], slot[1]);
    return over_root_f(slot[0] * s[LAMB_UNBIAS_1],
                       sqrtf(slot[1] * s[LAMB_UNBIAS_2]) + s[LAMB_EPSILON]);
}

/* Shazeer and Stern, 2018, for what has less than two axes. */
CDL_INLINE float adafactor_update(float w, float g, float *slot, const float *s) {
    const float square = finite_square_f(g) + s[ADAFACTOR_EPSILON_1];
    slot[0] = fma_f(s[ADAFACTOR_KEEP], slot[0], s[ADAFACTOR_TAKE] * square);
    return over_root_f(g, sqrtf(slot[0]));
}
/* The factors belong to rows and columns: tensorwise.c does all of it. */
CDL_INLINE float adafactor_factored_update(float w, float g, float *slot, const float *s) {
    return w;
}

CDL_INLINE float muon_update(float w, float g, float *slot, const float *s) {
    slot[0] += fma_f(slot[0], s[MUON_MOMENTUM] - 1.0f, g);
    return s[MUON_NESTEROV] != 0.0f ? fma_f(s[MUON_MOMENTUM], slot[0], g) : slot[0];
}

CDL_INLINE float muon_adam_update(float w, float g, float *slot, const float *s) {
    return adam_update(w, g, slot, s);
}

#endif
