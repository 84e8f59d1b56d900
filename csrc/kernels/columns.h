/* columns.h - statistics and affine maps by column, for normalization over the batch.
 *
 * Part of the ISA template. Rows are padded lines, or single columns (n == 1).
 */
static void column_deviations(size_t rows, size_t n, const float *x, size_t ldx, const float *mean,
                              float *restrict s) {
    assert(are_padded(rows, n, x, ldx) && mean && s);
    const size_t width = cdl_padded(n);
    for (size_t j = 0; j < width; j++) s[j] = 0.0f;
    for (size_t r = 0; r < rows; r++, x += ldx) {
        for (size_t j = 0; j < width; j++) s[j] = fma_f(x[j] - mean[j], x[j] - mean[j], s[j]);
    }
}

static void column_products(size_t rows, size_t n, struct cdl_matrix dy, struct cdl_matrix x,
                            const float *mean, const float *factor, float *restrict s) {
    assert(are_padded(rows, n, dy.at, dy.ld) && are_padded(rows, n, x.at, x.ld));
    assert(mean && factor && s);
    const size_t width = cdl_padded(n);
    for (size_t j = 0; j < width; j++) s[j] = 0.0f;
    for (size_t r = 0; r < rows; r++, x.at += x.ld, dy.at += dy.ld) {
        for (size_t j = 0; j < width; j++)
            s[j] = fma_f(dy.at[j], (x.at[j] - mean[j]) * factor[j], s[j]);
    }
}

static void scale_columns(size_t rows, size_t n, const float *dy, size_t lddy, const float *factor,
                          float *dx, size_t lddx) {
    assert(are_padded(rows, n, dy, lddy) && are_padded(rows, n, dx, lddx) && factor);
    const size_t width = cdl_padded(n);
    for (size_t r = 0; r < rows; r++, dy += lddy, dx += lddx) {
        for (size_t j = 0; j < width; j++) dx[j] = dy[j] * factor[j];
    }
}

/* PReLU as in Keras, relu(x) - alpha relu(-x): at 0 both slopes are 0. */
static void prelu(size_t rows, size_t n, const float *x, size_t ldx, const float *alpha,
                  float *restrict y, size_t ldy) {
    assert(are_padded(rows, n, x, ldx) && are_padded(rows, n, y, ldy) && alpha);
    const size_t width = cdl_padded(n);
    for (size_t r = 0; r < rows; r++, x += ldx, y += ldy) {
        for (size_t j = 0; j < width; j++) y[j] = x[j] > 0.0f ? x[j] : alpha[j] * x[j];
    }
}

static void prelu_backward(size_t rows, size_t n, struct cdl_matrix x, const float *alpha,
                           struct cdl_matrix dy, struct cdl_output dx, float *restrict dalpha) {
    assert(are_padded(rows, n, x.at, x.ld) && are_padded(rows, n, dy.at, dy.ld));
    assert(alpha && dalpha && (!dx.at || are_padded(rows, n, dx.at, dx.ld)));
    const size_t width = cdl_padded(n);
    for (size_t j = 0; j < width; j++) dalpha[j] = 0.0f;
    for (size_t r = 0; r < rows; r++, x.at += x.ld, dy.at += dy.ld) {
        for (size_t j = 0; j < width; j++)
            dalpha[j] = fma_f(dy.at[j], min_f(x.at[j], 0.0f), dalpha[j]);
        if (!dx.at) continue;
        for (size_t j = 0; j < width; j++) {
            const float below = x.at[j] < 0.0f ? alpha[j] : 0.0f;
            dx.at[j] = dy.at[j] * (x.at[j] > 0.0f ? 1.0f : below);
        }
        dx.at += dx.ld;
    }
}

static void mix(size_t rows, size_t n, struct cdl_matrix x, struct cdl_matrix f, const float *alpha,
                struct cdl_output to) {
    float *restrict y = to.at;
    assert(are_padded(rows, n, x.at, x.ld) && are_padded(rows, n, f.at, f.ld));
    assert(are_padded(rows, n, y, to.ld) && alpha);
    const size_t width = cdl_padded(n);
    for (size_t r = 0; r < rows; r++, x.at += x.ld, f.at += f.ld, y += to.ld) {
        for (size_t j = 0; j < width; j++) y[j] = fma_f(alpha[j], f.at[j] - x.at[j], x.at[j]);
    }
}

static void mix_backward(size_t rows, size_t n, struct cdl_matrix x, struct cdl_matrix f,
                         const float *alpha, struct cdl_matrix dy, struct cdl_output to,
                         float *restrict dalpha) {
    float *restrict dx = to.at;
    assert(are_padded(rows, n, x.at, x.ld) && are_padded(rows, n, f.at, f.ld));
    assert(are_padded(rows, n, dy.at, dy.ld) && (!dx || are_padded(rows, n, dx, to.ld)));
    assert(alpha && dalpha);
    const size_t width = cdl_padded(n);
    for (size_t j = 0; j < width; j++) dalpha[j] = 0.0f;
    for (size_t r = 0; r < rows; r++, x.at += x.ld, f.at += f.ld, dy.at += dy.ld) {
        for (size_t j = 0; j < width; j++)
            dalpha[j] = fma_f(dy.at[j], f.at[j] - x.at[j], dalpha[j]);
        if (!dx) continue;
        for (size_t j = 0; j < width; j++) dx[j] = fma_f(alpha[j], dx[j] - dy.at[j], dy.at[j]);
        dx += to.ld;
    }
}

static void standardize(size_t rows, size_t n, struct cdl_matrix x, const float *mean,
                        const float *factor, const float *shift, struct cdl_output to) {
    float *restrict y = to.at;
    assert(are_padded(rows, n, x.at, x.ld) && are_padded(rows, n, y, to.ld));
    assert(mean && factor && shift);
    const size_t width = cdl_padded(n);
    for (size_t r = 0; r < rows; r++, x.at += x.ld, y += to.ld) {
        for (size_t j = 0; j < width; j++) y[j] = fma_f(x.at[j] - mean[j], factor[j], shift[j]);
    }
}

static void standardize_backward(size_t rows, size_t n, struct cdl_matrix x, const float *mean,
                                 const float *const abc[3], struct cdl_matrix dy,
                                 struct cdl_output to) {
    const float *a = abc[0], *b = abc[1], *c = abc[2];
    float *restrict dx = to.at;
    assert(are_padded(rows, n, x.at, x.ld) && are_padded(rows, n, dy.at, dy.ld) &&
           are_padded(rows, n, dx, to.ld));
    assert(mean && a && b && c);
    const size_t width = cdl_padded(n);
    for (size_t r = 0; r < rows; r++, x.at += x.ld, dy.at += dy.ld, dx += to.ld) {
        for (size_t j = 0; j < width; j++)
            dx[j] = fma_f(a[j], dy.at[j], fma_f(b[j], x.at[j] - mean[j], c[j]));
    }
}
