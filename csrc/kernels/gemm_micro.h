/* gemm_micro.h - the matrix product of one tile, and of a block of rows with one panel.
 *
 * Template parameters (isa/instantiate.h): CDL_VLEN floats in a register; a tile is up to
 * CDL_GEMM_NV registers wide and, at width nv, up to CDL_GEMM_ROWS(nv) rows high.
 *
 * All products of a dense layer are c = init + A b with b a panel of rows of `width` floats:
 *   x W      A = x, rows apart by lda, k contiguous     (gemm_rows)
 *   dy W^T   the same, with the transposed copy as b    (gemm_rows)
 *   x^T dy   A = x^T: k apart by lda, rows contiguous   (gemm_columns)
 * Those of a convolution are the same with k in runs  (gemm_places, gemm_pairs).
 * `ask`, unless it is NULL: a line of memory is asked for at each step of k, from there on.
 * Each element is a single chain of k fused multiply-adds in ascending order, whichever tile it
 * falls in: how rows are split among tiles and threads never changes a bit.
 */
/* A lone chain of multiply-adds GCC splits in two instructions for speed (avoid-fma-max-bits), so
 * that a tile of one register would round otherwise than all others. It must not see the chain. */
#if defined(__x86_64__) && !defined(__clang__)
#define KEEP_FUSED(ACC) __asm__("" : "+x"(ACC))
#else
#define KEEP_FUSED(ACC) (void)(ACC)
#endif

typedef vf tile_sums[CDL_GEMM_ROWS(1)][CDL_GEMM_NV];

CDL_INLINE void load_tile(const size_t mr, const size_t nv, const float *init, size_t ldi,
                          tile_sums acc) {
    CDL_UNROLL for (size_t i = 0; i < mr; i++) {
        CDL_UNROLL for (size_t j = 0; j < nv; j++) acc[i][j] =
            vf_load(init + i * ldi + j * CDL_VLEN);
    }
}

CDL_INLINE void accumulate(const size_t mr, const size_t nv, size_t k, const float *a,
                           size_t step_i, size_t step_p, const float *b, size_t ldb, tile_sums acc,
                           const float *ask) {
    for (size_t p = 0; p < k; p++) {
        vf row[CDL_GEMM_NV];
        CDL_UNROLL for (size_t j = 0; j < nv; j++) row[j] = vf_load(b + j * CDL_VLEN);
        CDL_UNROLL for (size_t i = 0; i < mr; i++) {
            const vf s = vf_splat(a[i * step_i]);
            CDL_UNROLL for (size_t j = 0; j < nv; j++) acc[i][j] += s * row[j];
        }
        if (mr * nv == 1) KEEP_FUSED(acc[0][0]);
        if (ask) __builtin_prefetch(ask + p * CDL_LINE, 0, 2);
        a += step_p;
        b += ldb;
    }
}

CDL_INLINE void store_tile(const size_t mr, const size_t nv, const tile_sums acc, float *c,
                           size_t ldc) {
    CDL_UNROLL for (size_t i = 0; i < mr; i++) {
        CDL_UNROLL for (size_t j = 0; j < nv; j++) vf_store(c + i * ldc + j * CDL_VLEN, acc[i][j]);
    }
}

CDL_INLINE void tile(const size_t mr, const size_t nv, size_t k, const float *a, size_t step_i,
                     size_t step_p, const float *b, size_t ldb, const float *init, size_t ldi,
                     float *c, size_t ldc, const float *ask) {
    tile_sums acc;
    load_tile(mr, nv, init, ldi, acc);
    accumulate(mr, nv, k, a, step_i, step_p, b, ldb, acc, ask);
    store_tile(mr, nv, acc, c, ldc);
}

#define CASE(MR)                                                                                   \
    case MR:                                                                                       \
        if (MR <= CDL_GEMM_ROWS(nv))                                                               \
            tile(MR, nv, k, a, step_i, step_p, b, ldb, init, ldi, c, ldc, NULL);                   \
        break;

static inline __attribute__((always_inline)) void
tile_of(size_t mr, const size_t nv, size_t k, const float *a, size_t step_i, size_t step_p,
        const float *b, size_t ldb, const float *init, size_t ldi, float *c, size_t ldc) {
    switch (mr) {
        CASE(1)
        CASE(2)
        CASE(3)
        CASE(4) CASE(5) CASE(6) CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12) CASE(13) CASE(14)
    }
}
#undef CASE

