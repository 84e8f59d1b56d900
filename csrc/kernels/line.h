/* line.h - reductions along one line of n floats whose pads may be read.
 *
 * Part of the ISA template. Lines are padded to whole registers (base/memory.h), so the last
 * register is masked where pads would count. A scalar tail would be most of the work for ten
 * classes.
 */

/* The largest element; NaN only if the first is (the others show in the sums). */
CDL_INLINE float line_top(size_t n, const float *z) {
    vf best = vf_splat(z[0]), other = best; /* two chains */
    size_t b = 0;
    for (; b + 2 * CDL_VLEN <= n; b += 2 * CDL_VLEN) {
        best = vf_max(vf_load(z + b), best);
        other = vf_max(vf_load(z + b + CDL_VLEN), other);
    }
    for (; b < n; b += CDL_VLEN) {
        const vf v = vf_load(z + b);
        best = vf_select((v > best) & vf_below(n, b), v, best);
    }
    return vf_top(vf_max(other, best));
}

/* Sum of the elements and pads: the pads are 0. */
CDL_INLINE float line_sum(size_t n, const float *z) {
    vf sum[PARTS] = {{0}};
    for (size_t b = 0; b < n; b += CDL_LINE)
        EACH_PART(v) sum[v] += vf_load(z + b + v * CDL_VLEN);
    return parts_sum(sum);
}

/* Sum over a line of (x - a)(y - b), whatever the pads hold. */
CDL_INLINE float line_product(size_t n, const float *x, float a, const float *y, float b) {
    if (n == 1) return (x[0] - a) * (y[0] - b);
    vf sum[PARTS] = {{0}};
    size_t j = 0;
    for (; j + CDL_LINE <= n; j += CDL_LINE, x += CDL_LINE, y += CDL_LINE)
        EACH_PART(v)
            sum[v] = vf_fma(vf_load(x + v * CDL_VLEN) - vf_splat(a),
                            vf_load(y + v * CDL_VLEN) - vf_splat(b), sum[v]);
    if (j == n) return parts_sum(sum);
    EACH_PART(v) {
        const vi live = vf_below(n - j, v * CDL_VLEN);
        const vf left = vf_select(live, vf_load(x + v * CDL_VLEN) - vf_splat(a), vf_splat(0));
        const vf right = vf_select(live, vf_load(y + v * CDL_VLEN) - vf_splat(b), vf_splat(0));
        sum[v] = vf_fma(left, right, sum[v]);
    }
    return parts_sum(sum);
}

CDL_INLINE float line_total(size_t n, const float *x) {
    if (n == 1) return x[0];
    vf sum[PARTS] = {{0}};
    size_t j = 0;
    for (; j + CDL_LINE <= n; j += CDL_LINE, x += CDL_LINE)
        EACH_PART(v) sum[v] += vf_load(x + v * CDL_VLEN);
    if (j == n) return parts_sum(sum);
    EACH_PART(v)
        sum[v] += vf_select(vf_below(n - j, v * CDL_VLEN), vf_load(x + v * CDL_VLEN), vf_splat(0));
    return parts_sum(sum);
}

/* cdl_argmax of a line. */
CDL_INLINE size_t line_argmax(size_t n, const float *y) {
    if (n <= 2 * CDL_VLEN) return cdl_argmax(n, y); /* costs less than the reductions */
    const float top = line_top(n, y);
    for (size_t j = 0; j < n; j++) {
        if (y[j] != y[j]) return j;
    }
    for (size_t j = 0; j < n; j++) {
        if (y[j] == top) return j;
    }
    return 0;
}

/* Fills e[j] = exp(z[j] - top), clears the pads, and returns the sum. */
CDL_INLINE float softmax_line(size_t n, const float *restrict z, float top, float *restrict e) {
    const size_t last = cdl_round_up(n, CDL_LINE) - CDL_LINE;
    const int32_t left = (int32_t)(n - last);
    for (size_t j = 0; j < last; j++) e[j] = exp_down_f(z[j] - top);
    z += last;
    for (int32_t j = 0; j < CDL_LINE; j++) {
        const float v = exp_down_f(z[j] - top);
        e[last + (size_t)j] = j < left ? v : 0.0f;
    }
    return line_sum(n, e);
}

CDL_INLINE float line_weight(const struct cdl_scoring *s, size_t line) {
    return s->weight ? s->weight[line / s->lines] : 1.0f;
}
