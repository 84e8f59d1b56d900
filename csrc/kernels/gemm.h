/* gemm.h - products of blocks: tiles over a panel, single columns, transposition.
 *
 * Part of the ISA template; the tile itself is in gemm_micro.h.
 */
#include "base/param.h"

/* Panels of a product in each form and width. */
#if CDL_GEMM_NV == 4
#define WIDTHS(X, FORM) X(1, FORM) X(2, FORM) X(3, FORM) X(4, FORM)
#else
#define WIDTHS(X, FORM) X(1, FORM) X(2, FORM)
#endif
/* Tiles whose rows have pointers of their own: wider ones would be code for few nets. */
#define NARROW(X, FORM) X(1, FORM) X(2, FORM)
#define PANEL(NV, FORM)                                                                            \
    static void panel_##FORM##_##NV(const struct cdl_product *p, size_t j) {                       \
        panel(NV, FORM, p, j);                                                                     \
    }
WIDTHS(PANEL, PLAIN)
WIDTHS(PANEL, PLACES)
WIDTHS(PANEL, PAIRS)
NARROW(PANEL, OFFSETS)
NARROW(PANEL, PAIRS_AT)
#undef PANEL

typedef void panel_fn(const struct cdl_product *p, size_t column);
#define PANEL(NV, FORM) panel_##FORM##_##NV,
static panel_fn *const panels_PLAIN[] = {WIDTHS(PANEL, PLAIN)};
static panel_fn *const panels_PLACES[] = {WIDTHS(PANEL, PLACES)};
static panel_fn *const panels_PAIRS[] = {WIDTHS(PANEL, PAIRS)};
static panel_fn *const panels_OFFSETS[] = {NARROW(PANEL, OFFSETS)};
static panel_fn *const panels_PAIRS_AT[] = {NARROW(PANEL, PAIRS_AT)};
#undef PANEL
#undef WIDTHS
#undef NARROW

/* All columns, in registers; those of pads alone are left out, and get what init has. */
CDL_INLINE void multiply(panel_fn *const *panels, const size_t nv, const struct cdl_product *p) {
    const size_t width = cdl_round_up(p->n, CDL_LINE), live = cdl_round_up(p->n, CDL_VLEN);
    assert(p->n > 0 && width <= CDL_PANEL && are_rows(p->m, width, p->c.at, p->c.ld));
    assert(p->m == 0 || p->taps || are_rows(p->k, width, p->b.at, p->b.ld));
    assert(p->m == 0 || (p->a.at && p->init.at && (p->init.ld == 0 || p->init.ld >= width)));
    assert(p->m == 0 || p->k == 0 ||
           are_apart(p->c.at, (p->m - 1) * p->c.ld + width, p->b.at, (p->k - 1) * p->b.ld + width));
    for (size_t j = 0; j < live; j += nv * CDL_VLEN)
        panels[cdl_min((live - j) / CDL_VLEN, nv) - 1](p, j);
    if (CDL_VLEN == CDL_LINE || live == width) return;
    for (size_t j = live; j < width; j += CDL_VLEN) {
        struct cdl_product pads = from_column(p, j);
        for (size_t i = 0; i < p->m; i++, skip_rows(&pads, 1))
            vf_store(pads.c.at, vf_load(pads.init.at));
    }
}

static void gemm(const struct cdl_product *p) { multiply(panels_PLAIN, CDL_GEMM_NV, p); }
static void gemm_places(const struct cdl_product *p) {
    assert(is_whole(p->n) && p->taps && !p->transposed);
    multiply(panels_PLACES, CDL_GEMM_NV, p);
}

/* A whole panel in tiles of the widest, which prefetch; those of few rows do not, and none does
 * from `end` on. */
CDL_INLINE void fetching(const int form, panel_fn *const *panels, const struct cdl_product *all,
                         const float *end) {
    enum { NV = CDL_GEMM_NV, ROWS = CDL_GEMM_ROWS(CDL_GEMM_NV) };
    const size_t tiles = (all->m + ROWS - 1) / ROWS;
    const float *prefetch = all->prefetch;
    assert(all->n == CDL_PANEL);
    for (size_t j = 0; j < CDL_PANEL; j += NV * CDL_VLEN) {
        struct cdl_product p = from_column(all, j);
        for (size_t t = 0; t < tiles; t++, skip_rows(&p, p.m)) {
            p.m = all->m / tiles + (t < all->m % tiles), p.prefetch = prefetch;
            if (form & FETCHES) prefetch += p.k * CDL_LINE;
            const bool fetches = !(form & FETCHES) || p.prefetch < end;
            if (fetches && p.m == ROWS)
                tile(ROWS, NV, form, &p);
            else if (fetches && p.m == ROWS - 1)
                tile(ROWS - 1, NV, form, &p);
            else
                panels[NV - 1](&p, 0);
        }
    }
}

