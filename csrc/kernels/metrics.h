/* metrics.h - the metrics that are a mean: one row and one formula each.
 *
 * X(name, target, parameters): value of one line of n predictions; `target` as in losses.h, or
 * NUMBERS: one float a line. The metric is the (weighted) mean of the lines' values. Metrics that
 * are no mean are in ops/tally.h.
 */
#ifndef CDL_TEMPLATE

// clang-format off
#define CDL_METRICS(X)                                                  \
    X(accuracy,                          VALUES,  "")                   \
    X(binary_accuracy,                   VALUES,  "threshold")          \
    X(categorical_accuracy,              VALUES,  "")                   \
    X(sparse_categorical_accuracy,       CLASSES, "")                   \
    X(top_k_categorical_accuracy,        VALUES,  "k")                  \
    X(sparse_top_k_categorical_accuracy, CLASSES, "k")                  \
    X(among_first_k,                     NUMBERS, "k")                  \
    X(mean_squared_error,                VALUES,  "")                   \
    X(mean_absolute_error,               VALUES,  "")                   \
    X(cosine_similarity,                 VALUES,  "")                   \
    X(pearson_correlation,               VALUES,  "")                   \
    X(concordance_correlation,           VALUES,  "")
// clang-format on

#define CDL_METRIC_NUMBER(NAME, ...) CDL_METRIC_##NAME,
enum cdl_metric { CDL_METRICS(CDL_METRIC_NUMBER) CDL_N_METRICS };

#else /* inside isa/instantiate.h */

#define METRIC(NAME)                                                                               \
    CDL_INLINE float metric_##NAME(size_t n, const float *y, const void *target, const float *p)

METRIC(accuracy) {
    const float *t = target;
    float hits = 0.0f;
    for (size_t j = 0; j < n; j++) hits += y[j] == t[j] ? 1.0f : 0.0f;
    return hits / (float)n;
}

METRIC(binary_accuracy) {
    const float *t = target;
    float hits = 0.0f;
    for (size_t j = 0; j < n; j++) hits += (y[j] > p[0] ? 1.0f : 0.0f) == t[j] ? 1.0f : 0.0f;
    return hits / (float)n;
}

METRIC(categorical_accuracy) { return line_argmax(n, y) == line_argmax(n, target) ? 1.0f : 0.0f; }

METRIC(sparse_categorical_accuracy) {
    return line_argmax(n, y) == (size_t)*(const int32_t *)target ? 1.0f : 0.0f;
}

/* 1 if at most k - 1 predictions exceed that of the class; a NaN, and a number that is no class,
 * count as smallest. Negative numbers count from the last class, as in Keras. */
CDL_INLINE float in_top_k(size_t n, const float *y, int64_t class, float k) {
    const int64_t at = class < 0 ? class + (int64_t)n : class;
    const float found = at >= 0 && at < (int64_t)n ? y[at] : NAN;
    const float own = found == found ? found : -INFINITY;
    float above = 0.0f;
    for (size_t j = 0; j < n; j++) above += y[j] > own ? 1.0f : 0.0f;
    return above < k ? 1.0f : 0.0f;
}

METRIC(top_k_categorical_accuracy) { return in_top_k(n, y, (int64_t)line_argmax(n, target), p[0]); }

METRIC(sparse_top_k_categorical_accuracy) { return in_top_k(n, y, *(const int32_t *)target, p[0]); }

/* Predictions are classes, the likeliest first. */
METRIC(among_first_k) {
    const float t = *(const float *)target;
    float found = 0.0f;
    for (size_t j = 0; j < n && (float)j < p[0]; j++) found = y[j] == t ? 1.0f : found;
    return found;
}

METRIC(mean_squared_error) {
    const float *t = target;
    float sum = 0.0f;
    for (size_t j = 0; j < n; j++) sum += (y[j] - t[j]) * (y[j] - t[j]);
    return sum / (float)n;
}

METRIC(mean_absolute_error) {
    const float *t = target;
    float sum = 0.0f;
    for (size_t j = 0; j < n; j++) sum += abs_f(y[j] - t[j]);
    return sum / (float)n;
}

/* t . y / (|t| |y|); a length below 1e-6 counts as 1e-6. */
METRIC(cosine_similarity) {
    const float *t = target;
    float dot = 0.0f, tt = 0.0f, yy = 0.0f;
    for (size_t j = 0; j < n; j++) dot += t[j] * y[j];
    for (size_t j = 0; j < n; j++) tt += t[j] * t[j];
    for (size_t j = 0; j < n; j++) yy += y[j] * y[j];
    return dot / (sqrtf(max_f(tt, 1e-12f)) * sqrtf(max_f(yy, 1e-12f)));
}

/* Means, variances and covariance of a line, in two passes. */
struct line_moments {
    double mean_t, mean_y, tt, yy, ty;
};

CDL_INLINE struct line_moments line_moments(size_t n, const float *t, const float *y) {
    struct line_moments m = {0};
    for (size_t j = 0; j < n; j++) m.mean_t += (double)t[j], m.mean_y += (double)y[j];
    m.mean_t /= (double)n, m.mean_y /= (double)n;
    for (size_t j = 0; j < n; j++) {
        const double a = (double)t[j] - m.mean_t, b = (double)y[j] - m.mean_y;
        m.tt += a * a, m.yy += b * b, m.ty += a * b;
    }
    m.tt /= (double)n, m.yy /= (double)n, m.ty /= (double)n;
    return m;
}

METRIC(pearson_correlation) {
    const struct line_moments m = line_moments(n, target, y);
    return (float)(m.ty / (sqrt(m.tt) * sqrt(m.yy))); /* NaN for a constant line, as in Keras */
}

METRIC(concordance_correlation) {
    const struct line_moments m = line_moments(n, target, y);
    const double shift = m.mean_t - m.mean_y;
    return (float)(2.0 * m.ty / (m.tt + m.yy + shift * shift + 1e-7));
}

#endif
