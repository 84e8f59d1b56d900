/* more_losses.h - the formulas of the losses beyond squares and plain crossentropies; rows and
 * conventions are those of losses.h, which includes this file.
 */
#define TINY 1e-7f

/* 100 |y - t| / max(|t|, tiny) */
ELEMENT_LOSS(mean_absolute_percentage_error) {
    *q = y;
    const float e = y - t;
    const float factor = 100.0f / max_f(abs_f(t), TINY);
    *gradient = (e > 0.0f ? 1.0f : (e < 0.0f ? -1.0f : e)) * factor;
    return abs_f(e) * factor;
}

/* (log(1 + max(y, tiny)) - log(1 + max(t, tiny)))^2 */
ELEMENT_LOSS(mean_squared_logarithmic_error) {
    *q = y;
    const float y1 = (y < TINY ? TINY : y) + 1.0f;
    const float e = log_f(y1) - log_f((t < TINY ? TINY : t) + 1.0f);
    *gradient = y < TINY ? 0.0f : 2.0f * e / y1;
    return e * e;
}

/* Huber, 1964: e e / 2 up to |e| = delta, linear beyond. */
ELEMENT_LOSS(huber) {
    *q = y;
    const float e = y - t;
    *gradient = within_f(e, -p[0], p[0]);
    return abs_f(e) <= p[0] ? 0.5f * e * e : p[0] * abs_f(e) - 0.5f * p[0] * p[0];
}

/* log cosh e = |e| + log(1 + e^(-2 |e|)) - log 2, which does not overflow; near 0 the three
 * terms cancel, so there 2 sinh^2(e / 2) goes through log1p: log(1 + u), u = cosh e - 1. */
ELEMENT_LOSS(log_cosh) {
    *q = y;
    const float e = y - t;
    const float a = abs_f(e);
    const float x2 = e * e;
    const float u = x2 * (0.5f + x2 * (4.1666668e-2f + x2 * (1.3888889e-3f + x2 * 2.4801587e-5f)));
    const float far = a + log1p_unit_f(exp_down_f(-2.0f * a)) - 0.69314718f;
    *gradient = tanh_f(e);
    return a < 0.5f ? log1p_unit_f(u) : far;
}

/* y - t log(y + tiny) */
ELEMENT_LOSS(poisson) {
    *q = y;
    *gradient = 1.0f - t / (y + TINY);
    return y - t * log_f(y + TINY);
}

/* Gradient of max(m, 0) by m: 1/2 in the corner, as in Keras on JAX and torch; NaN stays NaN. */
CDL_INLINE float corner_f(float m) { return m > 0.0f ? 1.0f : (m < 0.0f ? 0.0f : m + 0.5f); }

/* max(1 - t y, 0) for labels -1 and 1. */
ELEMENT_LOSS(hinge) {
    *q = y;
    const float margin = 1.0f - t * y;
    *gradient = -t * corner_f(margin);
    return margin < 0.0f ? 0.0f : margin;
}

ELEMENT_LOSS(squared_hinge) {
    const float margin = hinge(y, t, p, gradient, q);
    *gradient *= 2.0f * margin;
    return margin * margin;
}

/* Lin et al., 2017: alpha-balanced (1 - p_t)^gamma times the crossentropy, p_t the unclipped
 * probability of the label. With f = (1 - p_t)^gamma, c the crossentropy and 1 - p_t = rest:
 * gradient = f dc + gamma rest^(gamma - 1) drest c. */
CDL_INLINE float focus(float target, float rest, float d_rest, float c, float dc, const float *p,
                       float *gradient) {
    const float log_rest = log_normal_f(max_f(rest, 1.17549435e-38f));
    const float factor = exp_f(p[1] * log_rest);
    const float d_factor = rest > 0.0f ? p[1] * exp_f((p[1] - 1.0f) * log_rest) * d_rest : 0.0f;
    const float balance = p[3] != 0.0f ? target * p[0] + (1.0f - target) * (1.0f - p[0]) : 1.0f;
    *gradient = balance * (factor * dc + d_factor * c);
    return balance * factor * c;
}

