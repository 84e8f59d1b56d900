/* convert.h - the element types of callers' arrays, and their conversion to float or int32.
 *
 * X(name, C type, how): `how` is PLAIN (a C cast), TRUTH (0 or 1) or HALF (IEEE half precision in
 * a uint16_t) or BRAIN (bfloat16 in one). A conversion reads n elements, `step` bytes apart and
 * aligned to nothing.
 */
#ifndef CDL_TEMPLATE

#include <stddef.h>
#include <stdint.h>

// clang-format off
#define CDL_DTYPES(X)                         \
    X(bool,       uint8_t,     TRUTH)         \
    X(int8,       int8_t,      PLAIN)         \
    X(uint8,      uint8_t,     PLAIN)         \
    X(int16,      int16_t,     PLAIN)         \
    X(uint16,     uint16_t,    PLAIN)         \
    X(int32,      int32_t,     PLAIN)         \
    X(uint32,     uint32_t,    PLAIN)         \
    X(int64,      int64_t,     PLAIN)         \
    X(uint64,     uint64_t,    PLAIN)         \
    X(float16,    uint16_t,    HALF)          \
    X(bfloat16,   uint16_t,    BRAIN)         \
    X(float32,    float,       PLAIN)         \
    X(float64,    double,      PLAIN)         \
    X(longdouble, long double, PLAIN)
// clang-format on

#define CDL_DTYPE_NUMBER(NAME, ...) CDL_DTYPE_##NAME,
enum cdl_dtype { CDL_DTYPES(CDL_DTYPE_NUMBER) CDL_N_DTYPES };

/* True for a dtype whose numbers are kept as floats that have been rounded to it. */
static inline bool cdl_rounds_to(enum cdl_dtype dtype) {
    return dtype == CDL_DTYPE_bfloat16 || dtype == CDL_DTYPE_float16;
}

#else /* inside isa/instantiate.h */

/* Shifted into a float's place the exponent is off by 112; inf and NaN need the top exponent,
 * subnormal halves are (0.5 + mantissa) - 0.5 in suitable units. */
CDL_INLINE float half_f(uint16_t h) {
    const uint32_t magnitude = (uint32_t)(h & 0x7fff) << 13;
    const int32_t sign = (int32_t)((uint32_t)(h & 0x8000) << 16);
    const float normal = float_of_bits((int32_t)(magnitude + (112U << 23)));
    const float special = float_of_bits((int32_t)(magnitude | 0x7f800000U));
    const float small = float_of_bits((int32_t)(magnitude + (113U << 23))) - 6.10351562e-5f;
    const float finite = magnitude < (1U << 23) ? small : normal;
    const float value = magnitude >= (31U << 23) ? special : finite;
    return float_of_bits(bits_of_float(value) | sign);
}

/* A bfloat16 is the upper half of a float. */
CDL_INLINE float brain_f(uint16_t b) { return float_of_bits((int32_t)((uint32_t)b << 16)); }

/* The nearest number of such a dtype, the even one of two: as AVX-512's conversion to bfloat16,
 * subnormal floats are 0; a NaN stays one. */
CDL_INLINE float to_bfloat16(float x) {
    const uint32_t bits = (uint32_t)bits_of_float(x), magnitude = bits & 0x7fffffffU;
    const uint32_t rounded = bits + 0x7fffU + (bits >> 16 & 1);
    const uint32_t normal = magnitude < 0x800000U ? bits & 0x80000000U : rounded;
    return float_of_bits(
        (int32_t)((magnitude > 0x7f800000U ? bits | 0x400000U : normal) & 0xffff0000U));
}
CDL_INLINE vf vf_to_bfloat16(vf x) {
    const vu bits = (vu)x, sign = (vu){0} + 0x80000000U, high = (vu){0} + 0xffff0000U;
    const vu number = (vu)(x == x), normal = (vu)((vi)(bits & ~sign) > 0x7fffff);
    const vu rounded = bits + ((0x7fffU + (bits >> 16 & 1)) & number);
    return (vf)((rounded & (normal | sign) & high) | (~number & 0x400000U));
}

/* Rounding by the instruction of AVX512_BF16. */
#if CDL_VLEN == 16 && (__GNUC__ >= 10 || defined(__clang__))
#define HAS_BFLOAT16 __builtin_cpu_supports("avx512bf16")
CDL_INLINE vf vf_to_bfloat16_at_once(vf x) {
    __asm__("vcvtneps2bf16 %0, %t0\n\tvpmovzxwd %t0, %0\n\tvpslld $16, %0, %0" : "+v"(x));
    return x;
}
#else
#define HAS_BFLOAT16 false
CDL_INLINE vf vf_to_bfloat16_at_once(vf x) { return vf_to_bfloat16(x); }
#endif

