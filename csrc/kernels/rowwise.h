/* rowwise.h - functions of whole rows: softmax, its logarithm, sparsemax and gated linear units.
 *
 *   softmax      y = exp x / sum exp x, dx = y (dy - sum dy y)
 *   log_softmax  y = x - log sum exp x, dx = dy - exp(y) sum dy
 *   sparsemax    the projection of x onto the simplex (Martins and Astudillo, 2016):
 *                y = max(x - tau, 0) with tau such that y sums to 1
 *   glu          y = a sigmoid(b), where a row of x is a and b, each n floats (Dauphin et al.,
 * 2017)
 *
 * They are called as rows of the table of activations are, without parameters; padded.
 */
#ifndef CDL_TEMPLATE

#define CDL_ROWWISE(X) X(softmax) X(log_softmax) X(sparsemax) X(glu)

#define CDL_ROWWISE_NUMBER(NAME) CDL_ROWWISE_##NAME,
enum cdl_rowwise { CDL_ROWWISE(CDL_ROWWISE_NUMBER) CDL_N_ROWWISE };

#else /* inside isa/instantiate.h, behind few_classes.h */

#define ROWS(NAME)                                                                                 \
    static void NAME##_rows(size_t rows, size_t n, const float *x, size_t ldx, float *y,           \
                            size_t ldy, const float *p)
#define GRADIENT_ROWS(NAME)                                                                        \
    static void NAME##_gradient_rows(size_t rows, size_t n, struct cdl_matrix x,                   \
                                     struct cdl_matrix y, struct cdl_matrix dy,                    \
                                     struct cdl_output dx, const float *p)

ROWS(softmax) {
    assert(are_padded(rows, n, x, ldx) && are_padded(rows, n, y, ldy));
    assert(are_dense(rows, n, ldx) && are_dense(rows, n, ldy));
    if (n == 1) { /* of one class: 1, unless the score is not a number or infinite */
        for (size_t r = 0; r < rows; r++) y[r] = exp_f(x[r] - x[r]);
        return;
    }
    size_t r = are_few(rows, n) ? few_softmax(rows, n, x, ldx, y, ldy) : 0;
    x += r * ldx, y += r * ldy;
    /* Some rows together, since a line's reductions wait for one sum or maximum after the other. */
    enum { TOGETHER = 8 };
    const size_t padded = cdl_padded(n);
    for (size_t m; r < rows; r += m, x += m * ldx, y += m * ldy) {
        float of[TOGETHER];
        m = cdl_min(rows - r, TOGETHER);
        for (size_t i = 0; i < m; i++) of[i] = line_top(n, x + i * ldx);
        for (size_t i = 0; i < m; i++) softmax_line(n, x + i * ldx, of[i], y + i * ldy);
        for (size_t i = 0; i < m; i++) of[i] = 1.0f / line_sum(n, y + i * ldy);
        for (size_t i = 0; i < m; i++) {
            float *restrict row = y + i * ldy;
            for (size_t j = 0; j < padded; j++) row[j] *= of[i];
        }
    }
}

GRADIENT_ROWS(softmax) {
    assert(are_padded(rows, n, y.at, y.ld) && are_padded(rows, n, dy.at, dy.ld) &&
           are_padded(rows, n, dx.at, dx.ld));
    for (size_t r = 0; r < rows; r++, y.at += y.ld, dy.at += dy.ld, dx.at += dx.ld) {
        const float dot = line_product(n, y.at, 0.0f, dy.at, 0.0f);
        const size_t padded = cdl_padded(n); /* pads of y are 0 */
        for (size_t j = 0; j < padded; j++) dx.at[j] = y.at[j] * (dy.at[j] - dot);
    }
}

ROWS(log_softmax) {
    assert(are_padded(rows, n, x, ldx) && are_padded(rows, n, y, ldy));
    assert(are_dense(rows, n, ldx) && are_dense(rows, n, ldy));
    if (n == 1) { /* 0, unless the score is not a number or infinite */
        for (size_t r = 0; r < rows; r++) y[r] = x[r] - x[r];
        return;
    }
    for (size_t r = 0; r < rows; r++, x += ldx, y += ldy) {
        const float top = line_top(n, x);
        const float shift = log_f(softmax_line(n, x, top, y));
        const size_t padded = cdl_padded(n);
        for (size_t j = 0; j < padded; j++) y[j] = (x[j] - top) - shift;
    }
}

