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

static void column_products(size_t rows, size_t n, const float *dy, size_t lddy, const float *x,
                            size_t ldx, const float *mean, const float *factor, float *restrict s) {
    assert(are_padded(rows, n, dy, lddy) && are_padded(rows, n, x, ldx) && mean && factor && s);
    const size_t width = cdl_padded(n);
    for (size_t j = 0; j < width; j++) s[j] = 0.0f;
    for (size_t r = 0; r < rows; r++, x += ldx, dy += lddy) {
        for (size_t j = 0; j < width; j++) s[j] = fma_f(dy[j], (x[j] - mean[j]) * factor[j], s[j]);
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

/* As Keras has it, relu(x) - alpha relu(-x): at 0 both slopes are 0. */
static void prelu(size_t rows, size_t n, const float *x, size_t ldx, const float *alpha,
                  float *restrict y, size_t ldy) {
    assert(are_padded(rows, n, x, ldx) && are_padded(rows, n, y, ldy) && alpha);
    const size_t width = cdl_padded(n);
    for (size_t r = 0; r < rows; r++, x += ldx, y += ldy) {
        for (size_t j = 0; j < width; j++) y[j] = x[j] > 0.0f ? x[j] : alpha[j] * x[j];
    }
}

static void prelu_backward(size_t rows, size_t n, const float *x, size_t ldx, const float *alpha,
                           const float *dy, size_t lddy, float *dx, size_t lddx,
                           float *restrict dalpha) {
    assert(are_padded(rows, n, x, ldx) && are_padded(rows, n, dy, lddy) && alpha && dalpha);
    assert(!dx || are_padded(rows, n, dx, lddx));
    const size_t width = cdl_padded(n);
    for (size_t j = 0; j < width; j++) dalpha[j] = 0.0f;
    for (size_t r = 0; r < rows; r++, x += ldx, dy += lddy) {
        for (size_t j = 0; j < width; j++) dalpha[j] = fma_f(dy[j], min_f(x[j], 0.0f), dalpha[j]);
        if (!dx) continue;
        for (size_t j = 0; j < width; j++) {
            const float below = x[j] < 0.0f ? alpha[j] : 0.0f;
            dx[j] = dy[j] * (x[j] > 0.0f ? 1.0f : below);
        }
        dx += lddx;
    }
}

static void standardize(size_t rows, size_t n, const float *x, size_t ldx, const float *mean,
                        const float *factor, const float *shift, float *restrict y, size_t ldy) {
    assert(are_padded(rows, n, x, ldx) && are_padded(rows, n, y, ldy));
    assert(mean && factor && shift);
    const size_t width = cdl_padded(n);
    for (size_t r = 0; r < rows; r++, x += ldx, y += ldy) {
        for (size_t j = 0; j < width; j++) y[j] = fma_f(x[j] - mean[j], factor[j], shift[j]);
    }
}

static void standardize_backward(size_t rows, size_t n, const float *x, size_t ldx,
                                 const float *mean, const float *a, const float *b, const float *c,
                                 const float *dy, size_t lddy, float *restrict dx, size_t lddx) {
    assert(are_padded(rows, n, x, ldx) && are_padded(rows, n, dy, lddy) &&
           are_padded(rows, n, dx, lddx));
    assert(mean && a && b && c);
    const size_t width = cdl_padded(n);
    for (size_t r = 0; r < rows; r++, x += ldx, dy += lddy, dx += lddx) {
        for (size_t j = 0; j < width; j++)
            dx[j] = fma_f(a[j], dy[j], fma_f(b[j], x[j] - mean[j], c[j]));
    }
}
