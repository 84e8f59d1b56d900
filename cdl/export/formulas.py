"""Elementwise functions in C99: one row each, named as in the core's tables.

A row is an expression in `x` (an activation, with its parameters in braces) or in `a`, `b`, `c` (a
primitive of expressions). `HELPERS` are the functions that some of them call.
"""

from cdl.export import c_integers, c_windows

ACTIVATIONS = {
    "linear": "x",
    "relu": "relu(x, {negative_slope}, {max_value}, {threshold})",
    "plain_relu": "x < 0.0f ? 0.0f : x",
    "leaky_relu": "x < 0.0f ? {negative_slope} * x : x",
    "elu": "x > 0.0f ? x : {alpha} * expm1f(x)",
    "selu": "1.05070099f * (x > 0.0f ? x : 1.67326324f * expm1f(x))",
    "sigmoid": "sigmoid(x)",
    "tanh": "tanhf(x)",
    "softplus": "softplus(x)",
    "gelu": "0.5f * x * erfcf(-0.707106781f * x)",
    "gelu_tanh": "x * sigmoid(1.59576912f * x * (1.0f + 0.044715f * x * x))",
    "silu": "x * sigmoid(x)",
    "celu": "x > 0.0f ? x : {alpha} * expm1f(x / {alpha})",
    "exponential": "expf(x)",
    "hard_shrink": "fabsf(x) <= {threshold} ? 0.0f : x",
    "hard_sigmoid": "within(x + 3.0f, 0.0f, 6.0f) / 6.0f",
    "hard_silu": "x * (within(x + 3.0f, 0.0f, 6.0f) / 6.0f)",
    "hard_tanh": "within(x, -1.0f, 1.0f)",
    "log_sigmoid": "-softplus(-x)",
    "mish": "x * tanhf(softplus(x))",
    "relu6": "within(x, 0.0f, 6.0f)",
    "soft_shrink": "x > {threshold} ? x - {threshold} : (x < -{threshold} ? x + {threshold} : "
    "(x != x ? x : 0.0f))",
    "softsign": "x / (1.0f + fabsf(x))",
    "sparse_plus": "x <= -1.0f ? 0.0f : (x < 1.0f ? 0.25f * (x + 1.0f) * (x + 1.0f) : x)",
    "sparse_sigmoid": "within(0.5f * (x + 1.0f), 0.0f, 1.0f)",
    "squareplus": "squareplus(x, {b})",
    "tanh_shrink": "(float)((double)x - tanh((double)x))",
    "threshold": "x <= {threshold} ? {default_value} : x",
}

ELEMENTWISE = {
    "copy": "a",
    "add": "a + b",
    "subtract": "a - b",
    "multiply": "a * b",
    "divide": "a / b",
    "multiply_add": "a * b + c",
    "negative": "-a",
    "reciprocal": "1.0f / a",
    "abs": "fabsf(a)",
    "sign": "a > 0.0f ? 1.0f : (a < 0.0f ? -1.0f : a)",
    "square": "a * a",
    "sqrt": "sqrtf(a)",
    "rsqrt": "1.0f / sqrtf(a)",
    "cbrt": "cbrtf(a)",
    "power": "powf(a, b)",
    "exp": "expf(a)",
    "expm1": "expm1f(a)",
    "log": "logf(a)",
    "log1p": "log1pf(a)",
    "log2": "log2f(a)",
    "log10": "log10f(a)",
    "sin": "sinf(a)",
    "cos": "cosf(a)",
    "tan": "tanf(a)",
    "asin": "asinf(a)",
    "acos": "acosf(a)",
    "atan": "atanf(a)",
    "atan2": "atan2f(a, b)",
    "sinh": "sinhf(a)",
    "cosh": "coshf(a)",
    "tanh": "tanhf(a)",
    "asinh": "asinhf(a)",
    "acosh": "acoshf(a)",
    "atanh": "atanhf(a)",
    "sigmoid": "sigmoid(a)",
    "softplus": "softplus(a)",
    "erf": "erff(a)",
    "relu": "a < 0.0f ? 0.0f : a",
    "maximum": "a > b ? a : (a != a ? a : b)",
    "minimum": "a < b ? a : (a != a ? a : b)",
    "above": "a > b ? 1.0f : (a == b ? 0.5f : 0.0f)",
    "floor_divide": "floorf(a / b)",
    "mod": "modulo(a, b)",
    "fmod": "fmodf(a, b)",
    "floor": "floorf(a)",
    "ceil": "ceilf(a)",
    "round": "rintf(a)",
    "trunc": "truncf(a)",
    "equal": "a == b ? 1.0f : 0.0f",
    "not_equal": "a != b ? 1.0f : 0.0f",
    "less": "a < b ? 1.0f : 0.0f",
    "less_equal": "a <= b ? 1.0f : 0.0f",
    "greater": "a > b ? 1.0f : 0.0f",
    "greater_equal": "a >= b ? 1.0f : 0.0f",
    "logical_and": "a != 0.0f && b != 0.0f ? 1.0f : 0.0f",
    "logical_or": "a != 0.0f || b != 0.0f ? 1.0f : 0.0f",
    "logical_xor": "(a != 0.0f) != (b != 0.0f) ? 1.0f : 0.0f",
    "logical_not": "a == 0.0f ? 1.0f : 0.0f",
    "isnan": "a != a ? 1.0f : 0.0f",
    "isinf": "fabsf(a) == INFINITY ? 1.0f : 0.0f",
    "isfinite": "fabsf(a) < INFINITY ? 1.0f : 0.0f",
    "where": "a != 0.0f ? b : c",
}