GRADIENT_ROWS(log_softmax) {
    assert(are_padded(rows, n, y.at, y.ld) && are_padded(rows, n, dy.at, dy.ld) &&
           are_padded(rows, n, dx.at, dx.ld));
    const size_t padded = cdl_padded(n);
    for (size_t r = 0; r < rows; r++, y.at += y.ld, dy.at += dy.ld, dx.at += dx.ld) {
        const float sum = line_total(n, dy.at);
        for (size_t j = 0; j < padded; j++)
            dx.at[j] = j < n ? fma_f(-exp_down_f(y.at[j]), sum, dy.at[j]) : 0.0f;
    }
}

/* tau with sum max(x - top - tau, 0) = 1: Newton's iteration on this convex function, from below,
 * where no more than the largest counts. It meets the root after at most as many steps as there are
 * classes. */
CDL_INLINE float sparsemax_threshold(size_t n, const float *x, float top) {
    float tau = -1.0f;
    for (size_t step = 0; step < n; step++) {
        vf sum[PARTS] = {{0}}, support[PARTS] = {{0}};
        for (size_t b = 0; b < n; b += CDL_LINE) {
            EACH_PART(p) {
                const size_t j = b + p * CDL_VLEN;
                const vf z = vf_load(x + j) - vf_splat(top);
                const vi in = (z > vf_splat(tau)) & vf_below(n, j);
                sum[p] += vf_select(in, z, vf_splat(0));
                support[p] += vf_select(in, vf_splat(1), vf_splat(0));
            }
        }
        const float next = (parts_sum(sum) - 1.0f) / parts_sum(support);
        if (!(next > tau)) break;
        tau = next;
    }
    return tau;
}

ROWS(sparsemax) {
    assert(are_padded(rows, n, x, ldx) && are_padded(rows, n, y, ldy));
    assert(are_dense(rows, n, ldx) && are_dense(rows, n, ldy));
    if (n == 1) { /* of one class: 1, unless the score is not a number or infinite */
        for (size_t r = 0; r < rows; r++) y[r] = 1.0f + (x[r] - x[r]);
        return;
    }
    const size_t padded = cdl_padded(n);
    for (size_t r = 0; r < rows; r++, x += ldx, y += ldy) {
        const float top = line_top(n, x);
        const float tau = sparsemax_threshold(n, x, top);
        for (size_t j = 0; j < padded; j++) {
            const float z = x[j] - top;
            y[j] = j < n ? (z <= tau ? 0.0f : z - tau) : 0.0f;
        }
    }
}

/* With S the support, dx = dy - mean of dy over S on S, and 0 elsewhere. */
GRADIENT_ROWS(sparsemax) {
    assert(are_padded(rows, n, y.at, y.ld) && are_padded(rows, n, dy.at, dy.ld) &&
           are_padded(rows, n, dx.at, dx.ld));
    const size_t padded = cdl_padded(n);
    for (size_t r = 0; r < rows; r++, y.at += y.ld, dy.at += dy.ld, dx.at += dx.ld) {
        for (size_t j = 0; j < padded; j++) dx.at[j] = y.at[j] > 0.0f ? 1.0f : 0.0f;
        const float mean = line_product(n, dx.at, 0.0f, dy.at, 0.0f) / line_total(n, dx.at);
        for (size_t j = 0; j < padded; j++) dx.at[j] = y.at[j] > 0.0f ? dy.at[j] - mean : 0.0f;
    }
}

ROWS(glu) {
    assert(are_padded(rows, 2 * n, x, ldx) && are_padded(rows, n, y, ldy));
    for (size_t r = 0; r < rows; r++, x += ldx, y += ldy) {
        for (size_t j = 0; j < n; j++) y[j] = x[j] * sigmoid_f(x[n + j]);
        for (size_t j = n; j < cdl_padded(n); j++) y[j] = 0.0f;
    }
}

GRADIENT_ROWS(glu) {
    assert(are_padded(rows, 2 * n, x.at, x.ld) && are_padded(rows, n, dy.at, dy.ld) &&
           are_padded(rows, 2 * n, dx.at, dx.ld));
    for (size_t r = 0; r < rows; r++, x.at += x.ld, dy.at += dy.ld, dx.at += dx.ld) {
        for (size_t j = 0; j < n; j++) {
            const float s = sigmoid_f(x.at[n + j]);
            dx.at[j] = dy.at[j] * s;
            dx.at[n + j] = dy.at[j] * x.at[j] * s * (1.0f - s);
        }
        for (size_t j = 2 * n; j < cdl_padded(2 * n); j++) dx.at[j] = 0.0f;
    }
}

#endif