/* Each tile prefetches k lines of what lies between p->prefetch and `end`. */
static void gemm_prefetch(const struct cdl_product *p, const float *end) {
    assert(!p->transposed && p->init.at && (p->init.ld == 0 || p->init.ld >= CDL_PANEL));
    fetching(FETCHES, panels_PLAIN, p, end);
}
static void gemm_pairs(const struct cdl_product *p) {
    assert(is_whole(p->n) && p->taps);
    if (p->taps->ahead && p->n == CDL_PANEL && p->transposed)
        fetching(PAIRS | AHEAD | TRANSPOSED, panels_PAIRS, p, NULL);
    else
        multiply(panels_PAIRS, CDL_GEMM_NV, p);
}

static void gemm_offsets(const struct cdl_product *p, bool pairs) {
    assert(is_whole(p->n) && p->rows && p->steps && !p->transposed && p->a.ld == 0);
    multiply(pairs ? panels_PAIRS_AT : panels_OFFSETS, 2, p);
}

/* The first n floats of a row that is no longer than a register, whose other lanes hold anything.
 * From `end` on nothing may be read. */
CDL_INLINE vf vf_short(size_t n, const float *x, const float *end) {
    if (end - x >= CDL_VLEN) return vf_load(x);
    _Alignas(64) float few[CDL_VLEN] = {0};
    copy_run(n, x, few);
    return vf_load(few);
}

/* Rows no longer than a line, as many as a register has lanes, transposed: one chain of sums a
 * row. */
static void dot_short(size_t rows, size_t k, const float *a, size_t lda, const float *end,
                      const float *w, float bias, float *c) {
    vf sum = vf_splat(bias);
    for (size_t b = 0; b < k; b += CDL_VLEN) {
        vf v[CDL_VLEN];
        CDL_UNROLL for (size_t r = 0; r < CDL_VLEN; r++) v[r] =
            r < rows ? vf_short(cdl_min(k - b, CDL_VLEN), a + r * lda + b, end) : vf_splat(0);
        vf_transpose(v);
        CDL_UNROLL for (size_t p = 0; p < CDL_VLEN; p++) {
            if (b + p < k) sum = vf_fma(v[p], vf_splat(w[b + p]), sum);
        }
    }
    _Alignas(64) float few[CDL_VLEN];
    vf_store(rows == CDL_VLEN ? c : few, sum);
    if (rows < CDL_VLEN) copy_run(rows, few, c);
}

/* Products of some rows with w, which they load together, eight chains in all; `rest`: what is left
 * of w behind whole lines, in the last lanes of one. */
enum { DOT_ROWS = 8 / PARTS };
static __attribute__((noinline)) void dot_some(size_t k, const float *const a[DOT_ROWS],
                                               const float *w, const vf rest[PARTS],
                                               vf sum[DOT_ROWS]) {
    vf part[DOT_ROWS][PARTS] = {{{0}}};
    size_t p = 0;
    for (; p + CDL_LINE <= k; p += CDL_LINE) {
        EACH_PART(v) {
            const vf s = vf_load(w + p + v * CDL_VLEN);
            CDL_UNROLL for (size_t r = 0; r < DOT_ROWS; r++) part[r][v] =
                vf_fma(vf_load(a[r] + p + v * CDL_VLEN), s, part[r][v]);
        }
    }
    for (size_t v = 0; v < PARTS && p < k; v++) {
        const vi left = ~vf_below(CDL_LINE - k % CDL_LINE, v * CDL_VLEN);
        CDL_UNROLL for (size_t r = 0; r < DOT_ROWS; r++) part[r][v] =
            vf_fma(vf_select(left, vf_load(a[r] + k - CDL_LINE + v * CDL_VLEN), vf_splat(0)),
                   rest[v], part[r][v]);
    }
    CDL_UNROLL for (size_t r = 0; r < DOT_ROWS; r++) sum[r] = vf_joined(part[r]);
}

/* Sums of the lanes of as many registers as one has lanes, each in the order of vf_sum. */
CDL_INLINE vf vf_sums(vf v[CDL_VLEN]) {
    vf_transpose(v);
    CDL_UNROLL for (size_t step = CDL_VLEN / 2; step > 0; step /= 2) {
        CDL_UNROLL for (size_t t = 0; t < step; t++) v[t] += v[t + step];
    }
    return v[0];
}

