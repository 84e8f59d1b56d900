/* losses.h - the losses: one row and one formula with its gradient each.
 *
 * Elementwise losses, X(name, parameters): value(y, t, p, &gradient) for one element; the loss of a
 * line is the mean over its n elements. Losses of a whole line, X(name, target, parameters): one
 * function that fills `dz` with scale * dloss/dz and returns the loss in parts; `target` is VALUES
 * (n floats) or CLASSES (one int32). The softmax_ and sigmoid_ forms act on raw scores, where no
 * log of a small number is taken, and also deliver the probabilities, which metrics read.
 *
 * Probabilities are clipped to [1e-7, 1 - 1e-7] in float32 as Keras does (keras.losses, 3.15);
 * where clipped, the gradient is 0.
 */
#ifndef CDL_TEMPLATE

// clang-format off
#define CDL_ELEMENT_LOSSES(X)                               \
    X(mean_squared_error,          "")                      \
    X(mean_absolute_error,         "")                      \
    X(binary_crossentropy,         "label_smoothing")       \
    X(sigmoid_binary_crossentropy, "label_smoothing")       \
    X(mean_absolute_percentage_error, "")                   \
    X(mean_squared_logarithmic_error, "")                   \
    X(huber,                       "delta")                 \
    X(log_cosh,                    "")                      \
    X(poisson,                     "")                      \
    X(hinge,                       "")                      \
    X(squared_hinge,               "")                      \
    X(binary_focal_crossentropy,   "alpha,gamma,label_smoothing,balancing")         \
    X(sigmoid_binary_focal_crossentropy, "alpha,gamma,label_smoothing,balancing")

#define CDL_LINE_LOSSES(X)                                                      \
    X(categorical_crossentropy,                VALUES,  "label_smoothing")      \
    X(softmax_categorical_crossentropy,        VALUES,  "label_smoothing")      \
    X(sparse_categorical_crossentropy,         CLASSES, "")                     \
    X(softmax_sparse_categorical_crossentropy, CLASSES, "")                     \
    X(categorical_focal_crossentropy,          VALUES,  "alpha,gamma,label_smoothing") \
    X(softmax_categorical_focal_crossentropy,  VALUES,  "alpha,gamma,label_smoothing") \
    X(categorical_generalized_crossentropy,    CLASSES, "q")                    \
    X(categorical_hinge,                       VALUES,  "")                     \
    X(kl_divergence,                           VALUES,  "")                     \
    X(cosine_similarity,                       VALUES,  "")
// clang-format on

#define CDL_LOSS_NUMBER(NAME, ...) CDL_LOSS_##NAME,
enum cdl_loss { CDL_ELEMENT_LOSSES(CDL_LOSS_NUMBER) CDL_LINE_LOSSES(CDL_LOSS_NUMBER) CDL_N_LOSSES };

#else /* inside isa/instantiate.h */

#define PROBABILITY_MIN 1e-7f
#define PROBABILITY_MAX (1.0f - 1e-7f)

/* An element: the loss at y for target t, its gradient by y, and q, which metrics read. */
#define ELEMENT_LOSS(NAME)                                                                         \
    CDL_INLINE float NAME(float y, float t, const float *p, float *gradient, float *q)

ELEMENT_LOSS(mean_squared_error) {
    *q = y;
    const float e = y - t;
    *gradient = 2.0f * e;
    return e * e;
}

ELEMENT_LOSS(mean_absolute_error) {
    *q = y;
    const float e = y - t;
    *gradient = e > 0.0f ? 1.0f : (e < 0.0f ? -1.0f : e); /* 0 and NaN stay themselves */
    return abs_f(e);
}

ELEMENT_LOSS(binary_crossentropy) {
    *q = y;
    const float target = t * (1.0f - p[0]) + 0.5f * p[0];
    const float c = within_f(y, PROBABILITY_MIN, PROBABILITY_MAX);
    const float exact = (c - target) / (c * (1.0f - c));
    *gradient = y >= PROBABILITY_MIN && y <= PROBABILITY_MAX ? exact : 0.0f * y;
    return -(target * log_f(c) + (1.0f - target) * log_f(1.0f - c));
}

/* With s = sigmoid(z): loss = softplus(z) - t z, gradient = s - t. */
ELEMENT_LOSS(sigmoid_binary_crossentropy) {
    const float target = t * (1.0f - p[0]) + 0.5f * p[0];
    const float e = exp_down_f(-abs_f(y)); /* sigmoid is 1 / (1 + e) or e / (1 + e) */
    const float s = (y >= 0.0f ? 1.0f : e) / (1.0f + e);
    *q = s;
    *gradient = s - target;
    return max_f(y, 0.0f) - y * target + log1p_unit_f(e);
}

/* A line's loss is total * log(sum) + rest: the loops take the logarithms of many lines together.
 * Y: what its predictions are called, y or, as scores, z. */
struct line_loss {
    float sum, total, rest;
};
#define LINE_LOSS(NAME, Y)                                                                         \
    CDL_INLINE struct line_loss NAME(size_t n, const float *restrict Y,                            \
                                     const void *restrict target, float scale, const float *p,     \
                                     float *restrict dz, float *restrict q)

/* The shared end of the softmax losses: probabilities to q, scale * probabilities to dz. */
CDL_INLINE void softmax_finish(size_t n, float sum, float scale, float *restrict dz,
                               float *restrict q) {
    const float inverse = 1.0f / sum;
    const size_t padded = cdl_round_up(n, CDL_LINE);
    for (size_t j = 0; j < padded; j++) {
        q[j] = dz[j] * inverse;
        dz[j] = q[j] * scale;
    }
}

