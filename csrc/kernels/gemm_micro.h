/* gemm_micro.h - the matrix product of one tile, and of a block of rows with one panel.
 *
 * Template parameters (isa/instantiate.h): CDL_VLEN floats in a register; a tile is up to
 * CDL_GEMM_NV registers wide and, at width nv, up to CDL_GEMM_ROWS(nv) rows high.
 *
 * All products of a dense layer are c = init + a b with b a panel:
 *   x W      a = x
 *   dy W^T   the same, b: a panel of w transposed in scratch
 *   x^T dy   a = x^T, which lies as x: `transposed`
 * Those of a convolution are the same with k in runs  (gemm_places, gemm_pairs).
 * Each element is a single chain of k fused multiply-adds in ascending order, whichever tile it
 * falls in: how rows are split among tiles and threads never changes a bit.
 */
/* Flags of a product. Without any: c = init + a b. PLACES: k comes in runs, rows of a are places of
 * a window. PAIRS: k is places of a window, c += a b; the sum begins at 0, so that its error does
 * not grow with what c holds. AHEAD: what taps->ahead says is prefetched. FETCHES: a line from
 * p->prefetch on is, at each step of k. TRANSPOSED: a is. OFFSETS: p->rows and
 * p->steps say where the numbers of a are. */
enum form {
    PLAIN = 0,
    PLACES = 1,
    PAIRS = 2,
    AHEAD = 4,
    FETCHES = 8,
    TRANSPOSED = 16,
    OFFSETS = 32,
    PAIRS_AT = PAIRS | OFFSETS
};

typedef vf tile_sums[CDL_GEMM_ROWS(1)][CDL_GEMM_NV];

CDL_INLINE void accumulate(const size_t mr, const size_t nv, const int form,
                           const struct cdl_product *p, size_t k, const float *a, const float *b,
                           tile_sums acc) {
    const size_t step_i = form & TRANSPOSED ? 1 : p->a.ld, step_p = form & TRANSPOSED ? p->a.ld : 1;
    for (size_t q = 0; q < k; q++) {
        vf row[CDL_GEMM_NV];
        CDL_UNROLL for (size_t j = 0; j < nv; j++) row[j] = vf_load(b + j * CDL_VLEN);
        CDL_UNROLL for (size_t i = 0; i < mr; i++) {
            const vf s = vf_splat(a[i * step_i]);
            CDL_UNROLL for (size_t j = 0; j < nv; j++) acc[i][j] = vf_fma(s, row[j], acc[i][j]);
        }
        if (form & FETCHES) __builtin_prefetch(p->prefetch + q * CDL_LINE, 0, 2);
        if (form & AHEAD) __builtin_prefetch(a + p->taps->ahead, 0, 2);
        a += step_p;
        b += p->b.ld;
    }
}

/* Numbers of a anywhere: a pointer for each row of the tile, an offset for each step of k. */
CDL_INLINE void accumulate_offsets(const size_t mr, const size_t nv, const struct cdl_product *p,
                                   tile_sums acc) {
    const float *at[CDL_GEMM_ROWS(1)], *b = p->b.at;
    CDL_UNROLL for (size_t i = 0; i < mr; i++) at[i] = p->a.at + p->rows[i];
    for (size_t q = 0; q < p->k; q++, b += p->b.ld) {
        const ptrdiff_t step = p->steps[q];
        vf row[CDL_GEMM_NV];
        CDL_UNROLL for (size_t j = 0; j < nv; j++) row[j] = vf_load(b + j * CDL_VLEN);
        CDL_UNROLL for (size_t i = 0; i < mr; i++) {
            const vf s = vf_splat(at[i][step]);
            CDL_UNROLL for (size_t j = 0; j < nv; j++) acc[i][j] = vf_fma(s, row[j], acc[i][j]);
        }
    }
}

