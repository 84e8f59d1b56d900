/* window.h - windows whose columns stay apart: the largest of each, their sum, products with
 * weights of their own, and the gradients.
 *
 * Part of the ISA template. Columns go by registers, a few places at a time; lines of a single
 * column lie side by side, so there each place is a number. NaN is larger than all. The gradient of
 * a largest number goes to the first tap that is not less.
 */

/* A tap, with `at` the floats from the first tap of a to it, and `of` those of b. */
struct tap {
    size_t u, v, w;
    ptrdiff_t at, of;
};

CDL_INLINE struct tap first_tap(const struct cdl_taps *taps) {
    return (struct tap){.u = taps->n[1] ? 0 : taps->n[0]};
}

/* Behind the last of an innermost run: the first of the next. */
CDL_INLINE void next_run(const struct cdl_taps *taps, struct tap *tap) {
    tap->w = 0;
    if (++tap->v == taps->n[1]) tap->v = 0, tap->u++;
    tap->at = (ptrdiff_t)tap->u * taps->a[0] + (ptrdiff_t)tap->v * taps->a[1];
    tap->of = (ptrdiff_t)tap->u * taps->b[0] + (ptrdiff_t)tap->v * taps->b[1];
}

#define EACH_TAP(T, TAPS)                                                                          \
    for (struct tap T = first_tap(TAPS); T.u < (TAPS)->n[0]; next_run(TAPS, &T))                   \
        for (; T.w < (TAPS)->n[2]; T.w++, T.at += (TAPS)->a[2], T.of += (TAPS)->b[2])

CDL_INLINE vf larger(vf a, vf b) { return vf_select((a < b) | (b != b), b, a); }

/* nv registers of a place: the largest of a window, or the sum times a factor. */
CDL_INLINE void reduce_place(const bool sums, const size_t nv, const struct cdl_taps *taps,
                             float factor, const float *x, float *y) {
    vf all[4];
    CDL_UNROLL for (size_t j = 0; j < nv; j++) all[j] = vf_splat(sums ? 0.0f : -INFINITY);
    EACH_TAP(t, taps) {
        CDL_UNROLL for (size_t j = 0; j < nv; j++) {
            const vf v = vf_load(x + t.at + j * CDL_VLEN);
            all[j] = sums ? all[j] + v : larger(all[j], v);
        }
    }
    CDL_UNROLL for (size_t j = 0; j < nv; j++)
        vf_store(y + j * CDL_VLEN, sums ? all[j] * vf_splat(factor) : all[j]);
}

/* Windows of 2 x 2: their taps' distances are known before the loop, as those of most pooling. */
CDL_INLINE bool is_square(const struct cdl_taps *taps) {
    return taps->n[0] == 1 && taps->n[1] == 2 && taps->n[2] == 2;
}

CDL_INLINE void max_of_square(size_t width, ptrdiff_t v, ptrdiff_t w, const float *x, float *y) {
    for (size_t j = 0; j < width; j += CDL_VLEN, x += CDL_VLEN) {
        const vf first = larger(vf_load(x), vf_load(x + w));
        vf_store(y + j, larger(larger(first, vf_load(x + v)), vf_load(x + v + w)));
    }
}

CDL_INLINE void reduce_places(const bool sums, size_t m, size_t n, const struct cdl_taps *taps,
                              float factor, struct cdl_matrix from, struct cdl_output to) {
    const float *x = from.at;
    float *y = to.at;
    const size_t width = cdl_padded(n) / CDL_VLEN * CDL_VLEN;
    for (size_t i = 0; i < m; i++, x += from.ld, y += to.ld) {
        size_t j = 0;
        if (!sums && is_square(taps)) {
            max_of_square(width, taps->a[1], taps->a[2], x, y);
            j = width;
        }
        for (; j + 4 * CDL_VLEN <= width; j += 4 * CDL_VLEN)
            reduce_place(sums, 4, taps, factor, x + j, y + j);
        for (; j + 2 * CDL_VLEN <= width; j += 2 * CDL_VLEN)
            reduce_place(sums, 2, taps, factor, x + j, y + j);
        if (j < width) reduce_place(sums, 1, taps, factor, x + j, y + j);
        if (width) continue;
        const enum cdl_reduction kind = sums ? CDL_REDUCTION_sum : CDL_REDUCTION_max;
        float all = nothing_of(kind);
        EACH_TAP(t, taps) all = pair_f(kind, all, x[t.at]);
        *y = all * factor;
    }
}

