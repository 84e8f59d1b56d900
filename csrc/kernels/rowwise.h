/* rowwise.h - kernels over whole rows that are no formula of an element: softmax, dropout.
 *
 * Part of the ISA template.
 */
static void softmax_forward(size_t rows, size_t n, const float *x, size_t ldx, float *y,
                            size_t ldy) {
    if (n == 1) { /* of one class: 1, unless the score is not a number or infinite */
        for (size_t r = 0; r < rows; r++) y[r] = exp_f(x[r] - x[r]);
        return;
    }
    for (size_t r = 0; r < rows; r++, x += ldx, y += ldy) {
        const float sum = softmax_line(n, x, line_top(n, x), y);
        const size_t padded = cdl_padded(n);
        const float inverse = 1.0f / sum;
        for (size_t j = 0; j < padded; j++) y[j] *= inverse;
    }
}

static void softmax_backward(size_t rows, size_t n, const float *y, size_t ldy, const float *dy,
                             size_t lddy, float *dx, size_t lddx) {
    for (size_t r = 0; r < rows; r++, y += ldy, dy += lddy, dx += lddx) {
        float dot = 0.0f;
        for (size_t j = 0; j < n; j++) dot += y[j] * dy[j];
        const size_t padded = cdl_padded(n); /* pads of y are 0 */
        for (size_t j = 0; j < padded; j++) dx[j] = y[j] * (dy[j] - dot);
    }
}

static void dropout(size_t rows, size_t n, struct cdl_key key, uint32_t first_row, uint32_t keep,
                    float scale, const float *x, size_t ldx, float *y, size_t ldy) {
    const uint32_t padded = (uint32_t)cdl_padded(n);
    for (size_t r = 0; r < rows; r++, x += ldx, y += ldy) {
        const struct cdl_key row = {key.a ^ cdl_mix32(first_row + (uint32_t)r), key.b};
        for (uint32_t j = 0; j < padded; j++) {
            y[j] = cdl_random_bits(row, j) < keep ? x[j] * scale : 0.0f;
        }
    }
}