ELEMENT_LOSS(binary_focal_crossentropy) {
    const float smoothing[1] = {p[2]};
    float dc;
    const float c = binary_crossentropy(y, t, smoothing, &dc, q);
    const float target = t * (1.0f - p[2]) + 0.5f * p[2];
    const float rest = target * (1.0f - y) + (1.0f - target) * y;
    return focus(target, rest, 1.0f - 2.0f * target, c, dc, p, gradient);
}

/* On raw scores, s = sigmoid(y): -log s = softplus(-y) and -log(1 - s) = softplus(y), clipped
 * where s would be; neither s nor 1 - s comes from a difference. */
ELEMENT_LOSS(sigmoid_binary_focal_crossentropy) {
    const float target = t * (1.0f - p[2]) + 0.5f * p[2];
    const float e = exp_down_f(-abs_f(y));
    const float s = (y >= 0.0f ? 1.0f : e) / (1.0f + e);
    const float r = (y >= 0.0f ? e : 1.0f) / (1.0f + e);
    const float both = log1p_unit_f(e);
    const float least = 1.0f - PROBABILITY_MAX;
    const float log_s = within_f(both - min_f(y, 0.0f), least, 16.118095f);
    const float log_r = within_f(both + max_f(y, 0.0f), PROBABILITY_MIN, 15.942385f);
    const float inside = s >= PROBABILITY_MIN && r >= least ? 1.0f : 0.0f * y;
    const float c = target * log_s + (1.0f - target) * log_r;
    const float rest = target * r + (1.0f - target) * s;
    *q = s;
    return focus(target, rest, (1.0f - 2.0f * target) * s * r, c, (s - target) * inside, p,
                 gradient);
}

/* sum -alpha (1 - c)^gamma t log c of probabilities u, c = u clipped, and its slopes by u. */
static __attribute__((noinline)) float focal_line(size_t n, const float *restrict u,
                                                  const float *restrict t, const float *p,
                                                  float *restrict gradient) {
    const float keep = 1.0f - p[2], extra = p[2] / (float)n;
    vf loss[PARTS] = {{0}};
    for (size_t b = 0; b < n; b += CDL_LINE) {
        const int32_t left = (int32_t)(n - b);
        float term[CDL_LINE];
        for (int32_t j = 0; j < CDL_LINE; j++) {
            const size_t at = b + (size_t)j;
            const float tj = t[at] * keep + extra;
            const float c = within_f(u[at], PROBABILITY_MIN, PROBABILITY_MAX);
            const float rest = log_f(1.0f - c), log_c = log_f(c);
            const float factor = p[0] * exp_f(p[1] * rest);
            const float d_factor = -p[0] * p[1] * exp_f((p[1] - 1.0f) * rest);
            const float d = -tj * (d_factor * log_c + factor / c);
            term[j] = j < left ? factor * tj * log_c : 0.0f;
            gradient[at] = j < left ? (c == u[at] ? d : 0.0f * u[at]) : 0.0f;
        }
        EACH_PART(v) loss[v] -= vf_load(term + v * CDL_VLEN);
    }
    return parts_sum(loss);
}

LINE_LOSS(categorical_focal_crossentropy, y) {
    const float sum = line_total(n, y);
    const size_t padded = cdl_round_up(n, CDL_LINE);
    for (size_t j = 0; j < padded; j++) q[j] = y[j] / sum;
    const float loss = focal_line(n, q, target, p, dz);
    through_sum(n, y, sum, scale, dz, q);
    return (struct line_loss){1.0f, 0.0f, loss};
}

/* On raw scores: softmax in front, whose gradient is y (dy - sum dy y). The probabilities sum to 1
 * but for rounding: dividing by their sum again is left out. */