static void window_reduce(enum cdl_reduction kind, size_t m, size_t n, const struct cdl_taps *taps,
                          struct cdl_matrix x, struct cdl_output y) {
    const size_t places = taps->n[0] * taps->n[1] * taps->n[2];
    assert(m == 0 || (x.at && n > 0 && are_padded(m, n, y.at, y.ld)));
    const float factor = kind == CDL_REDUCTION_mean && places ? 1.0f / (float)places : 1.0f;
    if (kind == CDL_REDUCTION_max)
        reduce_places(false, m, n, taps, 1.0f, x, y);
    else
        reduce_places(true, m, n, taps, factor, x, y);
}

/* One register of columns of one place; `adds`: others give to dx too. */
CDL_INLINE void give_to_first(const struct cdl_taps *taps, const float *x, const float *y,
                              const float *dy, const bool adds, float *dx) {
    const vf best = vf_load(y), gradient = vf_load(dy);
    vi left = ~(vi){0};
    EACH_TAP(t, taps) {
        const vi hit = ~(vf_load(x + t.at) < best) & left;
        const vf part = vf_select(hit, gradient, vf_splat(0));
        vf_store(dx + t.at, adds ? vf_load(dx + t.at) + part : part);
        left &= ~hit;
    }
}

CDL_INLINE void give_square(size_t width, ptrdiff_t v, ptrdiff_t w, const float *x, const float *y,
                            const float *dy, float *dx) {
    const ptrdiff_t at[4] = {0, w, v, v + w};
    for (size_t j = 0; j < width; j += CDL_VLEN, x += CDL_VLEN, dx += CDL_VLEN) {
        const vf best = vf_load(y + j), gradient = vf_load(dy + j);
        vi left = ~(vi){0};
        CDL_UNROLL for (size_t t = 0; t < 4; t++) {
            const vi hit = ~(vf_load(x + at[t]) < best) & left;
            vf_store(dx + at[t], vf_select(hit, gradient, vf_splat(0)));
            left &= ~hit;
        }
    }
}

static void window_max_backward(size_t m, size_t n, const struct cdl_taps *taps,
                                struct cdl_matrix from, struct cdl_matrix to, const float *dy,
                                bool adds, float *dx) {
    const float *x = from.at, *y = to.at;
    const size_t ldx = from.ld, ldy = to.ld;
    assert(m == 0 || (x && y && dy && dx && n > 0));
    const size_t width = cdl_padded(n) / CDL_VLEN * CDL_VLEN;
    for (size_t i = 0; i < m; i++, x += ldx, dx += ldx, y += ldy, dy += ldy) {
        for (size_t j = 0; j < width && adds; j += CDL_VLEN)
            give_to_first(taps, x + j, y + j, dy + j, true, dx + j);
        const bool square = !adds && is_square(taps);
        if (square) give_square(width, taps->a[1], taps->a[2], x, y, dy, dx);
        for (size_t j = 0; j < width && !adds && !square; j += CDL_VLEN)
            give_to_first(taps, x + j, y + j, dy + j, false, dx + j);
        if (width) continue;
        bool is_found = false;
        EACH_TAP(t, taps) {
            if (!is_found && !(x[t.at] < *y)) dx[t.at] += *dy, is_found = true;
        }
    }
}

/* Maxima of numbers of bfloat16, two in a float's place: steps, taps and n count such places. */
CDL_INLINE vf low_of(vf pair) { return (vf)((vi)pair << 16); }
CDL_INLINE vf high_of(vf pair) { return (vf)((vi)pair & (int32_t)0xffff0000); }
CDL_INLINE vi joined(vi low, vi high) {
    return ((low >> 16) & 0xffff) | (high & (int32_t)0xffff0000);
}

static void bf16_window_max(size_t m, size_t n, const struct cdl_taps *taps, const float *x,
                            size_t ldx, float *y, size_t ldy) {
    assert(m == 0 || (x && y && is_whole(n)));
    for (size_t i = 0; i < m; i++, x += ldx, y += ldy) {
        for (size_t j = 0; j < n; j += CDL_VLEN) {
            vf low = vf_splat(-INFINITY), high = low;
            EACH_TAP(t, taps) {
                const vf pair = vf_load(x + t.at + j);
                low = larger(low, low_of(pair)), high = larger(high, high_of(pair));
            }
            vf_store(y + j, (vf)joined((vi)low, (vi)high));
        }
    }
}