/* Longer rows: a register of sums for each. */
static void dot_long(size_t rows, size_t k, const float *a, size_t lda, const float *w,
                     const vf rest[PARTS], float bias, float *c) {
    vf sum[CDL_VLEN];
    for (size_t r = 0; r < rows; r += DOT_ROWS) {
        const float *some[DOT_ROWS];
        CDL_UNROLL for (size_t t = 0; t < DOT_ROWS; t++) some[t] =
            a + (r + t < rows ? r + t : rows - 1) * lda;
        dot_some(k, some, w, rest, sum + r);
    }
    if (rows < CDL_VLEN) {
        for (size_t r = 0; r < rows; r++) c[r] = bias + vf_sum(sum[r]);
        return;
    }
    vf_store(c, vf_splat(bias) + vf_sums(sum));
}

static void dot_rows(size_t m, size_t k, const float *a, size_t lda, bool padded, const float *w,
                     float bias, float *c) {
    assert(k > 0 && w && are_rows(m, k, a, lda) && (m == 0 || c));
    if (k == 1) {
        for (size_t i = 0; i < m; i++) c[i] = fma_f(a[i * lda], w[0], bias);
        return;
    }
    const float *end = padded ? a + m * lda : a + (m - 1) * lda + k;
    vf rest[PARTS] = {{0}};
    for (size_t v = 0; v < PARTS && k > CDL_LINE; v++)
        rest[v] = vf_select(~vf_below(CDL_LINE - k % CDL_LINE, v * CDL_VLEN),
                            vf_load(w + k - CDL_LINE + v * CDL_VLEN), rest[v]);
    for (size_t i = 0, rows; i < m; i += rows) {
        rows = cdl_min(m - i, CDL_VLEN);
        if (k <= CDL_LINE)
            dot_short(rows, k, a + i * lda, lda, end, w, bias, c + i);
        else
            dot_long(rows, k, a + i * lda, lda, w, rest, bias, c + i);
    }
}

/* Sums of some rows of w in panels, a line of them a row: at least eight chains, and no more than
 * registers. Only the first `live` rows count. */
enum { PANEL_ROWS = CDL_VLEN == 8 ? 4 : CDL_VLEN };
CDL_INLINE void panel_sums(size_t live, const struct cdl_param *w, const float *x, size_t row,
                           vf sum[PANEL_ROWS]) {
    vf part[PANEL_ROWS][PARTS] = {{{0}}};
    for (size_t q = 0; q < w->cols; q += CDL_PANEL) {
        const size_t width = cdl_panel_width(w->cols, q);
        const float *from = w->w + q * w->rows + row * width;
        for (size_t b = 0; b < width; b += CDL_LINE) {
            EACH_PART(v) {
                const size_t at = b + v * CDL_VLEN;
                const vf s = vf_load(x + q + at);
                CDL_UNROLL for (size_t t = 0; t < PANEL_ROWS; t++) {
                    if (t < live)
                        part[t][v] = vf_fma(vf_load(from + t * width + at), s, part[t][v]);
                }
            }
        }
    }
    CDL_UNROLL for (size_t t = 0; t < PANEL_ROWS; t++) sum[t] = vf_joined(part[t]);
}

/* Registers of the sums of as many rows of w as one has lanes, transposed and added up, are a
 * register of c. For each row of a, w is read once, while only a register in n is transposed. */
static void dot_panels(const struct cdl_param *w, size_t row, size_t rows, size_t m,
                       struct cdl_matrix a, struct cdl_output c) {
    assert(row + rows <= w->rows && are_padded(m, w->cols, a.at, a.ld));
    assert(are_rows(m, cdl_round_up(rows, CDL_LINE), c.at, c.ld));
    for (size_t r = 0; r < cdl_round_up(rows, CDL_LINE); r += CDL_VLEN) {
        const size_t left = r < rows ? rows - r : 0;
        for (size_t i = 0; i < m; i++) {
            const float *x = a.at + i * a.ld;
            vf sum[CDL_VLEN];
            for (size_t g = 0; g < CDL_VLEN; g += PANEL_ROWS) {
                if (left >= g + PANEL_ROWS)
                    panel_sums(PANEL_ROWS, w, x, row + r + g, sum + g);
                else
                    panel_sums(left > g ? left - g : 0, w, x, row + r + g, sum + g);
            }
            vf_store(c.at + i * c.ld + r, vf_sums(sum));
        }
    }
}

