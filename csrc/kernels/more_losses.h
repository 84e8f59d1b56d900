/* more_losses.h - the formulas of the losses beyond squares and plain crossentropies; rows and
 * conventions are those of losses.h, which includes this file.
 */
#define TINY 1e-7f

/* 100 |y - t| / max(|t|, tiny) */
CDL_INLINE float mean_absolute_percentage_error(float y, float t, const float *p, float *slope,
                                                float *q) {
    (void)p, *q = y;
    const float e = y - t;
    const float factor = 100.0f / max_f(abs_f(t), TINY);
    *slope = (e > 0.0f ? 1.0f : (e < 0.0f ? -1.0f : e)) * factor;
    return abs_f(e) * factor;
}

/* (log(1 + max(y, tiny)) - log(1 + max(t, tiny)))^2 */
CDL_INLINE float mean_squared_logarithmic_error(float y, float t, const float *p, float *slope,
                                                float *q) {
    (void)p, *q = y;
    const float y1 = (y < TINY ? TINY : y) + 1.0f;
    const float e = log_f(y1) - log_f((t < TINY ? TINY : t) + 1.0f);
    *slope = y < TINY ? 0.0f : 2.0f * e / y1;
    return e * e;
}

/* Huber, 1964: e e / 2 up to |e| = delta, linear beyond. */
CDL_INLINE float huber(float y, float t, const float *p, float *slope, float *q) {
    *q = y;
    const float e = y - t;
    *slope = within_f(e, -p[0], p[0]);
    return abs_f(e) <= p[0] ? 0.5f * e * e : p[0] * abs_f(e) - 0.5f * p[0] * p[0];
}

/* log cosh e = |e| + log(1 + e^(-2 |e|)) - log 2, which does not overflow; near 0 the three
 * terms cancel, so there 2 sinh^2(e / 2) goes through log1p: log(1 + u), u = cosh e - 1. */
CDL_INLINE float log_cosh(float y, float t, const float *p, float *slope, float *q) {
    (void)p, *q = y;
    const float e = y - t;
    const float a = abs_f(e);
    const float x2 = e * e;
    const float u = x2 * (0.5f + x2 * (4.1666668e-2f + x2 * (1.3888889e-3f + x2 * 2.4801587e-5f)));
    const float far = a + log1p_f(exp_f(-2.0f * a)) - 0.69314718f;
    *slope = tanh_f(e);
    return a < 0.5f ? log1p_f(u) : far;
}

/* y - t log(y + tiny) */
CDL_INLINE float poisson(float y, float t, const float *p, float *slope, float *q) {
    (void)p, *q = y;
    *slope = 1.0f - t / (y + TINY);
    return y - t * log_f(y + TINY);
}

/* The slope of max(m, 0) by m: 1/2 in the corner, as in Keras on JAX and torch; NaN stays NaN. */
CDL_INLINE float corner_f(float m) { return m > 0.0f ? 1.0f : (m < 0.0f ? 0.0f : m + 0.5f); }

/* max(1 - t y, 0) for labels -1 and 1. */
CDL_INLINE float hinge(float y, float t, const float *p, float *slope, float *q) {
    (void)p, *q = y;
    const float margin = 1.0f - t * y;
    *slope = -t * corner_f(margin);
    return margin < 0.0f ? 0.0f : margin;
}

CDL_INLINE float squared_hinge(float y, float t, const float *p, float *slope, float *q) {
    const float margin = hinge(y, t, p, slope, q);
    *slope *= 2.0f * margin;
    return margin * margin;
}

/* Lin et al., 2017: alpha-balanced (1 - p_t)^gamma times the crossentropy, p_t the unclipped
 * probability of the label. With f = (1 - p_t)^gamma, c the crossentropy and 1 - p_t = rest:
 * slope = f dc + gamma rest^(gamma - 1) drest c. */
CDL_INLINE float focus(float target, float rest, float d_rest, float c, float dc, const float *p,
                       float *slope) {
    const float factor = pow_f(rest, p[1]);
    const float d_factor = p[1] == 0.0f ? 0.0f : p[1] * pow_f(rest, p[1] - 1.0f) * d_rest;
    const float balance = p[3] != 0.0f ? target * p[0] + (1.0f - target) * (1.0f - p[0]) : 1.0f;
    *slope = balance * (factor * dc + d_factor * c);
    return balance * factor * c;
}

CDL_INLINE float binary_focal_crossentropy(float y, float t, const float *p, float *slope,
                                           float *q) {
    const float smoothing[1] = {p[2]};
    float dc;
    const float c = binary_crossentropy(y, t, smoothing, &dc, q);
    const float target = t * (1.0f - p[2]) + 0.5f * p[2];
    const float rest = target * (1.0f - y) + (1.0f - target) * y;
    return focus(target, rest, 1.0f - 2.0f * target, c, dc, p, slope);
}

