/* reduce.h - reductions of lines and of columns: their kinds, values and gradients.
 *
 * The reduction of numbers of which one is NaN is NaN. The gradient of a largest or smallest number
 * goes to all that are equal to it, in equal shares; that of a product is the product of the
 * others, so it is right among zeros.
 */
#ifndef CDL_TEMPLATE

#define CDL_REDUCTIONS(X) X(sum) X(mean) X(max) X(min) X(prod)

#define CDL_REDUCTION_NUMBER(NAME) CDL_REDUCTION_##NAME,
enum cdl_reduction { CDL_REDUCTIONS(CDL_REDUCTION_NUMBER) CDL_N_REDUCTIONS };

#else /* inside isa/instantiate.h */

/* How two numbers become one; mean adds like sum. */
CDL_INLINE float pair_f(enum cdl_reduction kind, float a, float b) {
    if (kind == CDL_REDUCTION_max) return a < b || b != b ? b : a;
    if (kind == CDL_REDUCTION_min) return a > b || b != b ? b : a;
    return kind == CDL_REDUCTION_prod ? a * b : a + b;
}

/* Neutral element of a reduction. */
CDL_INLINE float nothing_of(enum cdl_reduction kind) {
    if (kind == CDL_REDUCTION_max) return -INFINITY;
    if (kind == CDL_REDUCTION_min) return INFINITY;
    return kind == CDL_REDUCTION_prod ? 1.0f : 0.0f;
}

CDL_INLINE vf pair_vf(enum cdl_reduction kind, vf a, vf b) {
    if (kind == CDL_REDUCTION_max) return vf_select((a < b) | (b != b), b, a);
    if (kind == CDL_REDUCTION_min) return vf_select((a > b) | (b != b), b, a);
    return kind == CDL_REDUCTION_prod ? a * b : a + b;
}

/* One number of `lines` lines of n: the lanes go their own ways to the end. */
CDL_INLINE float reduced(enum cdl_reduction kind, size_t lines, size_t n, const float *x,
                         size_t ldx) {
    float all = nothing_of(kind);
    if (n == 1) {
        for (size_t l = 0; l < lines; l++) all = pair_f(kind, all, x[l * ldx]);
        return all;
    }
    const vf nothing = vf_splat(nothing_of(kind));
    vf best[PARTS];
    EACH_PART(v) best[v] = nothing;
    for (size_t l = 0; l < lines; l++, x += ldx) {
        size_t j = 0;
        for (; j + CDL_LINE <= n; j += CDL_LINE)
            EACH_PART(v) best[v] = pair_vf(kind, best[v], vf_load(x + j + v * CDL_VLEN));
        for (size_t v = 0; j < n; v++, j += CDL_VLEN)
            best[v] = pair_vf(kind, best[v], vf_select(vf_below(n, j), vf_load(x + j), nothing));
    }
    if (kind == CDL_REDUCTION_sum || kind == CDL_REDUCTION_mean) return parts_sum(best);
    for (int lane = 0; lane < CDL_LINE; lane++)
        all = pair_f(kind, all, best[lane / CDL_VLEN][lane % CDL_VLEN]);
    return all;
}

CDL_INLINE void lines_to(const enum cdl_reduction kind, size_t count, size_t lines, size_t n,
                         const float *x, size_t ldx, float *y) {
    for (size_t i = 0; i < count; i++, x += lines * ldx) y[i] = reduced(kind, lines, n, x, ldx);
}

CDL_INLINE void columns_to(const enum cdl_reduction kind, size_t rows, size_t width, const float *x,
                           size_t ldx, float *restrict y) {
    for (size_t j = 0; j < width; j++) y[j] = x[j];
    for (size_t r = 1; r < rows; r++) {
        x += ldx;
        for (size_t j = 0; j < width; j++) y[j] = pair_f(kind, y[j], x[j]);
    }
}

static void fill_lines(size_t count, size_t lines, size_t n, const float *x, float *y, size_t ldy) {
    assert((count == 0 || x) && are_padded(count * lines, n, y, ldy));
    const size_t padded = cdl_padded(n);
    for (size_t i = 0; i < count; i++) {
        for (size_t l = 0; l < lines; l++, y += ldy) {
            for (size_t j = 0; j < padded; j++) y[j] = j < n ? x[i] : 0.0f;
        }
    }
}

