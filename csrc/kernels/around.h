/* around.h - elementwise passes before and after an optimizer's update.
 *
 * Part of the ISA template. n is a multiple of CDL_LINE, or the length of a single column.
 */
static void penalize(size_t n, const float *restrict w, float *restrict g, float l1, float l2,
                     double *penalty) {
    assert(w && (!g || are_apart(w, n, g, n)));
    for (size_t i = 0; i < n; i++) {
        if (g) g[i] += fma_f(2.0f * l2, w[i], w[i] >= 0.0f ? l1 : -l1);
    }
    for (size_t b = 0; b < n && penalty; b += CDL_LINE) {
        const size_t live = cdl_min(n - b, CDL_LINE);
        double absolute = 0.0, squares = 0.0; /* a square of a float may be no float */
        for (size_t i = 0; i < live; i++) {
            absolute += (double)abs_f(w[b + i]);
            squares += (double)w[b + i] * (double)w[b + i];
        }
        penalty[b / CDL_LINE] = (double)l1 * absolute + (double)l2 * squares;
    }
}

static void add(size_t n, const float *restrict x, float *restrict y) {
    assert(n == 0 || (x && y && are_apart(x, n, y, n)));
    for (size_t i = 0; i < n; i++) y[i] += x[i];
}

static void add_up(size_t blocks, size_t n, size_t ld, const float *sums, double factor,
                   float *restrict y) {
    enum { TOGETHER = 512 }; /* whose sums are in the cache at a time: rows are read as they lie */
    assert(n == 0 || (sums && y));
    for (size_t first = 0; first < n; first += TOGETHER) {
        const size_t many = cdl_min(n - first, TOGETHER);
        double total[TOGETHER] = {0.0};
        for (size_t b = 0; b < blocks; b++) {
            const float *sum = sums + b * ld + first;
            for (size_t j = 0; j < many; j++) total[j] += (double)sum[j];
        }
        for (size_t j = 0; j < many; j++) y[first + j] = (float)(total[j] * factor);
    }
}

static void extremes(size_t n, bool lowest, const float *restrict x, float *restrict y) {
    assert(n == 0 || (x && y && are_apart(x, n, y, n)));
    if (lowest)
        for (size_t j = 0; j < n; j++) y[j] = pair_f(CDL_REDUCTION_min, y[j], x[j]);
    else
        for (size_t j = 0; j < n; j++) y[j] = pair_f(CDL_REDUCTION_max, y[j], x[j]);
}

static void scale(size_t n, float factor, float *x) {
    assert(n == 0 || x);
    for (size_t i = 0; i < n; i++) x[i] *= factor;
}

/* Not a product with 1 - part, which for a small part would be rounded for all elements alike. */
static void shrink(size_t n, float part, float *x) {
    assert(n == 0 || x);
    for (size_t i = 0; i < n; i++) x[i] = fma_f(-part, x[i], x[i]);
}

static void clip(size_t n, float low, float high, float *x) {
    assert(n == 0 || x);
    for (size_t i = 0; i < n; i++) x[i] = within_f(x[i], low, high);
}

static void blend(size_t n, float keep, const float *restrict x, float *restrict y) {
    assert(n == 0 || (x && y && are_apart(x, n, y, n)));
    if (keep == 0.0f) { /* whatever y was: 0 times infinity is no number */
        for (size_t i = 0; i < n; i++) y[i] = x[i];
        return;
    }
    for (size_t i = 0; i < n; i++) y[i] = fma_f(keep, y[i], (1.0f - keep) * x[i]);
}

/* A sum for each place in a line; then the upper half onto the lower one, again and again. Squares
 * are doubles: those of floats beyond 1.8e19 are no floats. */
static void squares(size_t n, const float *x, double *total) {
    assert((n == 0 || x) && total);
    double sum[CDL_LINE] = {0};
    const size_t whole = n / CDL_LINE * CDL_LINE;
    for (size_t b = 0; b < whole; b += CDL_LINE) {
        for (size_t i = 0; i < CDL_LINE; i++) sum[i] += (double)x[b + i] * (double)x[b + i];
    }
    for (size_t i = 0; i < n - whole; i++) sum[i] += (double)x[whole + i] * (double)x[whole + i];
    for (size_t half = CDL_LINE / 2; half > 0; half /= 2) {
        for (size_t i = 0; i < half; i++) sum[i] += sum[i + half];
    }
    *total += sum[0];
}

static void column_squares(size_t rows, size_t n, const float *x, size_t ldx,
                           float *restrict squares) {
    assert(are_rows(rows, n, x, ldx) && squares);
    for (size_t r = 0; r < rows; r++, x += ldx) {
        for (size_t j = 0; j < n; j++) squares[j] = fma_f(x[j], x[j], squares[j]);
    }
}

static void row_squares(size_t rows, size_t n, const float *x, size_t ldx,
                        float *restrict squares) {
    assert(are_rows(rows, n, x, ldx) && squares);
    for (size_t r = 0; r < rows; r++, x += ldx) {
        float sum[CDL_LINE] = {0};
        size_t j = 0;
        for (; j + CDL_LINE <= n; j += CDL_LINE) {
            for (size_t i = 0; i < CDL_LINE; i++) sum[i] = fma_f(x[j + i], x[j + i], sum[i]);
        }
        for (size_t i = 0; j + i < n; i++) sum[i] = fma_f(x[j + i], x[j + i], sum[i]);
        squares[r] += line_sum(CDL_LINE, sum);
    }
}

static void divide_by_factors(size_t rows, size_t n, const float *by_row,
                              const float *restrict by_column, float *restrict v, float *restrict g,
                              size_t ld) {
    assert(are_rows(rows, n, v, ld) && are_rows(rows, n, g, ld) && by_row && by_column);
    for (size_t r = 0; r < rows; r++, v += ld, g += ld) {
        for (size_t j = 0; j < n; j++) {
            v[j] = by_row[r] * by_column[j];
            g[j] /= sqrtf(v[j]);
        }
    }
}
