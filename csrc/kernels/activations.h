/* activations.h - the elementwise activations: one row and two formulas each.
 *
 * A row is X(name, reads, parameters): `reads` tells what df needs, Y (its own value: then a
 * matrix product may apply it in place) or X (the argument too). A kernel passes the parameters
 * in the order of the row; an op takes them by name. df(x, y, p) is the derivative at x, y = f(x).
 */
#ifndef CDL_TEMPLATE

// clang-format off
#define CDL_ACTIVATIONS(X)                                            \
    X(linear,       Y, "")                                            \
    X(relu,         X, "negative_slope,max_value,threshold")          \
    X(plain_relu,   Y, "")                                            \
    X(leaky_relu,   X, "negative_slope")                              \
    X(elu,          X, "alpha")                                       \
    X(selu,         Y, "")                                            \
    X(sigmoid,      Y, "")                                            \
    X(tanh,         Y, "")                                            \
    X(softplus,     Y, "")                                            \
    X(gelu,         X, "")                                            \
    X(gelu_tanh,    X, "")                                            \
    X(silu,         X, "")                                            \
    X(celu,         X, "alpha")                                       \
    X(exponential,  Y, "")                                            \
    X(hard_shrink,  X, "threshold")                                   \
    X(hard_sigmoid, Y, "")                                            \
    X(hard_silu,    X, "")                                            \
    X(hard_tanh,    X, "")                                            \
    X(log_sigmoid,  Y, "")                                            \
    X(mish,         X, "")                                            \
    X(relu6,        Y, "")                                            \
    X(smooth_clip,  X, "limit")                                       \
    X(soft_shrink,  X, "threshold")                                   \
    X(softsign,     X, "")                                            \
    X(sparse_plus,  X, "")                                            \
    X(sparse_sigmoid, X, "")                                          \
    X(squareplus,   X, "b")                                           \
    X(tanh_shrink,  X, "")                                            \
    X(threshold,    X, "threshold,default_value")
// clang-format on

#define CDL_ACTIVATION_NUMBER(NAME, ...) CDL_ACTIVATION_##NAME,
enum cdl_activation { CDL_ACTIVATIONS(CDL_ACTIVATION_NUMBER) CDL_N_ACTIVATIONS };

#else /* inside isa/instantiate.h */

CDL_INLINE float f_linear(float x, const float *p) { return x; }
CDL_INLINE float d_linear(float x, float y, const float *p) { return 1.0f; }

/* The whole of Keras's relu: x above the threshold, negative_slope (x - threshold) up to it. A
 * max_value clips the part above to [0, max_value], also where the threshold is negative. At the
 * threshold the slope is 0, but 1 where the two lines meet in 0. */
CDL_INLINE float f_relu(float x, const float *p) {
    const float below = p[0] == 0.0f ? (x != x ? x : 0.0f) : p[0] * (x - p[2]);
    const float top = min_f(x, p[1]);
    return x > p[2] ? (top < 0.0f && p[1] < INFINITY ? 0.0f : top) : below;
}
CDL_INLINE float d_relu(float x, float y, const float *p) {
    const float inside = x < p[1] && (x >= 0.0f || !(p[1] < INFINITY)) ? 1.0f : 0.0f;
    const float corner = p[2] == 0.0f && p[0] != 0.0f ? 1.0f : 0.0f;
    return x > p[2] ? inside : (x < p[2] ? p[0] : corner);
}

CDL_INLINE float f_plain_relu(float x, const float *p) { return x < 0.0f ? 0.0f : x; }
CDL_INLINE float d_plain_relu(float x, float y, const float *p) { return y > 0.0f ? 1.0f : 0.0f; }

CDL_INLINE float f_leaky_relu(float x, const float *p) { return x < 0.0f ? p[0] * x : x; }
CDL_INLINE float d_leaky_relu(float x, float y, const float *p) { return x < 0.0f ? p[0] : 1.0f; }

CDL_INLINE float f_elu(float x, const float *p) { return x <= 0.0f ? p[0] * expm1_down_f(x) : x; }
CDL_INLINE float d_elu(float x, float y, const float *p) {
    return x > 0.0f ? 1.0f : p[0] * exp_down_f(x);
}

/* Klambauer et al., "Self-normalizing neural networks", 2017. */
#define SELU_SCALE 1.05070098735548049342f
#define SELU_ALPHA 1.67326324235437728482f
CDL_INLINE float f_selu(float x, const float *p) {
    return x <= 0.0f ? SELU_SCALE * SELU_ALPHA * expm1_down_f(x) : SELU_SCALE * x;
}
CDL_INLINE float d_selu(float x, float y, const float *p) {
    return y > 0.0f ? SELU_SCALE : y + SELU_SCALE * SELU_ALPHA;
}