static void bf16_window_max_backward(size_t m, size_t n, const struct cdl_taps *taps,
                                     struct cdl_matrix from, struct cdl_matrix to, const float *dy,
                                     float *dx) {
    const float *x = from.at, *y = to.at;
    const size_t ldx = from.ld, ldy = to.ld;
    assert(m == 0 || (x && y && dy && dx && is_whole(n)));
    for (size_t i = 0; i < m; i++, x += ldx, dx += ldx, y += ldy, dy += ldy) {
        for (size_t j = 0; j < n; j += CDL_VLEN) {
            const vf best = vf_load(y + j), gradient = vf_load(dy + j);
            vi left = ~(vi){0};
            EACH_TAP(t, taps) {
                const vf pair = vf_load(x + t.at + j);
                const vi low = ~(low_of(pair) < low_of(best)),
                         high = ~(high_of(pair) < high_of(best));
                const vi hit = joined(low, high) & left;
                vf_store(dx + t.at + j, (vf)((vi)gradient & hit));
                left &= ~hit;
            }
        }
    }
}

static void window_sum_backward(size_t m, size_t n, const struct cdl_taps *taps, float factor,
                                struct cdl_matrix of_y, bool adds, struct cdl_output of_x) {
    const float *dy = of_y.at;
    float *dx = of_x.at;
    assert((m == 0 || dx) && are_padded(m, n, dy, of_y.ld));
    const size_t width = cdl_padded(n) / CDL_VLEN * CDL_VLEN;
    for (size_t i = 0; i < m; i++, dx += of_x.ld, dy += of_y.ld) {
        for (size_t j = 0; j < width; j += CDL_VLEN) {
            const vf gradient = vf_load(dy + j) * vf_splat(factor);
            if (adds) {
                EACH_TAP(t, taps) vf_store(dx + t.at + j, vf_load(dx + t.at + j) + gradient);
            } else {
                EACH_TAP(t, taps) vf_store(dx + t.at + j, gradient);
            }
        }
        if (width) continue;
        EACH_TAP(t, taps) dx[t.at] += *dy * factor;
    }
}

/* `mr` places, nv registers of columns: weights are loaded once for all places. */
CDL_INLINE void weighted(const size_t mr, const size_t nv, const struct cdl_taps *taps,
                         struct cdl_matrix x, const float *w, const float *init,
                         struct cdl_output y) {
    vf acc[4][2];
    CDL_UNROLL for (size_t i = 0; i < mr; i++) {
        CDL_UNROLL for (size_t j = 0; j < nv; j++) acc[i][j] = vf_load(init + j * CDL_VLEN);
    }
    EACH_TAP(t, taps) {
        vf row[2];
        CDL_UNROLL for (size_t j = 0; j < nv; j++) row[j] = vf_load(w + t.of + j * CDL_VLEN);
        CDL_UNROLL for (size_t i = 0; i < mr; i++) {
            CDL_UNROLL for (size_t j = 0; j < nv; j++) acc[i][j] = vf_fma(
                vf_load(x.at + (ptrdiff_t)(i * x.ld) + t.at + j * CDL_VLEN), row[j], acc[i][j]);
        }
    }
    CDL_UNROLL for (size_t i = 0; i < mr; i++) {
        CDL_UNROLL for (size_t j = 0; j < nv; j++)
            vf_store(y.at + i * y.ld + j * CDL_VLEN, acc[i][j]);
    }
}

CDL_INLINE void weighted_columns(const size_t nv, size_t m, const struct cdl_taps *taps,
                                 struct cdl_matrix x, const float *w, const float *init,
                                 struct cdl_output y) {
    for (; m >= 4; m -= 4, x.at += 4 * x.ld, y.at += 4 * y.ld) weighted(4, nv, taps, x, w, init, y);
    for (; m > 0; m--, x.at += x.ld, y.at += y.ld) weighted(1, nv, taps, x, w, init, y);
}

static void window_weighted(size_t m, size_t n, const struct cdl_taps *taps, struct cdl_matrix from,
                            const float *w, const float *init, struct cdl_output to) {
    const float *x = from.at;
    float *y = to.at;
    const size_t ldx = from.ld, ldy = to.ld, padded = cdl_padded(n);
    assert((m == 0 || (x && w && init)) && are_padded(m, n, y, ldy));
    size_t j = 0;
    for (; j + 2 * CDL_VLEN <= padded; j += 2 * CDL_VLEN)
        weighted_columns(2, m, taps, (struct cdl_matrix){x + j, ldx}, w + j, init + j,
                         (struct cdl_output){y + j, ldy});
    if (j + CDL_VLEN <= padded)
        weighted_columns(1, m, taps, (struct cdl_matrix){x + j, ldx}, w + j, init + j,
                         (struct cdl_output){y + j, ldy});
    for (size_t i = 0; i < m && n == 1; i++) {
        float sum = *init;
        EACH_TAP(t, taps) sum = fma_f(x[(ptrdiff_t)(i * ldx) + t.at], w[t.of], sum);
        y[i * ldy] = sum;
    }
}