CDL_INLINE void accumulate_taps(const size_t mr, const size_t nv, const int form,
                                const struct cdl_product *p, tile_sums acc) {
    const struct cdl_taps *taps = p->taps;
    const float *a = p->a.at, *b = p->b.at;
    for (size_t u = 0; u < taps->n[0]; u++, a += taps->a[0], b += taps->b[0]) {
        const float *a_v = a, *b_v = b;
        for (size_t v = 0; v < taps->n[1]; v++, a_v += taps->a[1], b_v += taps->b[1]) {
            const float *a_w = a_v, *b_w = b_v;
            for (size_t w = 0; w < taps->n[2]; w++, a_w += taps->a[2], b_w += taps->b[2])
                accumulate(mr, nv, form, p, taps->k, a_w, b_w, acc);
        }
    }
}

CDL_INLINE void tile(const size_t mr, const size_t nv, const int form,
                     const struct cdl_product *p) {
    tile_sums acc;
    CDL_UNROLL for (size_t i = 0; i < mr; i++) {
        CDL_UNROLL for (size_t j = 0; j < nv; j++) acc[i][j] =
            form & PAIRS ? vf_splat(0) : vf_load(p->init.at + i * p->init.ld + j * CDL_VLEN);
    }
    if (form & OFFSETS)
        accumulate_offsets(mr, nv, p, acc);
    else if (form & (PLACES | PAIRS))
        accumulate_taps(mr, nv, form, p, acc);
    else
        accumulate(mr, nv, form, p, p->k, p->a.at, p->b.at, acc);
    if (!(form & PAIRS) && p->cuts) {
        CDL_UNROLL for (size_t i = 0; i < mr; i++) {
            CDL_UNROLL for (size_t j = 0; j < nv; j++) acc[i][j] =
                vf_select(acc[i][j] < vf_splat(0), vf_splat(0), acc[i][j]);
        }
    }
    CDL_UNROLL for (size_t i = 0; i < mr; i++) {
        CDL_UNROLL for (size_t j = 0; j < nv; j++) {
            float *to = p->c.at + i * p->c.ld + j * CDL_VLEN;
            vf_store(to, form & PAIRS ? vf_load(to) + acc[i][j] : acc[i][j]);
        }
    }
}

/* The first mr rows. */
// clang-format off
#define CASE(MR) case MR: if (MR <= CDL_GEMM_ROWS(nv)) tile(MR, nv, form, p); break;
CDL_INLINE void tile_of(size_t mr, const size_t nv, const int form, const struct cdl_product *p) {
    switch (mr) {
        CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7)
        CASE(8) CASE(9) CASE(10) CASE(11) CASE(12) CASE(13) CASE(14)
    }
}
#undef CASE
// clang-format on

/* The rows behind the first `rows`, and the columns behind the first `columns`. */
CDL_INLINE void skip_rows(struct cdl_product *p, size_t rows) {
    p->a.at += rows * (p->transposed ? 1 : p->a.ld);
    p->init.at += rows * p->init.ld, p->c.at += rows * p->c.ld;
}
CDL_INLINE struct cdl_product from_column(const struct cdl_product *all, size_t column) {
    struct cdl_product p = *all;
    p.b.at += column, p.init.at += column, p.c.at += column;
    return p;
}

/* nv registers of columns from `column` on. Rows are dealt evenly over the fewest tiles that hold
 * them (32 rows, tiles of 6: 6 6 5 5 5 5). */
CDL_INLINE void panel(const size_t nv, const int form, const struct cdl_product *all,
                      size_t column) {
    const size_t tiles = (all->m + CDL_GEMM_ROWS(nv) - 1) / CDL_GEMM_ROWS(nv);
    struct cdl_product p = from_column(all, column);
    /* No division, which takes as long as a small tile: of `tiles` tiles `lower` lack a row. */
    size_t most = CDL_GEMM_ROWS(nv), lower = tiles * most - all->m;
    for (; tiles && lower >= tiles; lower -= tiles) most--;
    for (size_t t = 0; t < tiles; t++) {
        const size_t mr = most - (t + lower >= tiles);
        if (!(form & OFFSETS) && form != PLACES && p.transposed)
            tile_of(mr, nv, form | TRANSPOSED, &p);
        else
            tile_of(mr, nv, form, &p);
        skip_rows(&p, mr);
        if (form & OFFSETS) p.rows += mr;
    }
}
