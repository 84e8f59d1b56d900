/* metrics.h - the metrics that count or average: one row and one formula each.
 *
 * X(name, target, parameters): value of one line of n predictions; `target` as in losses.h.
 * The metric is the (weighted) mean of the lines' values.
 */
#ifndef CDL_KERNELS_METRICS_H
#define CDL_KERNELS_METRICS_H

// clang-format off
#define CDL_METRICS(X)                                          \
    X(binary_accuracy,             VALUES,  "threshold")        \
    X(categorical_accuracy,        VALUES,  "")                 \
    X(sparse_categorical_accuracy, CLASSES, "")                 \
    X(mean_squared_error,          VALUES,  "")                 \
    X(mean_absolute_error,         VALUES,  "")
// clang-format on

enum cdl_metric {
#define X(NAME, TARGET, PARAMS) CDL_METRIC_##NAME,
    CDL_METRICS(X)
#undef X
        CDL_N_METRICS
};

#endif

#ifdef CDL_TEMPLATE /* inside isa/instantiate.h */

CDL_INLINE float metric_binary_accuracy(size_t n, const float *y, const void *target,
                                        const float *p) {
    const float *t = target;
    float hits = 0.0f;
    for (size_t j = 0; j < n; j++) hits += (y[j] > p[0] ? 1.0f : 0.0f) == t[j] ? 1.0f : 0.0f;
    return hits / (float)n;
}

CDL_INLINE float metric_categorical_accuracy(size_t n, const float *y, const void *target,
                                             const float *p) {
    (void)p;
    return line_argmax(n, y) == line_argmax(n, target) ? 1.0f : 0.0f;
}

CDL_INLINE float metric_sparse_categorical_accuracy(size_t n, const float *y, const void *target,
                                                    const float *p) {
    (void)p;
    return line_argmax(n, y) == (size_t)*(const int32_t *)target ? 1.0f : 0.0f;
}

CDL_INLINE float metric_mean_squared_error(size_t n, const float *y, const void *target,
                                           const float *p) {
    (void)p;
    const float *t = target;
    float sum = 0.0f;
    for (size_t j = 0; j < n; j++) sum += (y[j] - t[j]) * (y[j] - t[j]);
    return sum / (float)n;
}

CDL_INLINE float metric_mean_absolute_error(size_t n, const float *y, const void *target,
                                            const float *p) {
    (void)p;
    const float *t = target;
    float sum = 0.0f;
    for (size_t j = 0; j < n; j++) sum += abs_f(y[j] - t[j]);
    return sum / (float)n;
}

#endif
