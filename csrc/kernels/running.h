/* running.h - sums and products up to each number; places of the largest.
 *
 * Part of the ISA template. A step is `width` independent numbers.
 */
static void running(bool product, size_t n, size_t width, const float *x, float *restrict y) {
    assert(n > 0 && width > 0 && x && y && are_apart(x, n * width, y, n * width));
    for (size_t j = 0; j < width; j++) y[j] = x[j];
    for (size_t i = 1; i < n; i++, y += width) {
        x += width;
        if (product) {
            for (size_t j = 0; j < width; j++) y[width + j] = y[j] * x[j];
        } else {
            for (size_t j = 0; j < width; j++) y[width + j] = y[j] + x[j];
        }
    }
}

/* Columns [0, width), at most CDL_LINE, of steps that are `step` apart. */
CDL_INLINE void few_running_backward(bool product, size_t n, size_t width, size_t step,
                                     const float *x, const float *y, const float *dy, float *dx) {
    float sum[CDL_LINE] = {0};
    for (size_t i = n; i-- > 0;) {
        const size_t at = i * step;
        for (size_t j = 0; j < width; j++) {
            const float later = product && i + 1 < n ? x[at + step + j] * sum[j] : sum[j];
            sum[j] = dy[at + j] + later;
            dx[at + j] = product && i > 0 ? y[at - step + j] * sum[j] : sum[j];
        }
    }
}

static void running_backward(bool product, size_t n, size_t width, const float *x, const float *y,
                             const float *dy, float *dx) {
    assert(n > 0 && width > 0 && x && y && dy && dx);
    for (size_t j = 0; j < width; j += CDL_LINE) {
        const size_t some = cdl_min(width - j, CDL_LINE);
        few_running_backward(product, n, some, width, x + j, y + j, dy + j, dx + j);
    }
}

static void top_of_lines(float sign, size_t count, size_t lines, size_t n, const float *x,
                         size_t ldx, float *y) {
    assert(are_rows(count * lines, n, x, ldx) && (count == 0 || y));
    for (size_t i = 0; i < count; i++) {
        float best = sign * x[0];
        size_t place = 0;
        for (size_t l = 0; l < lines; l++, x += ldx) {
            for (size_t j = 0; j < n; j++) {
                const float value = sign * x[j];
                if (cdl_is_above(value, best)) best = value, place = l * n + j;
            }
        }
        y[i] = (float)place;
    }
}

static void top_of_columns(float sign, size_t rows, size_t width, const float *x, size_t ldx,
                           float *y) {
    assert(are_rows(rows, width, x, ldx) && rows > 0 && y);
    for (size_t j = 0; j < width; j += CDL_LINE) {
        const size_t some = cdl_min(width - j, CDL_LINE);
        float best[CDL_LINE], place[CDL_LINE];
        for (size_t c = 0; c < some; c++) best[c] = sign * x[j + c], place[c] = 0.0f;
        for (size_t r = 1; r < rows; r++) {
            for (size_t c = 0; c < some; c++) {
                const float value = sign * x[r * ldx + j + c];
                const bool above = cdl_is_above(value, best[c]);
                place[c] = above ? (float)r : place[c];
                best[c] = above ? value : best[c];
            }
        }
        for (size_t c = 0; c < some; c++) y[j + c] = place[c];
    }
}
