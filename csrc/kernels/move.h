/* move.h - copies, choices and sums of columns of lines.
 *
 * Part of the ISA template. Most lines are short, so a run is copied by registers and then by
 * halves of one, without a loop for the remainder.
 */
CDL_INLINE void copy_run(size_t n, const float *x, float *y) {
    size_t j = 0;
    for (; j + CDL_VLEN <= n; j += CDL_VLEN) vf_store(y + j, vf_load(x + j));
    if (CDL_VLEN > 8 && (n & 8)) memcpy(y + j, x + j, 32), j += 8;
    if (CDL_VLEN > 4 && (n & 4)) memcpy(y + j, x + j, 16), j += 4;
    if (n & 2) memcpy(y + j, x + j, 8), j += 2;
    if (n & 1) y[j] = x[j];
}

static void copy_columns(size_t rows, size_t n, const float *x, size_t ldx, float *y, size_t ldy) {
    assert(rows == 0 || (n > 0 && x && y));
    if (n == 1) {
        for (size_t r = 0; r < rows; r++) y[r * ldy] = x[r * ldx];
        return;
    }
    for (size_t r = 0; r < rows; r++, x += ldx, y += ldy) copy_run(n, x, y);
}

static void pick_columns(size_t rows, size_t n, ptrdiff_t step, const float *x, size_t ldx,
                         float *y, size_t ldy) {
    assert(rows == 0 || (n > 0 && x && y));
    if (step == 1) {
        copy_columns(rows, n, x, ldx, y, ldy);
        return;
    }
    for (size_t r = 0; r < rows; r++, x += ldx, y += ldy) {
        const float *from = x;
        for (size_t j = 0; j < n; j++, from += step) y[j] = *from;
    }
}

static void add_columns(size_t rows, size_t n, ptrdiff_t step, const float *dy, size_t lddy,
                        float *dx, size_t lddx) {
    assert(rows == 0 || (n > 0 && dy && dx));
    for (size_t r = 0; r < rows; r++, dy += lddy, dx += lddx) {
        if (step == 1) {
            for (size_t j = 0; j < n; j++) dx[j] += dy[j];
        } else {
            float *to = dx;
            for (size_t j = 0; j < n; j++, to += step) *to += dy[j];
        }
    }
}

/* Added in registers, as copy_run copies: halves of one are vectors of their own. */
typedef float half_vector __attribute__((vector_size(32), aligned(4), may_alias));
typedef float quarter_vector __attribute__((vector_size(16), aligned(4), may_alias));

CDL_INLINE void add_run(size_t n, const float *x, float *y) {
    size_t j = 0;
    for (; j + CDL_VLEN <= n; j += CDL_VLEN) vf_store(y + j, vf_load(y + j) + vf_load(x + j));
    if (CDL_VLEN > 8 && (n & 8)) *(half_vector *)(y + j) += *(const half_vector *)(x + j), j += 8;
    if (CDL_VLEN > 4 && (n & 4))
        *(quarter_vector *)(y + j) += *(const quarter_vector *)(x + j), j += 4;
    for (; j < n; j++) y[j] += x[j];
}

/* A number is turned into an int only where it is one: a cast of others is undefined. */
static void row_numbers(size_t count, const float *x, bool wraps, int32_t limit, int32_t low,
                        int32_t high, int32_t *restrict rows) {
    assert(limit >= 0 && high <= limit);
    const float end = (float)limit, round = wraps ? end : 0.0f;
    for (size_t i = 0; i < count; i++) {
        const float number = x[i] < 0.0f ? x[i] + round : x[i];
        const int32_t row = (int32_t)(((number >= 0.0f) & (number < end)) ? number : -1.0f);
        rows[i] = ((row >= low) & (row < high)) ? row : -1;
    }
}

static void gather_rows(size_t count, size_t n, const int32_t *rows, const float *table, size_t ldt,
                        float *restrict y, size_t ldy) {
    assert(count == 0 || (rows && table));
    assert(are_padded(count, n, y, ldy));
    if (n == 1) {
        for (size_t i = 0; i < count; i++) y[i] = rows[i] < 0 ? 0.0f : table[(size_t)rows[i] * ldt];
        return;
    }
    const size_t padded = cdl_padded(n);
    for (size_t i = 0; i < count; i++, y += ldy) {
        for (size_t j = padded - CDL_LINE; j < padded; j += CDL_VLEN) vf_store(y + j, vf_splat(0));
        if (rows[i] >= 0) copy_run(n, table + (size_t)rows[i] * ldt, y);
    }
}

static void add_rows(size_t count, size_t n, const int32_t *rows, const float *dy, size_t lddy,
                     float *restrict table, size_t ldt) {
    assert(count == 0 || (n > 0 && rows && dy && table));
    for (size_t i = 0; i < count; i++, dy += lddy)
        if (rows[i] >= 0) add_run(n, dy, table + (size_t)rows[i] * ldt);
}