LINE_LOSS(softmax_categorical_focal_crossentropy, z) {
    const float sum = softmax_line(n, z, line_top(n, z), q);
    const size_t padded = cdl_round_up(n, CDL_LINE);
    for (size_t j = 0; j < padded; j++) q[j] /= sum;
    const float loss = focal_line(n, q, target, p, dz);
    const float mean = line_product(n, dz, 0.0f, q, 0.0f);
    for (size_t j = 0; j < padded; j++) dz[j] = q[j] * (dz[j] - mean) * scale;
    return (struct line_loss){1.0f, 0.0f, loss};
}

/* Zhang and Sabuncu, 2018: (1 - y_t^q) / q. As in Keras y_t is sum onehot(t) y, so that what is
 * no finite number in any class shows. */
LINE_LOSS(categorical_generalized_crossentropy, y) {
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

/* max(1 + max (1 - t) y - sum t y, 0); classes that share the largest share its gradient. */
LINE_LOSS(categorical_hinge, y) {
    const float *t = target;
    const size_t padded = cdl_round_up(n, CDL_LINE);
    for (size_t j = 0; j < padded; j++) q[j] = j < n ? (1.0f - t[j]) * y[j] : 0.0f;
    const float worst = line_top(n, q);
    for (size_t j = 0; j < padded; j++) dz[j] = j < n && q[j] == worst ? 1.0f : 0.0f;
    const float equals = line_sum(n, dz);
    const float margin = 1.0f + worst - line_product(n, t, 0.0f, y, 0.0f);
    const float on = scale * corner_f(margin);
    for (size_t j = 0; j < padded; j++) {
        dz[j] = j < n ? on * (dz[j] / equals * (1.0f - t[j]) - t[j]) : 0.0f;
        q[j] = j < n ? y[j] : 0.0f;
    }
    return (struct line_loss){1.0f, 0.0f, margin < 0.0f ? 0.0f : margin};
}

/* sum t log(t / y), both clipped to [tiny, 1]. */
LINE_LOSS(kl_divergence, y) {
    const float *t = target;
    vf loss[PARTS] = {{0}};
    for (size_t b = 0; b < n; b += CDL_LINE) {
        const int32_t left = (int32_t)(n - b);
        float term[CDL_LINE];
        for (int32_t j = 0; j < CDL_LINE; j++) {
            const size_t at = b + (size_t)j;
            const float tj = within_f(t[at], TINY, 1.0f);
            const float yj = within_f(y[at], TINY, 1.0f);
            const float gradient = yj == y[at] ? -scale * tj / yj : 0.0f * y[at];
            term[j] = j < left ? tj * (log_f(tj) - log_f(yj)) : 0.0f;
            dz[at] = j < left ? gradient : 0.0f;
            q[at] = j < left ? y[at] : 0.0f;
        }
        EACH_PART(v) loss[v] += vf_load(term + v * CDL_VLEN);
    }
    return (struct line_loss){1.0f, 0.0f, parts_sum(loss)};
}

/* -sum a b with a = t / |t|, b = y / |y|, |x| = sqrt(max(sum x x, 1e-12)). The gradient by y is
 * -(a - b (a . b)) / |y|, without the second term where |y| is the floor. */
LINE_LOSS(cosine_similarity, y) {
    const float *t = target;
    const float tt = line_product(n, t, 0.0f, t, 0.0f);
    const float yy = line_product(n, y, 0.0f, y, 0.0f);
    const float t_norm = sqrtf(tt < 1e-12f ? 1e-12f : tt);
    const float y_norm = sqrtf(yy < 1e-12f ? 1e-12f : yy);
    const float cosine = line_product(n, t, 0.0f, y, 0.0f) / (t_norm * y_norm);
    const float pull = yy < 1e-12f ? 0.0f : cosine / y_norm;
    const size_t padded = cdl_round_up(n, CDL_LINE);
    for (size_t j = 0; j < padded; j++) {
        dz[j] = j < n ? -scale * (t[j] / t_norm - y[j] * pull) / y_norm : 0.0f;
        q[j] = j < n ? y[j] : 0.0f;
    }
    return (struct line_loss){1.0f, 0.0f, -cosine};
}