HELPERS = {
    "sigmoid": """
/* 1 / (1 + e^-x) by the form that does not overflow. */
static float sigmoid(float x) {
    const float e = expf(-fabsf(x));
    return x < 0.0f ? e / (1.0f + e) : 1.0f / (1.0f + e);
}
""",
    "softplus": """
/* log(1 + e^x) */
static float softplus(float x) {
    const float rest = log1pf(expf(-fabsf(x)));
    return x > 0.0f ? x + rest : (x != x ? x : rest);
}
""",
    "within": """
/* x, but at least low and at most high; NaN stays NaN. */
static float within(float x, float low, float high) {
    return x < low ? low : (x > high ? high : x);
}
""",
    "relu": """
/* x above the threshold, at most top; gradient (x - threshold) up to it. */
static float relu(float x, float gradient, float top, float threshold) {
    const float most = x > top ? top : x;
    if (x > threshold) return most < 0.0f && top < INFINITY ? 0.0f : most;
    if (gradient == 0.0f) return x != x ? x : 0.0f;
    return gradient * (x - threshold);
}
""",
    "squareplus": """
/* (x + sqrt(x^2 + b)) / 2, for x < 0 by the form that does not cancel. */
static float squareplus(float x, float b) {
    const float root = fabsf(x) > 1e18f ? fabsf(x) : sqrtf(x * x + b);
    return x >= 0.0f ? 0.5f * x + 0.5f * root : 0.5f * b / (root - x);
}
""",
    "modulo": """
/* What a division leaves, with the sign of the divisor. */
static float modulo(float a, float b) {
    const float rest = fmodf(a, b);
    return rest != 0.0f && (rest < 0.0f) != (b < 0.0f) ? rest + b : rest;
}
""",
    "dense": """
/* y = x w + b for lines of k numbers; w has k rows of n. */
static void dense(size_t lines, size_t k, size_t n, const float *x, const float *w, const float *b,
                  float *y) {
    size_t l, i, j;
    for (l = 0; l < lines; l++, x += k, y += n) {
        for (j = 0; j < n; j++) y[j] = b ? b[j] : 0.0f;
        for (i = 0; i < k; i++)
            for (j = 0; j < n; j++) y[j] += x[i] * w[i * n + j];
    }
}
""",
    "softmax": """
/* e^x / sum(e^x) over lines of n numbers. */
static void softmax(size_t lines, size_t n, const float *x, float *y) {
    size_t l, j;
    for (l = 0; l < lines; l++, x += n, y += n) {
        float top = x[0], sum = 0.0f;
        for (j = 1; j < n; j++) top = x[j] > top ? x[j] : top;
        for (j = 0; j < n; j++) sum += y[j] = expf(x[j] - top);
        for (j = 0; j < n; j++) y[j] /= sum;
    }
}
""",
    "attention": """
/* For line i of q, a query of a head: the mean of the lines of v, weighed by the softmax of scores
 * with those of k. A bias of the scores, or NULL, has `heads` and `rows` of its own or one. A
 * query that sees no key gives zeros if `empty`, else the mean of all. */
static void attention(size_t lines, size_t heads, size_t shared, size_t keys, size_t width,
                      size_t values, int causal, int empty, float scale, const float *q,
                      const float *k, const float *v, const float *bias, size_t of_head,
                      size_t of_row, float *w, float *y) {
    size_t i, j, c;
    for (i = 0; i < lines; i++, q += width, y += values) {
        const size_t row = i / heads, head = i % heads, at = head / (heads / shared);
        int seen = !empty;
        for (j = 0; j < keys; j++) {
            const float *key = k + (j * shared + at) * width;
            float sum = 0.0f;
            for (c = 0; c < width; c++) sum += q[c] * key[c];
            w[j] = sum * scale;
            if (bias) w[j] += bias[head * of_head + row * of_row + j];
            if (causal && j > row) w[j] = -2.38196633e38f;
            seen |= !(w[j] <= -2.1e38f);
        }
        softmax(1, keys, w, w);
        for (c = 0; c < values; c++) y[c] = 0.0f;
        for (j = 0; j < keys && seen; j++)
            for (c = 0; c < values; c++) y[c] += w[j] * v[(j * shared + at) * values + c];
    }
}
""",
    "log_softmax": """
/* x - log(sum(e^x)) over lines of n numbers. */
static void log_softmax(size_t lines, size_t n, const float *x, float *y) {
    size_t l, j;
    for (l = 0; l < lines; l++, x += n, y += n) {
        float top = x[0], sum = 0.0f;
        for (j = 1; j < n; j++) top = x[j] > top ? x[j] : top;
        for (j = 0; j < n; j++) sum += expf(x[j] - top);
        for (j = 0; j < n; j++) y[j] = (x[j] - top) - logf(sum);
    }
}
""",
    "sparsemax": """
/* max(x - t, 0) over lines of n numbers, with t such that they sum to 1. Each round drops what is
 * not above t, which then grows, until nothing is dropped. */
static void sparsemax(size_t lines, size_t n, const float *x, float *y) {
    size_t l, j;
    for (l = 0; l < lines; l++, x += n, y += n) {
        float top = x[0], t = -INFINITY;
        size_t kept = 0, before;
        for (j = 1; j < n; j++) top = x[j] > top ? x[j] : top;
        do {
            double sum = 0.0;
            before = kept;
            for (kept = 0, j = 0; j < n; j++)
                if (x[j] - top > t) sum += (double)x[j] - top, kept++;
            if (kept) t = (float)((sum - 1.0) / (double)kept);
        } while (kept && kept != before);
        for (j = 0; j < n; j++) y[j] = x[j] - top < t ? 0.0f : (x[j] - top) - t;
    }
}
""",
    "glu": """
/* a sigmoid(b), a and b the halves of lines of 2 n numbers. */
static void glu(size_t lines, size_t n, const float *x, float *y) {
    size_t l, j;
    for (l = 0; l < lines; l++, x += 2 * n, y += n)
        for (j = 0; j < n; j++) y[j] = x[j] * sigmoid(x[n + j]);
}
""",
    "affine": """
/* (x - center) scale + shift, by column of lines of n numbers. */
static void affine(size_t lines, size_t n, const float *x, const float *center, const float *scale,
                   const float *shift, float *y) {
    size_t l, j;
    for (l = 0; l < lines; l++, x += n, y += n)
        for (j = 0; j < n; j++) y[j] = (x[j] - center[j]) * scale[j] + shift[j];
}
""",
    "normalize": """
/* Lines of n numbers brought to a common size, times gamma, plus beta. The size is by the variance
 * (0), by the mean of squares (1), or is the norm (2). */
static void normalize(size_t lines, size_t n, int measure, int centered, float epsilon,
                      const float *x, const float *gamma, const float *beta, float *y) {
    size_t l, j;
    for (l = 0; l < lines; l++, x += n, y += n) {
        double mean = 0.0, squares = 0.0, center, factor;
        for (j = 0; j < n; j++) mean += x[j];
        mean /= (double)n;
        for (j = 0; j < n; j++) {
            const double d = measure == 0 ? x[j] - mean : x[j];
            squares += d * d;
        }
        if (measure == 2)
            factor = sqrt(squares) < epsilon ? 1.0 / epsilon : 1.0 / sqrt(squares);
        else
            factor = 1.0 / sqrt(squares / (double)n + epsilon);
        center = centered ? mean : 0.0;
        for (j = 0; j < n; j++) y[j] = (float)((x[j] - center) * factor) * gamma[j] + beta[j];
    }
}
""",
    "sort": """
/* Lines of n numbers in ascending order, NaN last, equal ones in theirs; at: where they were. */
static void sort(size_t lines, size_t n, const float *x, float *y, float *at) {
    size_t l, j, k;
    for (l = 0; l < lines; l++, x += n, y += n, at += n) {
        for (j = 0; j < n; j++) {
            for (k = j; k > 0 && (y[k - 1] > x[j] || (y[k - 1] != y[k - 1] && x[j] == x[j])); k--) {
                y[k] = y[k - 1];
                at[k] = at[k - 1];
            }
            y[k] = x[j];
            at[k] = (float)j;
        }
    }
}
""",
    "bucketize": """
/* How many of the ascending bounds are at most x; all of them for NaN. */
static float bucketize(float x, size_t n, const float *bounds) {
    size_t i = 0;
    while (i < n && !(x < bounds[i])) i++;
    return (float)i;
}
""",
}
HELPERS |= c_windows.HELPERS | c_integers.HELPERS
# Helpers that call others, with those.
CALLS = {"glu": ("sigmoid",), "attention": ("softmax",), **c_windows.CALLS}