/* Gradient of weights from a run of k places: four chains a register. */
CDL_INLINE void add_weights_gradient(const size_t nv, size_t k, const float *x, size_t step_x,
                                     const float *dy, size_t step_dy, vf sum[4][2]) {
    size_t p = 0;
    for (; p + 4 <= k; p += 4, x += 4 * step_x, dy += 4 * step_dy) {
        CDL_UNROLL for (size_t c = 0; c < 4; c++) {
            CDL_UNROLL for (size_t j = 0; j < nv; j++) sum[c][j] =
                vf_fma(vf_load(x + c * step_x + j * CDL_VLEN),
                       vf_load(dy + c * step_dy + j * CDL_VLEN), sum[c][j]);
        }
    }
    for (; p < k; p++, x += step_x, dy += step_dy) {
        CDL_UNROLL for (size_t j = 0; j < nv; j++) sum[0][j] =
            vf_fma(vf_load(x + j * CDL_VLEN), vf_load(dy + j * CDL_VLEN), sum[0][j]);
    }
}

CDL_INLINE void weights_gradient(const size_t nv, const struct cdl_taps *taps, const float *x,
                                 size_t step_x, const float *dy, size_t step_dy, float *g) {
    vf sum[4][2];
    CDL_UNROLL for (size_t c = 0; c < 4; c++) {
        CDL_UNROLL for (size_t j = 0; j < nv; j++) sum[c][j] = vf_splat(0);
    }
    EACH_TAP(t, taps) add_weights_gradient(nv, taps->k, x + t.at, step_x, dy + t.of, step_dy, sum);
    CDL_UNROLL for (size_t j = 0; j < nv; j++) {
        const vf all = (sum[0][j] + sum[1][j]) + (sum[2][j] + sum[3][j]);
        vf_store(g + j * CDL_VLEN, vf_load(g + j * CDL_VLEN) + all);
    }
}

static void window_weights_gradient(size_t n, const struct cdl_taps *taps, const float *x,
                                    size_t step_x, const float *dy, size_t step_dy, float *g) {
    assert(n > 0 && x && dy && g);
    const size_t vectors = cdl_padded(n) / CDL_VLEN, width = vectors * CDL_VLEN;
    size_t j = 0;
    for (; j + 2 * CDL_VLEN <= width; j += 2 * CDL_VLEN)
        weights_gradient(2, taps, x + j, step_x, dy + j, step_dy, g + j);
    if (j < width) weights_gradient(1, taps, x + j, step_x, dy + j, step_dy, g + j);
    if (vectors) return;
    float sum = 0.0f;
    EACH_TAP(t, taps) {
        for (size_t p = 0; p < taps->k; p++)
            sum =
                fma_f(x[t.at + (ptrdiff_t)(p * step_x)], dy[t.of + (ptrdiff_t)(p * step_dy)], sum);
    }
    *g += sum;
}
#undef EACH_TAP

/* One line: rows go up, so that what is written behind one is written again. */
CDL_INLINE void unroll_line(const struct cdl_unrolling *s, const bool narrow, const float *x,
                            float *y) {
    const size_t rows = s->rows, places = s->places;
    for (size_t r = 0; r < rows; r++, x += s->row_step, y += places) {
        if (narrow) {
            vf_store(y, vf_load(x));
        } else if (s->place_step == 1) {
            for (size_t i = 0; i < places; i += CDL_VLEN) vf_store(y + i, vf_load(x + i));
        } else {
            for (size_t i = 0; i < places; i++) y[i] = x[i * s->place_step];
        }
    }
}

/* Out of a copy of what is asked for, which stays in registers whatever is written. */
CDL_INLINE void unroll_taps(const struct cdl_unrolling s, const bool narrow) {
    float *y = s.y;
    for (size_t u = 0; u < s.taps[0]; u++) {
        for (size_t v = 0; v < s.taps[1]; v++) {
            const float *x = s.x + u * s.tap_step[0] + v * s.tap_step[1];
            for (size_t w = 0; w < s.taps[2]; w++, x += s.tap_step[2], y += s.ldy)
                unroll_line(&s, narrow, x, y);
        }
    }
}

/* Narrow rows, of one register, take as long as the loops around them. */
static void unroll(const struct cdl_unrolling *job) {
    assert(job->x && job->y && job->ldy >= job->rows * job->places);
    struct cdl_unrolling s = *job;
    if (s.taps[2] == 1) { /* a single column: the innermost loop is over taps */
        s.taps[2] = s.taps[1], s.taps[1] = s.taps[0], s.taps[0] = 1;
        s.tap_step[2] = s.tap_step[1], s.tap_step[1] = s.tap_step[0];
    }
    if (s.place_step == 1 && s.places <= CDL_VLEN)
        unroll_taps(s, true);
    else
        unroll_taps(s, false);
}
