/* math.h - elementary functions of one float, in plain C that every ISA's compiler vectorises.
 *
 * No branch, no table, no call: conditions are selects. inf and NaN behave as in libm; results
 * below the smallest normal number are 0, as everywhere in cdl (base/threads.c). Coefficients of
 * exp, log and tanh are those of the Cephes library (S. Moshier, netlib.org/cephes); those of
 * erfcx are our own fit. Errors in ulp and throughput on each ISA: docs/numerics.md.
 */
#ifndef CDL_KERNELS_MATH_H
#define CDL_KERNELS_MATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#define CDL_INLINE static inline __attribute__((always_inline))

CDL_INLINE float float_of_bits(int32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

CDL_INLINE int32_t bits_of_float(float x) {
    int32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

CDL_INLINE float abs_f(float x) { return float_of_bits(bits_of_float(x) & 0x7fffffff); }
CDL_INLINE float copysign_f(float x, float sign) {
    return float_of_bits((bits_of_float(x) & 0x7fffffff) |
                         (int32_t)((uint32_t)bits_of_float(sign) & 0x80000000U));
}
CDL_INLINE float max_f(float x, float y) { return x > y ? x : y; }
CDL_INLINE float min_f(float x, float y) { return x < y ? x : y; }

/* e^x = 2^n e^r with n = round(x / ln 2) and |r| <= ln 2 / 2. Adding 1.5 * 2^23 rounds n into the
 * low bits of the sum; 2^n is applied in two halves, since n reaches 128. */
CDL_INLINE float exp_f(float x) {
    const float magic = 12582912.0f;
    const float shifted = x * 1.44269504f + magic;
    const int32_t n =
        (int32_t)((uint32_t)bits_of_float(shifted) - (uint32_t)bits_of_float(magic)); /* may wrap */
    const float whole = shifted - magic;
    const float r = (x - whole * 0.693359375f) - whole * -2.12194440e-4f;

    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;

    const int32_t half = n >> 1;
    const float scaled = p * float_of_bits((int32_t)((uint32_t)(half + 127) << 23)) *
                         float_of_bits((int32_t)((uint32_t)(n - half + 127) << 23));
    const float above = x > 88.722839f ? INFINITY : scaled;
    return x < -87.336544f ? 0.0f : above;
}

/* log x = e ln 2 + log m, with m in [sqrt(1/2), sqrt(2)). */
CDL_INLINE float log_f(float x) {
    const int32_t bits = bits_of_float(x);
    const int32_t e = (bits - 0x3f3504f3) >> 23; /* 0x3f3504f3 = sqrt(1/2) */
    const float r = float_of_bits(bits - (int32_t)((uint32_t)e << 23)) - 1.0f;
    const float e_f = (float)e;
    const float r2 = r * r;

    float p = 7.0376836292e-2f;
    p = p * r - 1.1514610310e-1f;
    p = p * r + 1.1676998740e-1f;
    p = p * r - 1.2420140846e-1f;
    p = p * r + 1.4249322787e-1f;
    p = p * r - 1.6668057665e-1f;
    p = p * r + 2.0000714765e-1f;
    p = p * r - 2.4999993993e-1f;
    p = p * r + 3.3333331174e-1f;
    p = p * r * r2 + e_f * -2.12194440e-4f - 0.5f * r2 + r + e_f * 0.693359375f;

    const float finite = x < 3.4028235e38f ? p : x; /* inf stays inf, NaN stays NaN */
    const float positive = x >= 1.17549435e-38f ? finite : -INFINITY;
    return x < 0.0f || x != x ? NAN : positive;
}

/* log(1 + x) for x >= 0: the rounding error of 1 + x is put back to first order. */
CDL_INLINE float log1p_f(float x) {
    const float w = 1.0f + x;
    const float error = (w - 1.0f) - x;
    const float finite = log_f(w) - error / w;
    return w < 3.4028235e38f ? finite : w;
}

CDL_INLINE float sigmoid_f(float x) { return 1.0f / (1.0f + exp_f(-x)); }

/* tanh(x) - x for |x| < 0.625, by a polynomial. */
CDL_INLINE float tanh_excess_f(float x) {
    const float x2 = x * x;
    float p = -5.70498872745e-3f;
    p = p * x2 + 2.06390887954e-2f;
    p = p * x2 - 5.37397155531e-2f;
    p = p * x2 + 1.33314422036e-1f;
    p = p * x2 - 3.33332819422e-1f;
    return p * x2 * x;
}

/* The polynomial near 0, where 1 - 2 / (e^2x + 1) would lose relative accuracy. */
CDL_INLINE float tanh_f(float x) {
    const float a = abs_f(x);
    const float near = x + tanh_excess_f(x);
    const float far = copysign_f(1.0f - 2.0f / (exp_f(2.0f * a) + 1.0f), x);
    return a < 0.625f ? near : far;
}

CDL_INLINE float softplus_f(float x) { return (x > 0.0f ? x : 0.0f) + log1p_f(exp_f(-abs_f(x))); }

/* e^(z z) erfc(z) for z >= 0, as a polynomial in (z - 2) / (z + 2) over 1 + 2 z (the substitution
 * is from Shepherd and Laframboise, 1981); coefficients fitted to 0.25 ulp for 0 <= z <= 10.1. */
CDL_INLINE float erfcx_f(float z) {
    const float q = (z - 2.0f) / (z + 2.0f);
    float p = -4.005795851e-4f;
    p = p * q - 1.229930782e-3f;
    p = p * q + 1.313525329e-3f;
    p = p * q + 8.631684381e-3f;
    p = p * q - 8.059876021e-3f;
    p = p * q - 5.420429945e-2f;
    p = p * q + 1.640553468e-1f;
    p = p * q - 1.660314250e-1f;
    p = p * q - 9.276398085e-2f;
    p = p * q + 1.276978393f;
    return p / (1.0f + 2.0f * z);
}

/* The normal distribution function, accurate in relative terms in the left tail too: erfc through
 * erfcx, with the rounding error of x x / 2 put back to first order. */
CDL_INLINE float normal_cdf_f(float x) {
    const float a = min_f(abs_f(x), 13.5f);
    const float high = float_of_bits(bits_of_float(a) & (int32_t)0xfffff000);
    const float square = high * high; /* exact: 12 bits */
    const float rest = (a - high) * (a + high);
    const float tail =
        0.5f * erfcx_f(a * 0.70710678f) * exp_f(-0.5f * square) * exp_f(-0.5f * rest);
    return x > 0.0f ? 1.0f - tail : tail;
}

/* a^b for a >= 0. */
CDL_INLINE float pow_f(float a, float b) {
    const float general = exp_f(b * log_f(a));
    return b == 0.0f ? 1.0f : (a == 0.0f ? 0.0f : general);
}

CDL_INLINE float normal_pdf_f(float x) { return 0.39894228f * exp_f(-0.5f * x * x); }

#endif