/* On raw scores, s = sigmoid(y): -log s = softplus(-y) and -log(1 - s) = softplus(y), clipped
 * where s would be; neither s nor 1 - s comes from a difference. */
CDL_INLINE float sigmoid_binary_focal_crossentropy(float y, float t, const float *p, float *slope,
                                                   float *q) {
    const float target = t * (1.0f - p[2]) + 0.5f * p[2];
    const float e = exp_f(-abs_f(y));
    const float s = (y >= 0.0f ? 1.0f : e) / (1.0f + e);
    const float r = (y >= 0.0f ? e : 1.0f) / (1.0f + e);
    const float both = log1p_f(e);
    const float least = 1.0f - PROBABILITY_MAX;
    const float log_s = within_f(both - (y < 0.0f ? y : 0.0f), least, 16.118095f);
    const float log_r = within_f(both + (y > 0.0f ? y : 0.0f), PROBABILITY_MIN, 15.942385f);
    const float inside = s >= PROBABILITY_MIN && r >= least ? 1.0f : 0.0f * y;
    const float c = target * log_s + (1.0f - target) * log_r;
    const float rest = target * r + (1.0f - target) * s;
    *q = s;
    return focus(target, rest, (1.0f - 2.0f * target) * s * r, c, (s - target) * inside, p, slope);
}

/* From values and their slopes by u = y / sum y, in dz, to slopes by y, scaled. */
CDL_INLINE void through_sum(size_t n, const float *y, float sum, float scale, float *restrict dz,
                            float *restrict q) {
    float mean = 0.0f;
    for (size_t j = 0; j < n; j++) mean += dz[j] * (y[j] / sum);
    for (size_t j = 0; j < n; j++) dz[j] = (dz[j] - mean) * (scale / sum);
    for (size_t j = 0; j < n; j++) q[j] = y[j];
    for (size_t j = n; j < cdl_round_up(n, CDL_LINE); j++) dz[j] = q[j] = 0.0f;
}

/* sum -alpha (1 - c)^gamma t log c, c = y / sum y clipped. */
CDL_INLINE struct line_loss categorical_focal_crossentropy(size_t n, const float *restrict y,
                                                           const void *restrict target, float scale,
                                                           const float *p, float *restrict dz,
                                                           float *restrict q) {
    const float *t = target;
    float sum = 0.0f;
    for (size_t j = 0; j < n; j++) sum += y[j];
    float loss = 0.0f;
    for (size_t j = 0; j < n; j++) {
        const float tj = t[j] * (1.0f - p[2]) + p[2] / (float)n;
        const float u = y[j] / sum;
        const float low = u < PROBABILITY_MIN ? PROBABILITY_MIN : u;
        const float c = low > PROBABILITY_MAX ? PROBABILITY_MAX : low;
        const float factor = p[0] * pow_f(1.0f - c, p[1]);
        const float d_factor = -p[0] * p[1] * pow_f(1.0f - c, p[1] - 1.0f);
        loss -= factor * tj * log_f(c);
        const float slope = -tj * (d_factor * log_f(c) + factor / c);
        dz[j] = u >= PROBABILITY_MIN && u <= PROBABILITY_MAX ? slope : 0.0f * u;
    }
    through_sum(n, y, sum, scale, dz, q);
    return (struct line_loss){1.0f, 0.0f, loss};
}

/* On raw scores: softmax in front, whose slope is y (dy - sum dy y). */
CDL_INLINE struct line_loss
softmax_categorical_focal_crossentropy(size_t n, const float *restrict z,
                                       const void *restrict target, float scale, const float *p,
                                       float *restrict dz, float *restrict q) {
    const float sum = softmax_line(n, z, line_top(n, z), q);
    for (size_t j = 0; j < cdl_round_up(n, CDL_LINE); j++) q[j] /= sum;
    /* The probabilities sum to 1 but for rounding: dividing by their sum again is left out. */
    const float *t = target;
    float loss = 0.0f, mean = 0.0f;
    for (size_t j = 0; j < n; j++) {
        const float tj = t[j] * (1.0f - p[2]) + p[2] / (float)n;
        const float low = q[j] < PROBABILITY_MIN ? PROBABILITY_MIN : q[j];
        const float c = low > PROBABILITY_MAX ? PROBABILITY_MAX : low;
        const float factor = p[0] * pow_f(1.0f - c, p[1]);
        const float d_factor = -p[0] * p[1] * pow_f(1.0f - c, p[1] - 1.0f);
        loss -= factor * tj * log_f(c);
        const float slope = -tj * (d_factor * log_f(c) + factor / c);
        dz[j] = q[j] >= PROBABILITY_MIN && q[j] <= PROBABILITY_MAX ? slope : 0.0f * q[j];
        mean += dz[j] * q[j];
    }
    for (size_t j = 0; j < n; j++) dz[j] = q[j] * (dz[j] - mean) * scale;
    for (size_t j = n; j < cdl_round_up(n, CDL_LINE); j++) dz[j] = 0.0f;
    return (struct line_loss){1.0f, 0.0f, loss};
}