static void weighted_sum(size_t rows, size_t n, const float *a, size_t lda, const float *d,
                         float *restrict g) {
    assert(are_padded(rows, n, a, lda) && (rows == 0 || d) && g);
    const size_t width = cdl_padded(n);
    for (size_t j = 0; j < width; j++) g[j] = 0.0f;
    for (size_t r = 0; r < rows; r++, a += lda) {
        const float s = d[r];
        for (size_t j = 0; j < width; j++) g[j] = fma_f(s, a[j], g[j]);
    }
}

static void outer(size_t m, size_t n, const float *d, const float *w, float *restrict dx,
                  size_t lddx) {
    assert(are_padded(m, n, dx, lddx) && (m == 0 || d) && w);
    const size_t width = cdl_padded(n);
    for (size_t i = 0; i < m; i++, dx += lddx) {
        const float s = d[i];
        for (size_t j = 0; j < width; j++) dx[j] = s * w[j];
    }
}

/* Sums of nv registers of columns stay in registers while all rows pass. */
CDL_INLINE void some_column_sums(const size_t nv, size_t rows, const float *y, size_t ldy,
                                 float *restrict g) {
    vf sum[4];
    CDL_UNROLL for (size_t v = 0; v < nv; v++) sum[v] = vf_splat(0);
    for (size_t r = 0; r < rows; r++, y += ldy) {
        CDL_UNROLL for (size_t v = 0; v < nv; v++) sum[v] += vf_load(y + v * CDL_VLEN);
    }
    CDL_UNROLL for (size_t v = 0; v < nv; v++) vf_store(g + v * CDL_VLEN, sum[v]);
}

static void column_sums(size_t rows, size_t n, const float *y, size_t ldy, float *restrict g) {
    assert(are_rows(rows, n, y, ldy) && g);
    size_t j = 0;
    for (; j + 4 * CDL_VLEN <= n; j += 4 * CDL_VLEN) some_column_sums(4, rows, y + j, ldy, g + j);
    for (; j + 2 * CDL_VLEN <= n; j += 2 * CDL_VLEN) some_column_sums(2, rows, y + j, ldy, g + j);
    for (; j + CDL_VLEN <= n; j += CDL_VLEN) some_column_sums(1, rows, y + j, ldy, g + j);
    for (; j < n; j++) {
        float sum = 0.0f;
        for (size_t r = 0; r < rows; r++) sum += y[r * ldy + j];
        g[j] = sum;
    }
}

static void transpose_line(size_t n, const float *src, size_t lds, float *dst, size_t ldd) {
    for (size_t i = 0; i < n; i++) dst[i * ldd] = src[i * lds];
}

/* The rows of the next square are asked for while one is transposed: the hardware does not see them
 * coming, and a step of a net of 20 x 256 took 4 % longer without. */
static void transpose(size_t rows, size_t cols, const float *src, size_t lds, float *restrict dst,
                      size_t ldd) {
    assert(are_rows(rows, cols, src, lds) && are_rows(cols, rows, dst, ldd));
    if (rows == 1) {
        transpose_line(cols, src, 1, dst, ldd);
        return;
    }
    if (cols == 1) {
        transpose_line(rows, src, lds, dst, 1);
        return;
    }
    for (size_t r = 0; r < cdl_padded(rows); r += CDL_VLEN) {
        for (size_t c = 0; c < cols; c += CDL_VLEN) {
            const float *from = src + r * lds + c;
            float *to = dst + c * ldd + r;
            vf v[CDL_VLEN];
            if (r + CDL_VLEN <= rows && c + CDL_VLEN <= cols) {
                CDL_UNROLL for (size_t i = 0; i < CDL_VLEN; i++) {
                    v[i] = vf_load(from + i * lds);
                    __builtin_prefetch(from + (i + CDL_VLEN) * lds);
                }
                vf_transpose(v);
                CDL_UNROLL for (size_t i = 0; i < CDL_VLEN; i++) vf_store(to + i * ldd, v[i]);
                continue;
            }
            CDL_UNROLL for (size_t i = 0; i < CDL_VLEN; i++) v[i] =
                r + i < rows ? vf_load(from + i * lds) : vf_splat(0);
            vf_transpose(v);
            CDL_UNROLL for (size_t i = 0; i < CDL_VLEN; i++) {
                if (c + i < cols) vf_store(to + i * ldd, v[i]);
            }
        }
    }
}
