/* vec.h - one vector of floats of the ISA's width, by the compiler's vector extension.
 *
 * The template (isa/instantiate.h) defines CDL_VLEN, the number of floats in a register, before
 * it includes this file. Loads and stores go through a type of their own, which needs no alignment
 * and may alias plain floats: GCC 14 for ARM fails on arguments of such a type.
 */
typedef float vf __attribute__((vector_size(CDL_VLEN * 4)));
typedef float vf_anywhere __attribute__((vector_size(CDL_VLEN * 4), aligned(4), may_alias));

static inline __attribute__((always_inline)) vf vf_load(const float *p) {
    return *(const vf_anywhere *)p;
}
static inline __attribute__((always_inline)) void vf_store(float *p, vf v) {
    *(vf_anywhere *)p = v;
}

/* s - {} and not {} + s: the sum would have to keep -0.0, so GCC would go through a register
 * where the difference folds into a broadcasting load (half the throughput otherwise). */
static inline __attribute__((always_inline)) vf vf_splat(float s) { return s - (vf){0}; }

/* ---- lanes: masks and reductions across a register ------------------------------------------- */

typedef int32_t vi __attribute__((vector_size(CDL_VLEN * 4)));

#if CDL_VLEN == 16
#define VF_LANES ((vi){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15})
#define VF_TURN8(V)                                                                                \
    __builtin_shufflevector(V, V, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7)
#define VF_TURN4(V)                                                                                \
    __builtin_shufflevector(V, V, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3)
#define VF_TURN2(V)                                                                                \
    __builtin_shufflevector(V, V, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1)
#define VF_TURN1(V)                                                                                \
    __builtin_shufflevector(V, V, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0)
#elif CDL_VLEN == 8
#define VF_LANES ((vi){0, 1, 2, 3, 4, 5, 6, 7})
#define VF_TURN8(V) (V)
#define VF_TURN4(V) __builtin_shufflevector(V, V, 4, 5, 6, 7, 0, 1, 2, 3)
#define VF_TURN2(V) __builtin_shufflevector(V, V, 2, 3, 4, 5, 6, 7, 0, 1)
#define VF_TURN1(V) __builtin_shufflevector(V, V, 1, 2, 3, 4, 5, 6, 7, 0)
#else
#define VF_LANES ((vi){0, 1, 2, 3})
#define VF_TURN8(V) (V)
#define VF_TURN4(V) (V)
#define VF_TURN2(V) __builtin_shufflevector(V, V, 2, 3, 0, 1)
#define VF_TURN1(V) __builtin_shufflevector(V, V, 1, 2, 3, 0)
#endif

/* a where the mask's lane is -1, b where it is 0 (what comparisons of vectors give). */
static inline __attribute__((always_inline)) vf vf_select(vi mask, vf a, vf b) {
    return (vf)(((vi)a & mask) | ((vi)b & ~mask));
}
static inline __attribute__((always_inline)) vf vf_max(vf a, vf b) {
    return vf_select(a > b, a, b);
}

/* Lanes [from, n): -1; the others 0. */
static inline __attribute__((always_inline)) vi vf_below(size_t n, size_t from) {
    const int32_t left = (int32_t)(n - from);
    return VF_LANES < left - (vi){0};
}

static inline __attribute__((always_inline)) float vf_sum(vf v) {
    if (CDL_VLEN > 8) v += VF_TURN8(v);
    if (CDL_VLEN > 4) v += VF_TURN4(v);
    v += VF_TURN2(v);
    v += VF_TURN1(v);
    return v[0];
}

static inline __attribute__((always_inline)) float vf_top(vf v) {
    if (CDL_VLEN > 8) v = vf_max(v, VF_TURN8(v));
    if (CDL_VLEN > 4) v = vf_max(v, VF_TURN4(v));
    v = vf_max(v, VF_TURN2(v));
    v = vf_max(v, VF_TURN1(v));
    return v[0];
}