CDL_INLINE float f_sigmoid(float x, const float *p) { return sigmoid_f(x); }
CDL_INLINE float d_sigmoid(float x, float y, const float *p) { return y * (1.0f - y); }

CDL_INLINE float f_tanh(float x, const float *p) { return tanh_f(x); }
CDL_INLINE float d_tanh(float x, float y, const float *p) { return fma_f(-y, y, 1.0f); }

CDL_INLINE float f_softplus(float x, const float *p) { return softplus_f(x); }
/* Gradient by y = log(1 + e^x): e^x / (1 + e^x) = 1 - e^-y. */
CDL_INLINE float d_softplus(float x, float y, const float *p) { return -expm1_f(-y); }

CDL_INLINE float f_gelu(float x, const float *p) { return x * normal_cdf_f(x); }
CDL_INLINE float d_gelu(float x, float y, const float *p) {
    float density;
    const float below = normal_distribution_f(x, &density);
    return fma_f(within_f(x, -13.1f, 13.1f), density, below);
}

/* Hendrycks and Gimpel, 2016: x (1 + tanh u) / 2 = x sigmoid(2 u), u = sqrt(2/pi) (x + 0.044715
 * x^3); the second form keeps its relative accuracy in the left tail. */
CDL_INLINE float f_gelu_tanh(float x, const float *p) {
    const float u = 0.79788456f * x * fma_f(0.044715f * x, x, 1.0f);
    return x * sigmoid_f(2.0f * u);
}
CDL_INLINE float d_gelu_tanh(float x, float y, const float *p) {
    const float s = sigmoid_f(1.59576912f * x * fma_f(0.044715f * x, x, 1.0f));
    const float du = 1.59576912f * fma_f(0.134145f * x, x, 1.0f);
    const float bend = x * s * (1.0f - s); /* 0 far out, where du overflows */
    return bend == 0.0f ? s : fma_f(bend, du, s);
}

CDL_INLINE float f_silu(float x, const float *p) { return silu_f(x); }
CDL_INLINE float d_silu(float x, float y, const float *p) {
    const float s = sigmoid_f(x);
    return s * fma_f(x, 1.0f - s, 1.0f);
}

/* Barron, 2017: elu with a slope that is continuous for every alpha. */
CDL_INLINE float f_celu(float x, const float *p) {
    return x <= 0.0f ? p[0] * expm1_down_f(x / p[0]) : x;
}
CDL_INLINE float d_celu(float x, float y, const float *p) {
    return x > 0.0f ? 1.0f : exp_down_f(x / p[0]);
}

CDL_INLINE float f_exponential(float x, const float *p) { return exp_f(x); }
CDL_INLINE float d_exponential(float x, float y, const float *p) { return y; }

CDL_INLINE float f_hard_shrink(float x, const float *p) {
    return abs_f(x) > p[0] ? x : (x != x ? x : 0.0f);
}
CDL_INLINE float d_hard_shrink(float x, float y, const float *p) {
    return abs_f(x) > p[0] ? 1.0f : 0.0f;
}

CDL_INLINE float f_hard_sigmoid(float x, const float *p) {
    return within_f(x + 3.0f, 0.0f, 6.0f) * (1.0f / 6.0f);
}
CDL_INLINE float d_hard_sigmoid(float x, float y, const float *p) {
    return y > 0.0f && y < 1.0f ? 1.0f / 6.0f : 0.0f;
}

CDL_INLINE float f_hard_silu(float x, const float *p) { return x * f_hard_sigmoid(x, p); }
CDL_INLINE float d_hard_silu(float x, float y, const float *p) {
    const float gate = f_hard_sigmoid(x, p), slope = d_hard_sigmoid(x, gate, p);
    return slope == 0.0f ? gate : fma_f(x, slope, gate); /* also of an infinite x */
}

CDL_INLINE float f_hard_tanh(float x, const float *p) { return within_f(x, -1.0f, 1.0f); }
CDL_INLINE float d_hard_tanh(float x, float y, const float *p) {
    return x >= -1.0f && x <= 1.0f ? 1.0f : 0.0f;
}

CDL_INLINE float f_log_sigmoid(float x, const float *p) { return -softplus_f(-x); }
/* Gradient by y = -log(1 + e^-x): 1 - sigmoid(x) = 1 - e^y. */
CDL_INLINE float d_log_sigmoid(float x, float y, const float *p) { return -expm1_f(y); }