static void reduce_lines(enum cdl_reduction kind, size_t count, size_t lines, size_t n,
                         const float *x, size_t ldx, float *y) {
    assert(are_rows(count * lines, n, x, ldx) && (count == 0 || y));
#define LINES_TO(NAME)                                                                             \
    if (kind == CDL_REDUCTION_##NAME) lines_to(CDL_REDUCTION_##NAME, count, lines, n, x, ldx, y);
    CDL_REDUCTIONS(LINES_TO)
    const float all = (float)(lines * n);
    for (size_t i = 0; i < count && kind == CDL_REDUCTION_mean; i++) y[i] /= all;
}

static void reduce_columns(enum cdl_reduction kind, size_t rows, size_t width, const float *x,
                           size_t ldx, float *y) {
    assert(are_rows(rows, width, x, ldx) && rows > 0 && y);
#define COLUMNS_TO(NAME)                                                                           \
    if (kind == CDL_REDUCTION_##NAME) columns_to(CDL_REDUCTION_##NAME, rows, width, x, ldx, y);
    CDL_REDUCTIONS(COLUMNS_TO)
    for (size_t j = 0; j < width && kind == CDL_REDUCTION_mean; j++) y[j] /= (float)rows;
}

/* The gradient g of one number y to the `lines` lines that it was made of. */
CDL_INLINE void shared_out(size_t lines, size_t n, const float *x, size_t ld, float y, float g,
                           float *dx) {
    float equal = 0.0f;
    for (size_t l = 0; l < lines; l++) {
        for (size_t j = 0; j < n; j++) equal += x[l * ld + j] == y ? 1.0f : 0.0f;
    }
    const float share = g / equal;
    for (size_t l = 0; l < lines; l++, x += ld, dx += ld) {
        for (size_t j = 0; j < cdl_padded(n); j++) dx[j] = j < n && x[j] == y ? share : 0.0f;
    }
}

CDL_INLINE void product_of_others(size_t lines, size_t n, const float *x, size_t ld, float g,
                                  float *dx) {
    float before = g, after = 1.0f;
    for (size_t l = 0; l < lines; l++) {
        for (size_t j = 0; j < n; j++) dx[l * ld + j] = before, before *= x[l * ld + j];
        for (size_t j = n; j < cdl_padded(n); j++) dx[l * ld + j] = 0.0f;
    }
    for (size_t l = lines; l-- > 0;) {
        for (size_t j = n; j-- > 0;) dx[l * ld + j] *= after, after *= x[l * ld + j];
    }
}

static void reduce_lines_backward(enum cdl_reduction kind, size_t count, size_t lines, size_t n,
                                  struct cdl_matrix all_x, const float *y, const float *dy,
                                  float *dx) {
    const float *x = all_x.at;
    const size_t ld = all_x.ld;
    assert(are_padded(count * lines, n, x, ld) && (count == 0 || (y && dy && dx)));
    for (size_t i = 0; i < count; i++, x += lines * ld, dx += lines * ld) {
        const float g = kind == CDL_REDUCTION_mean ? dy[i] / (float)(lines * n) : dy[i];
        if (kind == CDL_REDUCTION_prod) {
            product_of_others(lines, n, x, ld, g, dx);
        } else if (kind == CDL_REDUCTION_max || kind == CDL_REDUCTION_min) {
            shared_out(lines, n, x, ld, y[i], g, dx);
        } else {
            for (size_t l = 0; l < lines; l++) {
                for (size_t j = 0; j < cdl_padded(n); j++) dx[l * ld + j] = j < n ? g : 0.0f;
            }
        }
    }
}

/* Columns [0, CDL_LINE) or fewer, whose running products and counts stay in registers. */
CDL_INLINE void few_columns_backward(enum cdl_reduction kind, size_t rows, size_t width,
                                     const float *x, size_t ld, const float *y, const float *dy,
                                     float *dx) {
    float equal[CDL_LINE] = {0}, share[CDL_LINE], before[CDL_LINE], after[CDL_LINE];
    if (kind == CDL_REDUCTION_prod) {
        for (size_t j = 0; j < width; j++) before[j] = dy[j], after[j] = 1.0f;
        for (size_t r = 0; r < rows; r++) {
            for (size_t j = 0; j < width; j++) {
                dx[r * ld + j] = before[j];
                before[j] *= x[r * ld + j];
            }
        }
        for (size_t r = rows; r-- > 0;) {
            for (size_t j = 0; j < width; j++) {
                dx[r * ld + j] *= after[j];
                after[j] *= x[r * ld + j];
            }
        }
        return;
    }
    for (size_t r = 0; r < rows; r++) {
        for (size_t j = 0; j < width; j++) equal[j] += x[r * ld + j] == y[j] ? 1.0f : 0.0f;
    }
    for (size_t j = 0; j < width; j++) share[j] = dy[j] / equal[j];
    for (size_t r = 0; r < rows; r++) {
        for (size_t j = 0; j < width; j++) dx[r * ld + j] = x[r * ld + j] == y[j] ? share[j] : 0.0f;
    }
}

static void reduce_columns_backward(enum cdl_reduction kind, size_t rows, size_t width,
                                    const float *x, size_t ld, const float *y, const float *dy,
                                    float *dx) {
    assert(are_rows(rows, width, x, ld) && rows > 0 && y && dy && dx);
    if (kind == CDL_REDUCTION_sum || kind == CDL_REDUCTION_mean) {
        const float part = kind == CDL_REDUCTION_mean ? (float)rows : 1.0f;
        for (size_t r = 0; r < rows; r++) {
            for (size_t j = 0; j < width; j++) dx[r * ld + j] = dy[j] / part;
        }
        return;
    }
    size_t j = 0;
    for (; j + CDL_LINE <= width; j += CDL_LINE)
        few_columns_backward(kind, rows, CDL_LINE, x + j, ld, y + j, dy + j, dx + j);
    if (j < width) few_columns_backward(kind, rows, width - j, x + j, ld, y + j, dy + j, dx + j);
}

#endif
