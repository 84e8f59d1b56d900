/* vec.h - one vector of floats of the ISA's width, by the compiler's vector extension.
 *
 * The template (isa/instantiate.h) defines CDL_VLEN, the number of floats in a register, before
 * it includes this file. Loads and stores go through a type of their own, which needs no alignment
 * and may alias plain floats: GCC 14 for ARM fails on arguments of such a type.
 */
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

typedef float vf __attribute__((vector_size(CDL_VLEN * 4)));
typedef float vf_anywhere __attribute__((vector_size(CDL_VLEN * 4), aligned(4), may_alias));

/* CDL_IN_PLACE: a turn of the loop writes no number that another one reads, though the result may
 * be an operand. gcc then makes no second loop for memory that overlaps. */
#if defined(__clang__)
#define CDL_UNROLL _Pragma("clang loop unroll(full)")
#define CDL_IN_PLACE
#else
#define CDL_UNROLL _Pragma("GCC unroll 16")
#define CDL_IN_PLACE _Pragma("GCC ivdep")
#endif

CDL_INLINE vf vf_load(const float *p) { return *(const vf_anywhere *)p; }
CDL_INLINE void vf_store(float *p, vf v) { *(vf_anywhere *)p = v; }

/* a b + c, rounded once but on the baseline: see fma_f of math.h. */
#if !defined(CDL_FUSED)
CDL_INLINE vf vf_fma(vf a, vf b, vf c) { return a * b + c; }
#elif CDL_VLEN == 16
CDL_INLINE vf vf_fma(vf a, vf b, vf c) { return (vf)_mm512_fmadd_ps(a, b, c); }
#elif CDL_VLEN == 8
CDL_INLINE vf vf_fma(vf a, vf b, vf c) { return (vf)_mm256_fmadd_ps(a, b, c); }
#else
CDL_INLINE vf vf_fma(vf a, vf b, vf c) { return (vf)vfmaq_f32(c, a, b); }
#endif

/* s - {} and not {} + s: the sum would have to keep -0.0, so GCC would go through a register
 * where the difference folds into a broadcasting load (half the throughput otherwise). */
CDL_INLINE vf vf_splat(float s) { return s - (vf){0}; }

/* ---- lanes: masks and reductions across a register ------------------------------------------- */

typedef int32_t vi __attribute__((vector_size(CDL_VLEN * 4)));
typedef uint32_t vu __attribute__((vector_size(CDL_VLEN * 4)));

#if CDL_VLEN == 16
#define VF_LANES ((vi){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15})
#define VF_ROTATE8(V)                                                                              \
    __builtin_shufflevector(V, V, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7)
#define VF_ROTATE4(V)                                                                              \
    __builtin_shufflevector(V, V, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3)
#define VF_ROTATE2(V)                                                                              \
    __builtin_shufflevector(V, V, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1)
#define VF_ROTATE1(V)                                                                              \
    __builtin_shufflevector(V, V, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0)
#elif CDL_VLEN == 8
#define VF_LANES ((vi){0, 1, 2, 3, 4, 5, 6, 7})
#define VF_ROTATE8(V) (V)
#define VF_ROTATE4(V) __builtin_shufflevector(V, V, 4, 5, 6, 7, 0, 1, 2, 3)
#define VF_ROTATE2(V) __builtin_shufflevector(V, V, 2, 3, 4, 5, 6, 7, 0, 1)
#define VF_ROTATE1(V) __builtin_shufflevector(V, V, 1, 2, 3, 4, 5, 6, 7, 0)
#else
#define VF_LANES ((vi){0, 1, 2, 3})
#define VF_ROTATE8(V) (V)
#define VF_ROTATE4(V) (V)
#define VF_ROTATE2(V) __builtin_shufflevector(V, V, 2, 3, 0, 1)
#define VF_ROTATE1(V) __builtin_shufflevector(V, V, 1, 2, 3, 0)
#endif

/* a where the mask's lane is -1, b where it is 0 (what comparisons of vectors give). */
CDL_INLINE vf vf_select(vi mask, vf a, vf b) { return (vf)(((vi)a & mask) | ((vi)b & ~mask)); }
CDL_INLINE vf vf_max(vf a, vf b) { return vf_select(a > b, a, b); }

/* Lanes [from, n): -1; the others 0. */
CDL_INLINE vi vf_below(size_t n, size_t from) {
    const size_t left = n > from ? n - from : 0;
    return VF_LANES < (int32_t)(left < CDL_VLEN ? left : CDL_VLEN) - (vi){0};
}

CDL_INLINE float vf_sum(vf v) {
    if (CDL_VLEN > 8) v += VF_ROTATE8(v);
    if (CDL_VLEN > 4) v += VF_ROTATE4(v);
    v += VF_ROTATE2(v);
    v += VF_ROTATE1(v);
    return v[0];
}

/* Sums along a line have sixteen lanes on each ISA, PARTS registers, and are added up by halves:
 * so their order, and their bits, are the same on all. */
enum { PARTS = CDL_LINE / CDL_VLEN };
#define EACH_PART(P) CDL_UNROLL for (size_t P = 0; P < PARTS; P++)
CDL_INLINE vf vf_joined(const vf part[PARTS]) {
    return PARTS == 4   ? (part[0] + part[PARTS / 2]) + (part[PARTS / 4] + part[PARTS * 3 / 4])
           : PARTS == 2 ? part[0] + part[PARTS / 2]
                        : part[0];
}
CDL_INLINE float parts_sum(const vf part[PARTS]) { return vf_sum(vf_joined(part)); }

CDL_INLINE float vf_top(vf v) {
    if (CDL_VLEN > 8) v = vf_max(v, VF_ROTATE8(v));
    if (CDL_VLEN > 4) v = vf_max(v, VF_ROTATE4(v));
    v = vf_max(v, VF_ROTATE2(v));
    v = vf_max(v, VF_ROTATE1(v));
    return v[0];
}