/* The targets of lanes [b, b + CDL_VLEN) with label smoothing, t keep + extra; 0 in the pads. */
CDL_INLINE vf smoothed(size_t n, size_t b, const float *t, float keep, float extra) {
    return vf_select(vf_below(n, b), vf_fma(vf_load(t + b), vf_splat(keep), vf_splat(extra)),
                     vf_splat(0));
}

/* loss = log(sum exp z) - sum t z for targets that sum to 1; in general with sum t in front. */
LINE_LOSS(softmax_categorical_crossentropy, z) {
    const float *t = target;
    const float keep = 1.0f - p[0], extra = p[0] / (float)n;
    const float top = line_top(n, z);
    const float sum = softmax_line(n, z, top, dz);
    vf all[PARTS] = {{0}}, dot[PARTS] = {{0}};
    for (size_t b = 0; b < n; b += CDL_LINE) {
        EACH_PART(v) {
            const size_t at = b + v * CDL_VLEN;
            const vf tj = smoothed(n, at, t, keep, extra);
            all[v] += tj;
            dot[v] = vf_fma(tj, vf_load(z + at) - vf_splat(top), dot[v]);
        }
    }
    const float total = parts_sum(all);
    softmax_finish(n, sum, scale * total, dz, q);
    for (size_t b = 0; b < n; b += CDL_VLEN)
        vf_store(dz + b, vf_fma(smoothed(n, b, t, keep, extra), vf_splat(-scale), vf_load(dz + b)));
    return (struct line_loss){sum, total, -parts_sum(dot)};
}

/* Loss and gradient are 0, whatever the scores, for a target outside the n classes, which the loss
 * is to ignore. */
CDL_INLINE int is_class_of(size_t n, int32_t t) { return t >= 0 && (size_t)t < n; }

CDL_INLINE struct line_loss ignored(size_t n, float *dz) {
    for (size_t j = 0; j < cdl_round_up(n, CDL_LINE); j++) dz[j] = 0.0f;
    return (struct line_loss){1.0f, 0.0f, 0.0f};
}

LINE_LOSS(softmax_sparse_categorical_crossentropy, z) {
    const int32_t t = *(const int32_t *)target;
    const float top = line_top(n, z);
    const float sum = softmax_line(n, z, top, dz);
    softmax_finish(n, sum, scale, dz, q);
    if (!is_class_of(n, t)) return ignored(n, dz);
    dz[t] -= scale;
    return (struct line_loss){sum, 1.0f, top - z[t]};
}

/* Last part of losses of u = y / sum y: replaces gradients by u, in dz, by those by y,
 * (dz - sum dz u) / sum y; copies the predictions to q. */
CDL_INLINE void through_sum(size_t n, const float *restrict y, float sum, float scale,
                            float *restrict dz, float *restrict q) {
    const float mean = line_product(n, dz, 0.0f, y, 0.0f) / sum;
    const float factor = scale / sum;
    for (size_t b = 0; b < n; b += CDL_LINE) {
        const int32_t left = (int32_t)(n - b);
        for (int32_t j = 0; j < CDL_LINE; j++) {
            const size_t at = b + (size_t)j;
            dz[at] = j < left ? (dz[at] - mean) * factor : 0.0f;
            q[at] = j < left ? y[at] : 0.0f;
        }
    }
}

/* On probabilities: -sum t log c, c = y / sum y clipped. */
LINE_LOSS(categorical_crossentropy, y) {
    const float *t = target;
    const float keep = 1.0f - p[0], extra = p[0] / (float)n;
    const float sum = line_total(n, y);
    vf loss[PARTS] = {{0}};
    for (size_t b = 0; b < n; b += CDL_LINE) {
        const int32_t left = (int32_t)(n - b);
        float term[CDL_LINE];
        for (int32_t j = 0; j < CDL_LINE; j++) {
            const size_t at = b + (size_t)j;
            const float u = y[at] / sum;
            const float c = within_f(u, PROBABILITY_MIN, PROBABILITY_MAX);
            const float tj = t[at] * keep + extra;
            const float gradient = c == u ? -tj / c : 0.0f * u;
            term[j] = j < left ? tj * log_f(c) : 0.0f;
            dz[at] = j < left ? gradient : 0.0f;
        }
        EACH_PART(v) loss[v] -= vf_load(term + v * CDL_VLEN);
    }
    through_sum(n, y, sum, scale, dz, q);
    return (struct line_loss){1.0f, 0.0f, parts_sum(loss)};
}

/* Crossentropy with one target: a single logarithm. */
LINE_LOSS(sparse_categorical_crossentropy, y) {
    const int32_t t = *(const int32_t *)target;
    const float sum = line_total(n, y);
    const float nothing = 0.0f * sum; /* NaN if a prediction is none, or infinite */
    const bool counts = is_class_of(n, t);
    const float u = counts ? y[t] / sum : 1.0f;
    const float c = within_f(u, PROBABILITY_MIN, PROBABILITY_MAX);
    const size_t padded = cdl_round_up(n, CDL_LINE);
    for (size_t j = 0; j < padded; j++) dz[j] = j < n ? nothing : 0.0f;
    if (counts) dz[t] = c == u ? -1.0f / c : 0.0f * u;
    through_sum(n, y, sum, scale, dz, q);
    return counts ? (struct line_loss){c, -1.0f, nothing} : ignored(n, dz);
}

#include "kernels/more_losses.h"

#endif
