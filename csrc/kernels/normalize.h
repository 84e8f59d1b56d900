/* normalize.h - normalization of lines: layer, root mean square and unit normalization.
 *
 * Part of the ISA template. With d = x - m (m the mean, or 0) each line has one factor f, and
 * y = (x - c) f gamma + beta (c the mean or 0): see struct cdl_normalizing for who is what. With
 * u = (x - c) f, g = dy gamma and N numbers in a line the gradient is
 *     dx = f (g - [c is the mean] sum g / N - d f p sum g u),
 * p = 1 / N where f is made of a mean, 1 where of a sum, 0 where f is at its limit.
 * Lines of one number (n == 1) have no pads and no registers: plain loops.
 */

static void normalize_forward(size_t rows, const struct cdl_normalizing *s) {
    assert(are_padded(rows, s->n, s->x, s->ldx) && are_padded(rows, s->n, s->y, s->ldy));
    assert(s->gamma && s->beta && s->means && s->factors);
    const size_t n = s->n, width = cdl_padded(n);
    const float *x = s->x, *gamma = s->gamma, *beta = s->beta;
    float *y = s->y;
    for (size_t r = 0; r < rows; r++, x += s->ldx, y += s->ldy) {
        const bool about_mean = s->measure == CDL_BY_VARIANCE;
        const float mean = about_mean || s->subtracts_mean ? line_total(n, x) / (float)n : 0.0f;
        const float m = about_mean ? mean : 0.0f, c = s->subtracts_mean ? mean : 0.0f;
        const float squares = line_product(n, x, m, x, m);
        const float limit = s->measure == CDL_BY_NORM ? 1.0f / s->epsilon : INFINITY;
        const float inverse = s->measure == CDL_BY_NORM
                                  ? 1.0f / sqrtf(squares)
                                  : 1.0f / sqrtf(squares / (float)n + s->epsilon);
        const float factor = inverse > limit ? limit : inverse; /* NaN stays NaN */
        s->means[r] = mean;
        s->factors[r] = factor;
        for (size_t j = 0; j < width; j++) y[j] = fma_f((x[j] - c) * factor, gamma[j], beta[j]);
        for (size_t j = n; j < width; j++) y[j] = 0.0f;
    }
}

static void normalize_backward(size_t rows, const struct cdl_normalizing *s) {
    assert(are_padded(rows, s->n, s->x, s->ldx) && are_padded(rows, s->n, s->dy, s->ldy));
    assert(s->gamma && s->means && s->factors && s->dgamma && s->dbeta);
    const size_t n = s->n, width = cdl_padded(n);
    const float *x = s->x, *dy = s->dy, *gamma = s->gamma;
    float *dx = s->dx, *restrict dgamma = s->dgamma, *restrict dbeta = s->dbeta;
    for (size_t j = 0; j < width; j++) dgamma[j] = dbeta[j] = 0.0f;
    for (size_t r = 0; r < rows; r++, x += s->ldx, dy += s->ldy) {
        const float factor = s->factors[r], mean = s->means[r];
        const float m = s->measure == CDL_BY_VARIANCE ? mean : 0.0f;
        const float c = s->subtracts_mean ? mean : 0.0f;
        for (size_t j = 0; j < width; j++) {
            dgamma[j] = fma_f(dy[j], (x[j] - c) * factor, dgamma[j]);
            dbeta[j] += dy[j];
        }
        if (!dx) continue;
        const bool at_limit = s->measure == CDL_BY_NORM && factor >= 1.0f / s->epsilon;
        const float part = s->measure == CDL_BY_NORM ? (at_limit ? 0.0f : 1.0f) : 1.0f / (float)n;
        for (size_t j = 0; j < width; j++) dx[j] = dy[j] * gamma[j];
        const float by_mean = s->subtracts_mean ? line_total(n, dx) / (float)n : 0.0f;
        const float along = line_product(n, dx, 0.0f, x, c) * factor * factor * part;
        for (size_t j = 0; j < width; j++) dx[j] = factor * fma_f(m - x[j], along, dx[j] - by_mean);
        for (size_t j = n; j < width; j++) dx[j] = 0.0f;
        dx += s->ldx;
    }
}

static void line_penalties(size_t rows, size_t n, const float *x, size_t ldx, float l1, float l2,
                           float *value) {
    assert(are_padded(rows, n, x, ldx) && (rows == 0 || value));
    for (size_t r = 0; r < rows; r++, x += ldx) {
        if (n == 1) {
            value[r] = l1 * abs_f(x[0]) + l2 * x[0] * x[0];
            continue;
        }
        vf absolute[PARTS] = {{0}}, squares[PARTS] = {{0}};
        for (size_t b = 0; b < n; b += CDL_LINE) {
            EACH_PART(p) {
                const size_t j = b + p * CDL_VLEN;
                const vf v = vf_select(vf_below(n, j), vf_load(x + j), vf_splat(0));
                absolute[p] += vf_max(v, -v);
                squares[p] = vf_fma(v, v, squares[p]);
            }
        }
        value[r] = l1 * parts_sum(absolute) + l2 * parts_sum(squares);
    }
}

static void add_penalty_gradients(size_t rows, size_t n, struct cdl_matrix all_x, float l1,
                                  float l2, struct cdl_matrix all_dy, struct cdl_output all_dx) {
    const float *x = all_x.at, *dy = all_dy.at;
    float *dx = all_dx.at;
    assert(are_padded(rows, n, x, all_x.ld) && are_padded(rows, n, dy, all_dy.ld) &&
           are_padded(rows, n, dx, all_dx.ld));
    const size_t width = cdl_padded(n);
    for (size_t r = 0; r < rows; r++, x += all_x.ld, dy += all_dy.ld, dx += all_dx.ld) {
        for (size_t j = 0; j < width; j++) {
            const float sign = x[j] > 0.0f ? 1.0f : (x[j] < 0.0f ? -1.0f : 0.0f);
            dx[j] = fma_f(2.0f * l2, x[j], fma_f(l1, sign, dy[j]));
        }
        for (size_t j = n; j < width; j++) dx[j] = 0.0f;
    }
}