/* ---- a square of lanes transposed ------------------------------------------------------------ */

/* Within each four lanes: a and b one by one (first or last two), or two by two; and of whole
 * fours the even or odd ones of a, then of b. */
#if CDL_VLEN == 16
#define VF_ONES_LOW(A, B)                                                                          \
    __builtin_shufflevector(A, B, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29)
#define VF_ONES_HIGH(A, B)                                                                         \
    __builtin_shufflevector(A, B, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31)
#define VF_TWOS_LOW(A, B)                                                                          \
    __builtin_shufflevector(A, B, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29)
#define VF_TWOS_HIGH(A, B)                                                                         \
    __builtin_shufflevector(A, B, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31)
#define VF_FOURS_EVEN(A, B)                                                                        \
    __builtin_shufflevector(A, B, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27)
#define VF_FOURS_ODD(A, B)                                                                         \
    __builtin_shufflevector(A, B, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31)
#elif CDL_VLEN == 8
#define VF_ONES_LOW(A, B) __builtin_shufflevector(A, B, 0, 8, 1, 9, 4, 12, 5, 13)
#define VF_ONES_HIGH(A, B) __builtin_shufflevector(A, B, 2, 10, 3, 11, 6, 14, 7, 15)
#define VF_TWOS_LOW(A, B) __builtin_shufflevector(A, B, 0, 1, 8, 9, 4, 5, 12, 13)
#define VF_TWOS_HIGH(A, B) __builtin_shufflevector(A, B, 2, 3, 10, 11, 6, 7, 14, 15)
#define VF_FOURS_EVEN(A, B) __builtin_shufflevector(A, B, 0, 1, 2, 3, 8, 9, 10, 11)
#define VF_FOURS_ODD(A, B) __builtin_shufflevector(A, B, 4, 5, 6, 7, 12, 13, 14, 15)
#else
#define VF_ONES_LOW(A, B) __builtin_shufflevector(A, B, 0, 4, 1, 5)
#define VF_ONES_HIGH(A, B) __builtin_shufflevector(A, B, 2, 6, 3, 7)
#define VF_TWOS_LOW(A, B) __builtin_shufflevector(A, B, 0, 1, 4, 5)
#define VF_TWOS_HIGH(A, B) __builtin_shufflevector(A, B, 2, 3, 6, 7)
#define VF_FOURS_EVEN(A, B) (A)
#define VF_FOURS_ODD(A, B) (B)
#endif

/* Fours as a register. */
typedef float vf_four __attribute__((vector_size(16), aligned(4), may_alias));
CDL_INLINE vf vf_of_fours(const vf_four v[CDL_VLEN / 4]) {
#if CDL_VLEN == 4
    return v[0];
#else
#define PAIR(A, B) __builtin_shufflevector(A, B, 0, 1, 2, 3, 4, 5, 6, 7)
#if CDL_VLEN == 8
    return PAIR(v[0], v[1]);
#else
    return __builtin_shufflevector(PAIR(v[0], v[1]), PAIR(v[2], v[3]), 0, 1, 2, 3, 4, 5, 6, 7, 8, 9,
                                   10, 11, 12, 13, 14, 15);
#endif
#undef PAIR
#endif
}

/* Four floats at p, at p + 4 ld, at p + 8 ld, ... as the fours of a register. */
CDL_INLINE vf vf_load_fours(const float *p, size_t ld) {
    vf_four v[CDL_VLEN / 4];
    CDL_UNROLL for (size_t i = 0; i < CDL_VLEN / 4; i++) v[i] = *(const vf_four *)(p + 4 * i * ld);
    return vf_of_fours(v);
}

/* Within each four of lanes, lane i of v[j] and lane j of v[i] change places. */
CDL_INLINE void vf_transpose_fours(vf v[4]) {
    const vf a = VF_ONES_LOW(v[0], v[1]), b = VF_ONES_HIGH(v[0], v[1]);
    const vf c = VF_ONES_LOW(v[2], v[3]), d = VF_ONES_HIGH(v[2], v[3]);
    v[0] = VF_TWOS_LOW(a, c), v[1] = VF_TWOS_HIGH(a, c);
    v[2] = VF_TWOS_LOW(b, d), v[3] = VF_TWOS_HIGH(b, d);
}

/* Lane i of v[j] and lane j of v[i] change places. */
CDL_INLINE void vf_transpose(vf v[CDL_VLEN]) {
    vf u[CDL_VLEN]; /* fours of lanes as they shall be, in the wrong registers */
    CDL_UNROLL for (int i = 0; i < CDL_VLEN; i++) u[i] = v[i];
    CDL_UNROLL for (int i = 0; i < CDL_VLEN; i += 4) vf_transpose_fours(u + i);
    CDL_UNROLL for (int j = 0; j < 4; j++) {
#if CDL_VLEN == 16
        const vf a = VF_FOURS_EVEN(u[j], u[j + 4]), b = VF_FOURS_ODD(u[j], u[j + 4]);
        const vf c = VF_FOURS_EVEN(u[j + 8], u[j + 12]), d = VF_FOURS_ODD(u[j + 8], u[j + 12]);
        v[j] = VF_FOURS_EVEN(a, c), v[j + 4] = VF_FOURS_EVEN(b, d);
        v[j + 8] = VF_FOURS_ODD(a, c), v[j + 12] = VF_FOURS_ODD(b, d);
#elif CDL_VLEN == 8
        v[j] = VF_FOURS_EVEN(u[j], u[j + 4]), v[j + 4] = VF_FOURS_ODD(u[j], u[j + 4]);
#else
        v[j] = u[j];
#endif
    }
}
