/* gemm_micro.h - the matrix product of one tile, and of a block of rows with one panel.
 *
 * Template parameters (isa/instantiate.h): CDL_VLEN floats in a register; a tile is up to
 * CDL_GEMM_NV registers wide and, at width nv, up to CDL_GEMM_ROWS(nv) rows high.
 *
 * All products of a dense layer are c = init + A b with b a panel of rows of `width` floats:
 *   x W      A = x, rows apart by lda, k contiguous     (gemm_rows)
 *   dy W^T   the same, with the transposed copy as b    (gemm_rows)
 *   x^T dy   A = x^T: k apart by lda, rows contiguous   (gemm_columns)
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

static inline __attribute__((always_inline)) void tile(const size_t mr, const size_t nv, size_t k,
                                                       const float *a, size_t step_i, size_t step_p,
                                                       const float *b, size_t ldb,
                                                       const float *init, size_t ldi, float *c,
                                                       size_t ldc, const float *ask) {
    vf acc[CDL_GEMM_ROWS(1)][CDL_GEMM_NV];
    CDL_UNROLL for (size_t i = 0; i < mr; i++) {
        CDL_UNROLL for (size_t j = 0; j < nv; j++) acc[i][j] =
            vf_load(init + i * ldi + j * CDL_VLEN);
    }
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
    CDL_UNROLL for (size_t i = 0; i < mr; i++) {
        CDL_UNROLL for (size_t j = 0; j < nv; j++) vf_store(c + i * ldc + j * CDL_VLEN, acc[i][j]);
    }
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
#undef KEEP_FUSED