/* The same where k comes in runs: each of a window's taps has one. */
CDL_INLINE void accumulate_taps(const size_t mr, const size_t nv, const struct cdl_taps *taps,
                                const float *a, size_t step_i, size_t step_p, const float *b,
                                size_t ldb, tile_sums acc) {
    for (size_t u = 0; u < taps->n[0]; u++, a += taps->a[0], b += taps->b[0]) {
        const float *a_v = a, *b_v = b;
        for (size_t v = 0; v < taps->n[1]; v++, a_v += taps->a[1], b_v += taps->b[1]) {
            const float *a_w = a_v, *b_w = b_v;
            for (size_t w = 0; w < taps->n[2]; w++, a_w += taps->a[2], b_w += taps->b[2])
                accumulate(mr, nv, taps->k, a_w, step_i, step_p, b_w, ldb, acc, NULL);
        }
    }
}

/* Rows of a are places of a window: c = init + the sum, or 0 where that is negative and it `cuts`.
 */
CDL_INLINE void place_tile(const size_t mr, const size_t nv, const struct cdl_taps *taps,
                           const float *a, size_t step_i, size_t step_p, const float *b, size_t ldb,
                           const float *init, size_t ldi, bool cuts, float *c, size_t ldc) {
    tile_sums acc;
    load_tile(mr, nv, init, ldi, acc);
    accumulate_taps(mr, nv, taps, a, step_i, step_p, b, ldb, acc);
    if (cuts) {
        CDL_UNROLL for (size_t i = 0; i < mr; i++) {
            CDL_UNROLL for (size_t j = 0; j < nv; j++) acc[i][j] =
                vf_select(acc[i][j] < vf_splat(0), vf_splat(0), acc[i][j]);
        }
    }
    store_tile(mr, nv, acc, c, ldc);
}

/* k is places of a window: c += the sum, which begins at 0, so that its error does not grow with
 * what c holds. */
CDL_INLINE void pair_tile(const size_t mr, const size_t nv, const struct cdl_taps *taps,
                          const float *a, size_t step_i, size_t step_p, const float *b, size_t ldb,
                          float *c, size_t ldc) {
    tile_sums acc;
    CDL_UNROLL for (size_t i = 0; i < mr; i++) {
        CDL_UNROLL for (size_t j = 0; j < nv; j++) acc[i][j] = vf_splat(0);
    }
    accumulate_taps(mr, nv, taps, a, step_i, step_p, b, ldb, acc);
    CDL_UNROLL for (size_t i = 0; i < mr; i++) {
        CDL_UNROLL for (size_t j = 0; j < nv; j++) {
            float *to = c + i * ldc + j * CDL_VLEN;
            vf_store(to, vf_load(to) + acc[i][j]);
        }
    }
}

#define CASE(MR)                                                                                   \
    case MR:                                                                                       \
        if (MR <= CDL_GEMM_ROWS(nv))                                                               \
            place_tile(MR, nv, taps, a, step_i, step_p, b, ldb, init, ldi, cuts, c, ldc);          \
        break;

CDL_INLINE void place_tile_of(size_t mr, const size_t nv, const struct cdl_taps *taps,
                              const float *a, size_t step_i, size_t step_p, const float *b,
                              size_t ldb, const float *init, size_t ldi, bool cuts, float *c,
                              size_t ldc) {
    switch (mr) {
        CASE(1)
        CASE(2)
        CASE(3)
        CASE(4) CASE(5) CASE(6) CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12) CASE(13) CASE(14)
    }
}
#undef CASE
#define CASE(MR)                                                                                   \
    case MR:                                                                                       \
        if (MR <= CDL_GEMM_ROWS(nv)) pair_tile(MR, nv, taps, a, step_i, step_p, b, ldb, c, ldc);   \
        break;

CDL_INLINE void pair_tile_of(size_t mr, const size_t nv, const struct cdl_taps *taps,
                             const float *a, size_t step_i, size_t step_p, const float *b,
                             size_t ldb, float *c, size_t ldc) {
    switch (mr) {
        CASE(1)
        CASE(2)
        CASE(3)
        CASE(4) CASE(5) CASE(6) CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12) CASE(13) CASE(14)
    }
}
#undef CASE