/* Misra, 2019. With e = e^x, tanh(softplus(x)) = n / (n + 2) for n = e (e + 2); beyond x = 20 it
 * is 1, before n overflows. */
CDL_INLINE float mish_gate_f(float x) {
    const float e = exp_down_f(min_f(x, 20.0f));
    const float n = e * (e + 2.0f);
    return n / (n + 2.0f);
}
CDL_INLINE float f_mish(float x, const float *p) { return x * mish_gate_f(x); }
CDL_INLINE float d_mish(float x, float y, const float *p) {
    const float t = mish_gate_f(x);
    return fma_f(x * fma_f(-t, t, 1.0f), sigmoid_f(x), t);
}

CDL_INLINE float f_relu6(float x, const float *p) { return within_f(x, 0.0f, 6.0f); }
CDL_INLINE float d_relu6(float x, float y, const float *p) {
    return y > 0.0f && y < 6.0f ? 1.0f : 0.0f;
}

/* x / sqrt(1 + (x / limit)^2). Far out the square would overflow, and the value is the limit. */
CDL_INLINE float over_limit_f(float x, float limit) { return within_f(x / limit, -1e9f, 1e9f); }
CDL_INLINE float f_smooth_clip(float x, const float *p) {
    const float t = over_limit_f(x, p[0]);
    return p[0] * (t / sqrtf(fma_f(t, t, 1.0f)));
}
CDL_INLINE float d_smooth_clip(float x, float y, const float *p) {
    const float t = over_limit_f(x, p[0]);
    const float square = fma_f(t, t, 1.0f);
    return 1.0f / (square * sqrtf(square));
}

CDL_INLINE float f_soft_shrink(float x, const float *p) {
    return x > p[0] ? x - p[0] : (x < -p[0] ? x + p[0] : (x != x ? x : 0.0f));
}
CDL_INLINE float d_soft_shrink(float x, float y, const float *p) {
    return abs_f(x) > p[0] ? 1.0f : 0.0f;
}

CDL_INLINE float f_softsign(float x, const float *p) { return x / (1.0f + abs_f(x)); }
CDL_INLINE float d_softsign(float x, float y, const float *p) {
    const float scale = 1.0f / (1.0f + abs_f(x));
    return scale * scale;
}

/* The smooth steps of sparsemax in one dimension: 0 up to -1, then a parabola, then x. */
CDL_INLINE float f_sparse_plus(float x, const float *p) {
    return x <= -1.0f ? 0.0f : (x < 1.0f ? 0.25f * (x + 1.0f) * (x + 1.0f) : x);
}
CDL_INLINE float d_sparse_plus(float x, float y, const float *p) {
    return within_f(0.5f * (x + 1.0f), 0.0f, 1.0f);
}

CDL_INLINE float f_sparse_sigmoid(float x, const float *p) {
    return within_f(0.5f * (x + 1.0f), 0.0f, 1.0f);
}
CDL_INLINE float d_sparse_sigmoid(float x, float y, const float *p) {
    return x > -1.0f && x < 1.0f ? 0.5f : 0.0f;
}

/* Barron, 2021: (x + sqrt(x x + b)) / 2; for x < 0 as b / 2 (sqrt(x x + b) - x), which does not
 * cancel. Far out the square would overflow and b does not count. */
CDL_INLINE float squareplus_root_f(float x, float b) {
    const float root = sqrtf(fma_f(x, x, b));
    return abs_f(x) > 1e18f ? abs_f(x) : root;
}
CDL_INLINE float f_squareplus(float x, const float *p) {
    const float root = squareplus_root_f(x, p[0]);
    return x >= 0.0f ? 0.5f * x + 0.5f * root : 0.5f * p[0] / (root - x);
}
CDL_INLINE float d_squareplus(float x, float y, const float *p) {
    return x == 0.0f && p[0] == 0.0f ? 0.5f : y / squareplus_root_f(x, p[0]);
}

CDL_INLINE float f_tanh_shrink(float x, const float *p) {
    return abs_f(x) < 0.625f ? -tanh_excess_f(x) : x - tanh_f(x);
}
CDL_INLINE float d_tanh_shrink(float x, float y, const float *p) {
    const float t = tanh_f(x);
    return t * t;
}

CDL_INLINE float f_threshold(float x, const float *p) { return x > p[0] ? x : (x != x ? x : p[1]); }
CDL_INLINE float d_threshold(float x, float y, const float *p) { return x > p[0] ? 1.0f : 0.0f; }

#endif