/* Zhang and Sabuncu, 2018: (1 - y_t^q) / q. As in Keras y_t is sum onehot(t) y, so that what is
 * no finite number in any class shows. */
CDL_INLINE struct line_loss categorical_generalized_crossentropy(size_t n, const float *restrict y,
                                                                 const void *restrict target,
                                                                 float scale, const float *p,
                                                                 float *restrict dz,
                                                                 float *restrict q) {
    const int32_t t = *(const int32_t *)target;
    const size_t padded = cdl_round_up(n, CDL_LINE);
    float picked = 0.0f;
    for (size_t j = 0; j < n; j++) {
        q[j] = y[j];
        picked += 0.0f * y[j];
    }
    for (size_t j = 0; j < n; j++) dz[j] = picked;
    for (size_t j = n; j < padded; j++) dz[j] = q[j] = 0.0f;
    if (is_class_of(n, t)) {
        picked += y[t];
        dz[t] = -scale * pow_f(picked, p[0] - 1.0f);
    }
    return (struct line_loss){1.0f, 0.0f, (1.0f - pow_f(picked, p[0])) / p[0]};
}

/* max(1 + max (1 - t) y - sum t y, 0); classes that share the largest share its slope. */
CDL_INLINE struct line_loss categorical_hinge(size_t n, const float *restrict y,
                                              const void *restrict target, float scale,
                                              const float *p, float *restrict dz,
                                              float *restrict q) {
    (void)p;
    const float *t = target;
    float right = 0.0f;
    float worst = (1.0f - t[0]) * y[0];
    for (size_t j = 0; j < n; j++) {
        right += t[j] * y[j];
        worst = max_f((1.0f - t[j]) * y[j], worst);
    }
    float equals = 0.0f;
    for (size_t j = 0; j < n; j++) equals += (1.0f - t[j]) * y[j] == worst ? 1.0f : 0.0f;
    const float margin = 1.0f + worst - right;
    const float on = scale * corner_f(margin);
    for (size_t j = 0; j < n; j++) {
        const float wrong = (1.0f - t[j]) * y[j] == worst ? (1.0f - t[j]) / equals : 0.0f;
        q[j] = y[j];
        dz[j] = on * (wrong - t[j]);
    }
    for (size_t j = n; j < cdl_round_up(n, CDL_LINE); j++) dz[j] = q[j] = 0.0f;
    return (struct line_loss){1.0f, 0.0f, margin < 0.0f ? 0.0f : margin};
}

/* sum t log(t / y), both clipped to [tiny, 1]. */
CDL_INLINE struct line_loss kl_divergence(size_t n, const float *restrict y,
                                          const void *restrict target, float scale, const float *p,
                                          float *restrict dz, float *restrict q) {
    (void)p;
    const float *t = target;
    float loss = 0.0f;
    for (size_t j = 0; j < n; j++) {
        const float tj = within_f(t[j], TINY, 1.0f);
        const float yj = within_f(y[j], TINY, 1.0f);
        loss += tj * (log_f(tj) - log_f(yj));
        dz[j] = y[j] >= TINY && y[j] <= 1.0f ? -scale * tj / yj : 0.0f * y[j];
        q[j] = y[j];
    }
    for (size_t j = n; j < cdl_round_up(n, CDL_LINE); j++) dz[j] = q[j] = 0.0f;
    return (struct line_loss){1.0f, 0.0f, loss};
}

/* -sum a b with a = t / |t|, b = y / |y|, |x| = sqrt(max(sum x x, 1e-12)). The slope by y is
 * -(a - b (a . b)) / |y|, without the second term where |y| is the floor. */
CDL_INLINE struct line_loss cosine_similarity(size_t n, const float *restrict y,
                                              const void *restrict target, float scale,
                                              const float *p, float *restrict dz,
                                              float *restrict q) {
    (void)p;
    const float *t = target;
    float tt = 0.0f, yy = 0.0f, ty = 0.0f;
    for (size_t j = 0; j < n; j++) {
        tt += t[j] * t[j];
        yy += y[j] * y[j];
        ty += t[j] * y[j];
    }
    const float t_norm = sqrtf(tt < 1e-12f ? 1e-12f : tt);
    const float y_norm = sqrtf(yy < 1e-12f ? 1e-12f : yy);
    const float cosine = ty / (t_norm * y_norm);
    const float pull = yy < 1e-12f ? 0.0f : cosine / y_norm;
    for (size_t j = 0; j < n; j++) {
        q[j] = y[j];
        dz[j] = -scale * (t[j] / t_norm - y[j] * pull) / y_norm;
    }
    for (size_t j = n; j < cdl_round_up(n, CDL_LINE); j++) dz[j] = q[j] = 0.0f;
    return (struct line_loss){1.0f, 0.0f, -cosine};
}
