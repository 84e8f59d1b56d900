/* gemm_micro.h - the matrix product of one tile, and of a block of rows with one panel.
 *
 * Template parameters (isa/instantiate.h): CDL_VLEN floats in a register; a tile is up to
 * CDL_GEMM_NV registers wide and, at width nv, up to CDL_GEMM_ROWS(nv) rows high.
 *
 * All products of a dense layer are c = init + A b with b a panel of rows of `width` floats:
 *   x W      A = x, rows apart by lda, k contiguous     (gemm_rows)
 *   dy W^T   the same, b: a panel of w transposed in scratch    (gemm_rows)
 *   x^T dy   A = x^T: k apart by lda, rows contiguous   (gemm_columns)
 * Those of a convolution are the same with k in runs  (gemm_places, gemm_pairs).
 * Each element is a single chain of k fused multiply-adds in ascending order, whichever tile it
 * falls in: how rows are split among tiles and threads never changes a bit.
 */
/* What a product is. PLAIN: c = init + a b. PLACES: k comes in runs, rows of a are places of a
 * window, and what is negative becomes 0 if it `cuts`. PAIRS: k is places of a window, c += a b;
 * the sum begins at 0, so that its error does not grow with what c holds. AHEAD: that, and what
 * taps->ahead says is prefetched. */
enum form { PLAIN, PLACES, PAIRS, AHEAD };

/* a[i, p] is a[i step_i + p step_p], of which steps one is 1; rows of b are ldb apart. */
struct product {
    size_t m, k;
    const struct cdl_taps *taps; /* in place of k, but for a plain product */
    const float *a;
    size_t step_i, step_p;
    const float *b;
    size_t ldb;
    const float *init;
    size_t ldi;
    bool cuts;
    float *c;
    size_t ldc;
};

typedef vf tile_sums[CDL_GEMM_ROWS(1)][CDL_GEMM_NV];

/* `prefetch`, unless it is NULL: a line of memory is prefetched at each step of k, from there on.
 */
CDL_INLINE void accumulate(const size_t mr, const size_t nv, const enum form form,
                           const struct product *p, size_t k, const float *a, const float *b,
                           const float *prefetch, tile_sums acc) {
    for (size_t q = 0; q < k; q++) {
        vf row[CDL_GEMM_NV];
        CDL_UNROLL for (size_t j = 0; j < nv; j++) row[j] = vf_load(b + j * CDL_VLEN);
        CDL_UNROLL for (size_t i = 0; i < mr; i++) {
            const vf s = vf_splat(a[i * p->step_i]);
            CDL_UNROLL for (size_t j = 0; j < nv; j++) acc[i][j] = vf_fma(s, row[j], acc[i][j]);
        }
        if (prefetch) __builtin_prefetch(prefetch + q * CDL_LINE, 0, 2);
        if (form == AHEAD) __builtin_prefetch(a + p->taps->ahead, 0, 2);
        a += p->step_p;
        b += p->ldb;
    }
}

/* The same where k comes in runs: each of a window's taps has one. */
CDL_INLINE void accumulate_taps(const size_t mr, const size_t nv, const enum form form,
                                const struct product *p, tile_sums acc) {
    const struct cdl_taps *taps = p->taps;
    const float *a = p->a, *b = p->b;
    for (size_t u = 0; u < taps->n[0]; u++, a += taps->a[0], b += taps->b[0]) {
        const float *a_v = a, *b_v = b;
        for (size_t v = 0; v < taps->n[1]; v++, a_v += taps->a[1], b_v += taps->b[1]) {
            const float *a_w = a_v, *b_w = b_v;
            for (size_t w = 0; w < taps->n[2]; w++, a_w += taps->a[2], b_w += taps->b[2])
                accumulate(mr, nv, form, p, taps->k, a_w, b_w, NULL, acc);
        }
    }
}

CDL_INLINE void tile(const size_t mr, const size_t nv, const enum form form,
                     const struct product *p, const float *prefetch) {
    const bool adds = form == PAIRS || form == AHEAD;
    tile_sums acc;
    CDL_UNROLL for (size_t i = 0; i < mr; i++) {
        CDL_UNROLL for (size_t j = 0; j < nv; j++) acc[i][j] =
            adds ? vf_splat(0) : vf_load(p->init + i * p->ldi + j * CDL_VLEN);
    }
    if (form == PLAIN)
        accumulate(mr, nv, form, p, p->k, p->a, p->b, prefetch, acc);
    else
        accumulate_taps(mr, nv, form, p, acc);
    if (form == PLACES && p->cuts) {
        CDL_UNROLL for (size_t i = 0; i < mr; i++) {
            CDL_UNROLL for (size_t j = 0; j < nv; j++) acc[i][j] =
                vf_select(acc[i][j] < vf_splat(0), vf_splat(0), acc[i][j]);
        }
    }
    CDL_UNROLL for (size_t i = 0; i < mr; i++) {
        CDL_UNROLL for (size_t j = 0; j < nv; j++) {
            float *to = p->c + i * p->ldc + j * CDL_VLEN;
            vf_store(to, adds ? vf_load(to) + acc[i][j] : acc[i][j]);
        }
    }
}

/* The first mr rows. */
// clang-format off
#define CASE(MR) case MR: if (MR <= CDL_GEMM_ROWS(nv)) tile(MR, nv, form, p, NULL); break;
CDL_INLINE void tile_of(size_t mr, const size_t nv, const enum form form, const struct product *p) {
    switch (mr) {
        CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7)
        CASE(8) CASE(9) CASE(10) CASE(11) CASE(12) CASE(13) CASE(14)
    }
}
#undef CASE
// clang-format on

/* nv registers of columns from `column` on. Rows are dealt evenly over the fewest tiles that hold
 * them (32 rows, tiles of 6: 6 6 5 5 5 5). */
CDL_INLINE void panel(const size_t nv, const enum form form, const struct product *all,
                      size_t column) {
    const size_t m = all->m, tiles = (m + CDL_GEMM_ROWS(nv) - 1) / CDL_GEMM_ROWS(nv);
    struct product p = *all;
    p.b += column, p.init += column, p.c += column;
    for (size_t t = 0; t < tiles; t++) {
        const size_t mr = m / tiles + (t < m % tiles);
        if (p.step_p == 1) {
            struct product rows = p;
            rows.step_p = 1;
            tile_of(mr, nv, form, &rows);
        } else {
            struct product columns = p;
            columns.step_i = 1;
            tile_of(mr, nv, form, &columns);
        }
        p.a += mr * p.step_i, p.init += mr * p.ldi, p.c += mr * p.ldc;
    }
}
