/* math.h - elementary functions of one float, in plain C that every ISA's compiler vectorises.
 *
 * No branch, no table, no call: conditions are selects. inf and NaN behave as in libm; results
 * below the smallest normal number are 0, as everywhere in cdl (base/threads.c). Coefficients of
 * log and tanh are those of the Cephes library (S. Moshier, netlib.org/cephes); those of exp and
 * the normal distribution are our own fits. Errors in ulp and throughput on each ISA:
 * docs/numerics.md.
 */
#pragma once

#include <math.h>
#include <stdint.h>
#include <string.h>

#define CDL_INLINE static inline __attribute__((always_inline))

/* a b + c, rounded once. Fused multiply-adds are written out, and a compiler may make no others
 * (-ffp-contract=off): so each ISA and compiler gives the same bits. Only the baseline, which may
 * have no such instruction, rounds twice. */
#if defined(CDL_FUSED)
CDL_INLINE float fma_f(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
CDL_INLINE double fma_w(double a, double b, double c) { return __builtin_fma(a, b, c); }
#else
CDL_INLINE float fma_f(float a, float b, float c) { return a * b + c; }
CDL_INLINE double fma_w(double a, double b, double c) { return a * b + c; }
#endif

/* Polynomials of x by Horner's rule, coefficients of the highest power first. */
#define HORNER_2(FMA, X, A, B) FMA(A, X, B)
#define HORNER_3(FMA, X, A, B, ...) HORNER_2(FMA, X, FMA(A, X, B), __VA_ARGS__)
#define HORNER_4(FMA, X, A, B, ...) HORNER_3(FMA, X, FMA(A, X, B), __VA_ARGS__)
#define HORNER_5(FMA, X, A, B, ...) HORNER_4(FMA, X, FMA(A, X, B), __VA_ARGS__)
#define HORNER_6(FMA, X, A, B, ...) HORNER_5(FMA, X, FMA(A, X, B), __VA_ARGS__)
#define HORNER_7(FMA, X, A, B, ...) HORNER_6(FMA, X, FMA(A, X, B), __VA_ARGS__)
#define HORNER_8(FMA, X, A, B, ...) HORNER_7(FMA, X, FMA(A, X, B), __VA_ARGS__)
#define HORNER_9(FMA, X, A, B, ...) HORNER_8(FMA, X, FMA(A, X, B), __VA_ARGS__)

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
/* min(|x|, most), and `most` of NaN, in integers: of a select by floats gcc computes all that
 * follows a second time for the constant and selects each of the results, which is a fifth of a
 * loop's time. */
CDL_INLINE float abs_within_f(float x, float most) {
    const int32_t bits = bits_of_float(x) & 0x7fffffff, top = bits_of_float(most);
    return float_of_bits(bits < top ? bits : top);
}
CDL_INLINE float max_f(float x, float y) { return x > y ? x : y; }
CDL_INLINE float min_f(float x, float y) { return x < y ? x : y; }

/* 1 / d within an ulp or so for d >= 1e-30, where d comes out of a root: the divider of wide
 * registers makes both (Intel: 10 cycles each for 16 floats), so that half of its time is saved by
 * doing without it. A number's bits taken from a constant are its reciprocal's within 5.1 %; with e
 * = 1 - d y, y (1 + e + e^2) leaves e^3 and the last step its square. Above 2^125 d counts as
 * 2^125, whose reciprocal is still a normal number. */
#if defined(CDL_FUSED)
CDL_INLINE float minus_inverse_root_f(float d) { /* the sign is in the constant, for nothing */
    const float below = d > 0x1p125f ? 0x1p125f : d;
    float y = float_of_bits((int32_t)(0xfef311c7U - (uint32_t)bits_of_float(below)));
    const float e = fma_f(below, y, 1.0f);
    y = fma_f(y, fma_f(e, e, e), y);
    return fma_f(y, fma_f(below, y, 1.0f), y);
}
CDL_INLINE float over_root_f(float a, float d) { return -a * minus_inverse_root_f(d); }
CDL_INLINE float less_over_root_f(float w, float a, float d) { /* w - a / d */
    return fma_f(a, minus_inverse_root_f(d), w);
}
#else
CDL_INLINE float over_root_f(float a, float d) { return a / d; }
CDL_INLINE float less_over_root_f(float w, float a, float d) { return w - a / d; }
#endif

/* e^x = 2^n e^r with n = round(x / ln 2) and |r| <= ln 2 / 2: adding 1.5 * 2^23 rounds n into the
 * low bits of the sum, and 127 more makes them the exponent of 2^n, for -126 <= n <= 127. */
#define EXP_SHIFT 12582912.0f
#define EXP_SHIFT_127 (EXP_SHIFT + 127.0f)
CDL_INLINE float exp_shifted_f(float x) { return fma_f(x, 1.44269504f, EXP_SHIFT_127); }
CDL_INLINE float exp_rest_f(float x, float shifted) { /* r */
    const float n = shifted - EXP_SHIFT_127;
    return fma_f(n, 2.12194440e-4f, fma_f(n, -0.693359375f, x));
}
CDL_INLINE float power_in(int32_t bits) { return float_of_bits((int32_t)((uint32_t)bits << 23)); }
CDL_INLINE float exp_power_f(float shifted) { return power_in(bits_of_float(shifted)); } /* 2^n */

/* (e^r - 1 - r) / r^2, a fit of our own: e^r to 0.05 ulp. */
CDL_INLINE float exp_curve_f(float r) {
    return HORNER_5(fma_f, r, 1.3814540579915047e-3f, 8.36874544620514e-3f, 4.166838899254799e-2f,
                    1.666652113199234e-1f, 4.999999403953552e-1f);
}

/* (e^r - 1) / r */
CDL_INLINE float exp_gradient_f(float r) { return fma_f(exp_curve_f(r), r, 1.0f); }

/* For any x: 2^n is applied in two halves, since n reaches 128. */
CDL_INLINE float exp_f(float x) {
    const float shifted = exp_shifted_f(x);
    const float r = exp_rest_f(x, shifted);
    const int32_t n =
        (int32_t)((uint32_t)bits_of_float(shifted) - (uint32_t)bits_of_float(EXP_SHIFT_127));
    const int32_t half = n >> 1;
    const float near = fma_f(exp_gradient_f(r), r, 1.0f);
    const float scaled = near * power_in(half + 127) * power_in(n - half + 127);
    const float above = x > 88.722839f ? INFINITY : scaled;
    return x < -87.336544f ? 0.0f : above;
}

/* For -87.3 <= x <= 88 or NaN. */
CDL_INLINE float exp_near_f(float x) {
    const float shifted = exp_shifted_f(x);
    const float r = exp_rest_f(x, shifted);
    return fma_f(exp_gradient_f(r), r, 1.0f) * exp_power_f(shifted);
}

/* For x <= 88 or NaN. */
CDL_INLINE float exp_down_f(float x) { return x < -87.336544f ? 0.0f : exp_near_f(x); }

/* e^x - 1 for -80 <= x <= 0 or NaN, accurate in relative terms near 0 too: 2^n (e^r - 1) + (2^n -
 * 1). */
CDL_INLINE float expm1_near_f(float x) {
    const float shifted = exp_shifted_f(x);
    const float r = exp_rest_f(x, shifted);
    const float scale = exp_power_f(shifted);
    return fma_f(exp_gradient_f(r) * r, scale, scale - 1.0f);
}

/* For x <= 0 or NaN. */
CDL_INLINE float expm1_f(float x) { return expm1_near_f(x < -80.0f ? -80.0f : x); }

/* For x <= 0, and any number for NaN. The limit is in integers, as in abs_within_f: a number has
 * more bits the further it is below 0. */
CDL_INLINE float expm1_down_f(float x) {
    const uint32_t bits = (uint32_t)bits_of_float(x), most = (uint32_t)bits_of_float(-80.0f);
    return expm1_near_f(float_of_bits((int32_t)(bits < most ? bits : most)));
}

/* log x = e ln 2 + log m, with m in [sqrt(1/2), sqrt(2)); for normal positive numbers. Of others
 * the differences may wrap. */
CDL_INLINE float log_normal_f(float x) {
    const int32_t bits = bits_of_float(x);
    const int32_t e = (int32_t)((uint32_t)bits - 0x3f3504f3U) >> 23; /* 0x3f3504f3 = sqrt(1/2) */
    const float r = float_of_bits((int32_t)((uint32_t)bits - ((uint32_t)e << 23))) - 1.0f;
    const float e_f = (float)e;
    const float r2 = r * r;

    const float p = HORNER_9(fma_f, r, 7.0376836292e-2f, -1.1514610310e-1f, 1.1676998740e-1f,
                             -1.2420140846e-1f, 1.4249322787e-1f, -1.6668057665e-1f,
                             2.0000714765e-1f, -2.4999993993e-1f, 3.3333331174e-1f);
    const float low = fma_f(e_f, -2.12194440e-4f, p * r * r2);
    return fma_f(e_f, 0.693359375f, fma_f(-0.5f, r2, low) + r);
}

CDL_INLINE float log_f(float x) {
    const float finite = x < INFINITY ? log_normal_f(x) : x; /* inf stays inf, NaN stays NaN */
    const float positive = x < 1.17549435e-38f ? -INFINITY : finite;
    return x < 0.0f ? NAN : positive;
}

/* min(max(x, low), high), NaN staying NaN. */
CDL_INLINE float within_f(float x, float low, float high) {
    const float above = x < low ? low : x;
    return above > high ? high : above;
}

/* With e = e^-|x|: 1 / (1 + e), or e / (1 + e) for x < 0. What rounding takes from 1 + e is put
 * back into the quotient, whose last place may be twice as fine; near 0 by a half too much, where
 * it counts half. */
CDL_INLINE float sigmoid_f(float x) {
    const float a = abs_f(x), e = exp_near_f(-a);
    const float sum = 1.0f + e, lost = e - (sum - 1.0f);
    const int32_t negative = bits_of_float(x) >> 31; /* all bits, or none: no second division */
    const int32_t one = bits_of_float(1.0f) & ~negative;
    const float quotient = float_of_bits((bits_of_float(e) & negative) | one) / sum;
    return a > 87.336544f ? float_of_bits(one) : fma_f(-quotient, lost, quotient);
}

/* tanh(x) - x for |x| < 0.625, by a polynomial. */
CDL_INLINE float tanh_excess_f(float x) {
    const float x2 = x * x;
    const float p = HORNER_5(fma_f, x2, -5.70498872745e-3f, 2.06390887954e-2f, -5.37397155531e-2f,
                             1.33314422036e-1f, -3.33332819422e-1f);
    return p * x2 * x;
}

/* x sigmoid(x), as a quotient: a factor less than by sigmoid_f, and its rounding. From x = 87 on
 * the exponential is as good as 0, below -87.3 it is infinite. */
CDL_INLINE float silu_f(float x) {
    const float e = exp_near_f(x > 87.0f ? -87.0f : -x);
    return x / (1.0f + (x < -87.3f ? INFINITY : e));
}

/* The polynomial near 0, where 1 - 2 / (e^2x + 1) would lose relative accuracy. */
CDL_INLINE float tanh_f(float x) {
    const float near = x + tanh_excess_f(x);
    const float far =
        copysign_f(1.0f - 2.0f / (exp_near_f(2.0f * abs_within_f(x, 20.0f)) + 1.0f), x);
    return abs_f(x) >= 0.625f ? far : near;
}

/* log(1 + x) for 0 <= x <= 1, as 2 atanh(s) with s = x / (2 + x): an odd series in s <= 1/3, whose
 * coefficients are a fit of our own, to 0.01 ulp. Its first term 2 s is x - x x / 2 (1 - s), in
 * which a rounding error of s counts less. */
CDL_INLINE float log1p_unit_f(float x) {
    const float s = x / (2.0f + x);
    const float square = s * s;
    const float p = HORNER_5(fma_f, square, 2.430093736e-01f, 2.142765671e-01f, 2.861688435e-01f,
                             3.999887705e-01f, 6.666667461e-01f);
    const float half = 0.5f * x * x;
    return x - fma_f(-s, fma_f(p, square, half), half);
}

/* Softplus. 2^n is 0 from |x| = 87.7 on, where its exponent is 0. */
CDL_INLINE float softplus_f(float x) {
    return (x < 0.0f ? 0.0f : x) + log1p_unit_f(exp_near_f(-abs_within_f(x, 88.0f)));
}

/* Rounding error of h = a a / 2. */
CDL_INLINE float half_square_rest_f(float a, float h) {
#if defined(CDL_FUSED)
    return fma_f(a, 0.5f * a, -h);
#else
    const float high = float_of_bits(bits_of_float(a) & (int32_t)0xfffff000); /* 12 bits */
    return (high * (0.5f * high) - h) + (0.5f * (a - high)) * (a + high);
#endif
}

/* The normal distribution function, and its density; both stay from |x| = 13.1 on. With a = |x| the
 * tail on the left is e^(-a a / 2) R(a) for R(a) = erfcx(a / sqrt 2) / 2, which is a quotient over
 * a + 0.875 (after Shepherd and Laframboise, 1981). Its numerator is 0.4375 in 0 and where q =
 * a / (a + 3) is 0.7172, and hardly another number between and beyond (so that it is just below
 * 1/2, where a float is finest): a fit of our own to q, to 0.2 ulp. The square is a sum, so that
 * the tail is accurate in relative terms; what rounding has taken from R goes in with the
 * exponential. */
CDL_INLINE float normal_distribution_f(float x, float *density) {
    const float a = abs_within_f(x, 13.1f);
    const float q = a / (a + 3.0f);
    const float p =
        HORNER_9(fma_f, q, -0.04311501979827881f, 0.186052143573761f, -0.23400716483592987f,
                 0.03317159041762352f, -0.019358448684215546f, 0.2379784882068634f,
                 0.09404733777046204f, -0.749610185623169f, 0.6312737464904785f);
    const float far = fma_f(q * (0.7172420024871826f - q), p, 0.4375f);
    const float sum = a + 0.875f, lost = a - (sum - 0.875f);
    const float ratio = far / sum;
    const float rest =
        fma_f(-ratio, lost, fma_f(-ratio, sum, far)); /* of far, which is 1 / 2.15 or so */

    const float square = 0.5f * a * a, more = half_square_rest_f(a, square);
    const float shifted = exp_shifted_f(-square), n = shifted - EXP_SHIFT_127;
    const float whole = fma_f(n, -0.693359375f, -square);
    const float r = fma_f(n, 2.12194440e-4f, whole - more);
    const float scale = exp_power_f(shifted), growth = fma_f(exp_curve_f(r) * r, r, r);
    const float tail = fma_f(ratio, fma_f(2.15f, rest, growth), ratio) * scale;
    *density = fma_f(0.39894228f, growth, 0.39894228f) * scale;
    return x > 0.0f ? 1.0f - tail : tail;
}

CDL_INLINE float normal_cdf_f(float x) {
    float density;
    return normal_distribution_f(x, &density);
}

/* a^b for a >= 0. */
CDL_INLINE float pow_f(float a, float b) {
    const float general = exp_f(b * log_f(a));
    return b == 0.0f ? 1.0f : (a == 0.0f ? 0.0f : general);
}