/* Below 2^-14 by adding what has the step of subnormal halves; from 65,520 on infinity. */
CDL_INLINE float to_float16(float x) {
    const uint32_t bits = (uint32_t)bits_of_float(x), magnitude = bits & 0x7fffffffU;
    const uint32_t rounded = (magnitude + 0xfffU + (magnitude >> 13 & 1)) & ~0x1fffU;
    const uint32_t finite = rounded < 0x47800000U ? rounded : 0x7f800000U;
    const float small = (float_of_bits((int32_t)magnitude) + 0.5f) - 0.5f;
    const uint32_t number = magnitude < 0x38800000U ? (uint32_t)bits_of_float(small) : finite;
    return float_of_bits(
        (int32_t)((magnitude > 0x7f800000U ? magnitude : number) | (bits & 0x80000000U)));
}

static void round_numbers(enum cdl_dtype dtype, size_t n, const float *x, float *y) {
    assert(n == 0 || (x && y));
    if (dtype == CDL_DTYPE_bfloat16) {
        size_t i = 0;
        for (const size_t end = HAS_BFLOAT16 ? n : 0; i + CDL_VLEN <= end; i += CDL_VLEN)
            vf_store(y + i, vf_to_bfloat16_at_once(vf_load(x + i)));
        for (; i + CDL_VLEN <= n; i += CDL_VLEN) vf_store(y + i, vf_to_bfloat16(vf_load(x + i)));
        for (; i < n; i++) y[i] = to_bfloat16(x[i]);
    } else if (dtype == CDL_DTYPE_float16) {
        for (size_t i = 0; i < n; i++) y[i] = to_float16(x[i]);
    } else if (y != x) {
        for (size_t i = 0; i < n; i++) y[i] = x[i];
    }
}

/* An element anywhere in memory. As a class number, what 32 bits cannot hold is none. */
#define CDL_READ_PLAIN(V) (V)
#define CDL_READ_TRUTH(V) ((V) != 0)
#define CDL_READ_HALF(V) half_f(V)
#define CDL_READ_BRAIN(V) brain_f(V)
#define READ_ELEMENT(NAME, TYPE, HOW)                                                              \
    typedef TYPE any_##NAME __attribute__((aligned(1), may_alias));                                \
    CDL_INLINE float float_of_##NAME(const char *p) {                                              \
        return (float)CDL_READ_##HOW(*(const any_##NAME *)p);                                      \
    }                                                                                              \
    CDL_INLINE int32_t int_of_##NAME(const char *p) {                                              \
        const int32_t number = (int32_t)CDL_READ_##HOW(*(const any_##NAME *)p);                    \
        const bool is_long = sizeof(TYPE) == 8 && (TYPE)0.5 == 0; /* an integer */                 \
        return is_long && (TYPE)number != *(const any_##NAME *)p ? -1 : number;                    \
    }
CDL_DTYPES(READ_ELEMENT)

typedef float float_of_fn(const char *p);
typedef int32_t int_of_fn(const char *p);

/* Contiguous elements have a loop of their own, which vectorises. `to` is restrict where it is a
 * parameter of a function that is not inlined: of one that is GCC 12 does not see it. */
CDL_INLINE void convert_floats(float_of_fn *float_of, const size_t size, size_t n, const char *from,
                               ptrdiff_t step, float *to) {
    assert(n == 0 || (from && to));
    if (step == (ptrdiff_t)size) {
        for (size_t i = 0; i < n; i++) to[i] = float_of(from + i * size);
    } else {
        for (size_t i = 0; i < n; i++, from += step) to[i] = float_of(from);
    }
}

CDL_INLINE void convert_ints(int_of_fn *int_of, size_t n, const char *from, ptrdiff_t step,
                             int32_t *to) {
    assert(n == 0 || (from && to));
    for (size_t i = 0; i < n; i++, from += step) to[i] = int_of(from);
}

#define CONVERT_LOOPS(NAME, TYPE, HOW)                                                             \
    static void convert_##NAME(size_t n, const char *from, ptrdiff_t step, float *restrict to) {   \
        convert_floats(float_of_##NAME, sizeof(TYPE), n, from, step, to);                          \
    }                                                                                              \
    static void convert_int_##NAME(size_t n, const char *from, ptrdiff_t step, int32_t *to) {      \
        convert_ints(int_of_##NAME, n, from, step, to);                                            \
    }
CDL_DTYPES(CONVERT_LOOPS)

#endif
