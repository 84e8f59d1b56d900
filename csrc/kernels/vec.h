/* vec.h - one vector of floats of the ISA's width, by the compiler's vector extension.
 *
 * The template (isa/instantiate.h) defines CDL_VLEN, the number of floats in a register, before
 * it includes this file. Loads and stores need no alignment; the type may alias plain floats.
 */
typedef float vf __attribute__((vector_size(CDL_VLEN * 4), aligned(4), may_alias));

static inline __attribute__((always_inline)) vf vf_load(const float *p) { return *(const vf *)p; }
static inline __attribute__((always_inline)) void vf_store(float *p, vf v) { *(vf *)p = v; }

/* s - {} and not {} + s: the sum would have to keep -0.0, so GCC would go through a register
 * where the difference folds into a broadcasting load (half the throughput otherwise). */
static inline __attribute__((always_inline)) vf vf_splat(float s) { return s - (vf){0}; }
