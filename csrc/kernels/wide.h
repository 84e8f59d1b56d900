/* wide.h - elementary functions that are computed in double and rounded once to float.
 *
 * For what math.h does not have in float: powers, trigonometry, logarithms to other bases. As
 * there: no branch, no table, no call, so that every ISA's compiler vectorises loops over them. The
 * polynomials are fits of our own with relative errors below 6e-11, a thousandth of an ulp of
 * float.
 */
#pragma once

#include "kernels/math.h"

CDL_INLINE double double_of_bits(uint64_t bits) {
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
CDL_INLINE uint64_t bits_of_double(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

CDL_INLINE double abs_w(double x) { return double_of_bits(bits_of_double(x) & ~(1ULL << 63)); }
CDL_INLINE double copysign_w(double x, double sign) {
    const uint64_t top = 1ULL << 63;
    return double_of_bits((bits_of_double(x) & ~top) | (bits_of_double(sign) & top));
}

/* Adding 1.5 * 2^52 rounds to the nearest integer, whose low bits are those of the sum. */
#define WIDE_SHIFT 6755399441055744.0

/* Towards 0, for any size: beyond 2^51 every double is taken for an integer. */
CDL_INLINE double trunc_w(double x) {
    const double a = abs_w(x), near = (a + WIDE_SHIFT) - WIDE_SHIFT;
    const double below = near > a ? near - 1.0 : near;
    return copysign_w(a < 0x1p51 ? below : a, x);
}

/* e^x, as exact as a float can show: 0 below, infinite above its range. */
CDL_INLINE double exp_w(double x) {
    const double low = x < -150.0 ? -150.0 : x, within = low > 150.0 ? 150.0 : low;
    const double shifted = fma_w(within, 1.4426950408889634, WIDE_SHIFT);
    const double n = shifted - WIDE_SHIFT;
    const double r =
        fma_w(n, -1.90821492927058770002e-10, fma_w(n, -0.693147180369123816490, within));
    const double p = HORNER_8(fma_w, r, 2.4801543674646286e-05, 0.00019907537807979217,
                              0.0013888978615818177, 0.008333283621516325, 0.04166666594833452,
                              0.16666666785818537, 0.5000000000121227, 0.9999999999955479);
    return fma_w(p, r, 1.0) * double_of_bits((bits_of_double(shifted) << 52) + (1023ULL << 52));
}

/* log x = e ln 2 + 2 atanh(s) with s = (m - 1) / (m + 1) and m in (sqrt(1/2), sqrt(2)]. */
CDL_INLINE double log_w(double x) {
    const uint64_t bits = bits_of_double(x);
    const double m0 = double_of_bits((bits & 0xfffffffffffffULL) | 0x3ff0000000000000ULL);
    const double e0 = double_of_bits((bits >> 52) | 0x4330000000000000ULL) - (0x1p52 + 1023.0);
    const double m = m0 > 1.4142135623730951 ? 0.5 * m0 : m0;
    const double e = m0 > 1.4142135623730951 ? e0 + 1.0 : e0;
    const double s = (m - 1.0) / (m + 1.0), z = s * s;
    const double p = HORNER_6(fma_w, z, 0.09805026194362915, 0.11087056235688382,
                              0.14286084758677167, 0.19999997429087013, 0.3333333333984806, 1.0);
    const double finite = fma_w(e, 0.6931471805599453, 2.0 * s * p);
    const double positive = x < (double)INFINITY ? finite : x;
    const double other = x == 0.0 ? -(double)INFINITY : (double)NAN;
    return x > 0.0 ? positive : other;
}

/* ---- powers and logarithms ----------------------------------------------------------------- */

/* a^b, as the C library has it: negative a for whole b only, 1 for b = 0 and for a = 1. */
CDL_INLINE float power_any_f(float a, float b) {
    const float size = min_f(abs_f(b), 16777216.0f); /* from 2^24 on all are even */
    const int32_t integer = (int32_t)size;
    const float broken = (float)integer - size;
    const float general = (float)exp_w((double)b * log_w((double)abs_f(a)));
    const uint32_t minus = (uint32_t)bits_of_float(a) & ((uint32_t)integer << 31);
    const float whole = float_of_bits(bits_of_float(general) ^ (int32_t)minus);
    const float below = a < 0.0f ? (a > -INFINITY ? NAN : general) : general;
    const float real = broken == 0.0f ? whole : below;
    const float edge = a == -1.0f ? (abs_f(b) == INFINITY ? 1.0f : real) : real;
    const float from_1 = a == 1.0f ? 1.0f : edge;
    return b == 0.0f ? 1.0f : from_1;
}

CDL_INLINE float log2_f(float x) { return (float)(log_w((double)x) * 1.4426950408889634); }
CDL_INLINE float log10_f(float x) { return (float)(log_w((double)x) * 0.4342944819032518); }

/* log(1 + x). For small x, which 1 + x would round, three terms of the series: exact to 2e-13. */
CDL_INLINE float log1p_any_f(float x) {
    const double t = (double)x, near = t - t * t * (0.5 - t * (1.0 / 3.0));
    return (float)(abs_w(t) < 1e-4 ? near : log_w(1.0 + t));
}
CDL_INLINE float expm1_any_f(float x) {
    const double t = (double)x, near = t + t * t * (0.5 + t * (1.0 / 6.0));
    const double far = t == -(double)INFINITY ? -1.0 : exp_w(t) - 1.0;
    return (float)(abs_w(t) < 1e-3 ? near : far);
}

CDL_INLINE float cbrt_f(float x) {
    const double root = exp_w(log_w((double)abs_f(x)) * (1.0 / 3.0));
    const float size = abs_f(x) == 0.0f || !(abs_f(x) < INFINITY) ? abs_f(x) : (float)root;
    return copysign_f(size, x);
}

/* ---- hyperbolic functions -------------------------------------------------------------------- */

CDL_INLINE float sinh_f(float x) {
    const double t = (double)x, e = exp_w(t), z = t * t;
    const double near =
        t + t * z * (1.0 / 6.0 + z * (1.0 / 120.0 + z * (1.0 / 5040.0 + z * (1.0 / 362880.0))));
    return (float)(abs_w(t) < 0.5 ? near : 0.5 * (e - 1.0 / e));
}
CDL_INLINE float cosh_f(float x) {
    const double e = exp_w((double)x);
    return (float)(0.5 * (e + 1.0 / e));
}

/* Below 1e-3 two terms of the series; the logarithm's argument would lose what x is. */
CDL_INLINE float asinh_f(float x) {
    const double a = abs_w((double)x), near = a - a * a * a * (1.0 / 6.0);
    const double far = log_w(a + __builtin_sqrt(a * a + 1.0));
    return (float)copysign_w(a < 1e-3 ? near : far, (double)x);
}
CDL_INLINE float acosh_f(float x) {
    const double t = (double)x;
    const double above = log_w(t + __builtin_sqrt((t - 1.0) * (t + 1.0)));
    return x < 1.0f ? NAN : (float)above;
}
CDL_INLINE float atanh_f(float x) {
    const double a = abs_w((double)x), near = a + a * a * a * (1.0 / 3.0);
    const double far = 0.5 * log_w((1.0 + a) / (1.0 - a));
    return (float)copysign_w(a < 1e-3 ? near : far, (double)x);
}

/* ---- trigonometry ---------------------------------------------------------------------------- */

/* Beyond this, multiples of pi / 2 in two parts are not exact; the loops call the C library. */
#define TURNS_MOST 1048576.0f

/* The sine and cosine of what is left of x less the nearest multiple of pi / 2; that multiple. */
CDL_INLINE uint64_t quarter_turns(float x, double *sine, double *cosine) {
    const double t = (double)x, shifted = fma_w(t, 0.6366197723675814, WIDE_SHIFT);
    const double n = shifted - WIDE_SHIFT;
    const double r =
        fma_w(n, -6.07710050650619224932e-11, fma_w(n, -1.57079632673412561417e+00, t));
    const double z = r * r;
    const double s = HORNER_4(fma_w, z, 2.717149669593296e-06, -0.0001983917801454343,
                              0.008333328689013639, -0.16666666630434293);
    *sine = r * fma_w(z, s, 1.0);
    const double c = HORNER_5(fma_w, z, -2.716840819164457e-07, 2.479885089438554e-05,
                              -0.0013888879969748485, 0.04166666653441556, -0.4999999999927563);
    *cosine = fma_w(c, z, 1.0);
    return bits_of_double(shifted);
}
/* -x if bit 1 of `turns` is set. */
CDL_INLINE double signed_by(double x, uint64_t turns) {
    return double_of_bits(bits_of_double(x) ^ ((turns & 2) << 62));
}
CDL_INLINE float sin_f(float x) {
    double s, c;
    const uint64_t turns = quarter_turns(x, &s, &c);
    return (float)signed_by(turns & 1 ? c : s, turns);
}
CDL_INLINE float cos_f(float x) {
    double s, c;
    const uint64_t turns = quarter_turns(x, &s, &c);
    return (float)signed_by(turns & 1 ? s : c, turns + 1);
}
CDL_INLINE float tan_f(float x) {
    double s, c;
    const uint64_t turns = quarter_turns(x, &s, &c);
    return (float)(turns & 1 ? -c / s : s / c);
}

/* The angle of (x, y), in one quotient q with |q| <= tan(pi / 8): of y / x, of its reciprocal, or
 * of (y - x) / (y + x), which is pi / 4 less. */
CDL_INLINE double angle_w(double y, double x) {
    const double up = abs_w(y), along = abs_w(x);
    const int both = (up == (double)INFINITY) & (along == (double)INFINITY);
    const double a = both ? 1.0 : up, b = both ? 1.0 : (along == 0.0 && up == 0.0 ? 1.0 : along);
    const int steep = a > 2.414213562373095 * b, flat = a < 0.4142135623730950 * b;
    const double top = steep ? -b : (flat ? a : a - b), bottom = steep ? a : (flat ? b : a + b);
    const double q = top / bottom, z = q * q;
    const double p =
        HORNER_6(fma_w, z, 0.04714115123781328, -0.08459694877425837, 0.11041169249666882,
                 -0.1428164968431959, 0.19999886325666888, -0.33333332134279514);
    const double from = steep ? 1.5707963267948966 : (flat ? 0.0 : 0.7853981633974483);
    const double angle = from + fma_w(q * z, p, q);
    const double left = bits_of_double(x) >> 63 ? 3.141592653589793 - angle : angle;
    return copysign_w(left, y);
}
CDL_INLINE float atan2_f(float y, float x) { return (float)angle_w((double)y, (double)x); }
CDL_INLINE float atan_f(float x) { return (float)angle_w((double)x, 1.0); }
CDL_INLINE float asin_f(float x) {
    const double t = (double)x;
    return (float)angle_w(t, __builtin_sqrt((1.0 - t) * (1.0 + t)));
}
CDL_INLINE float acos_f(float x) {
    const double t = (double)x;
    return (float)angle_w(__builtin_sqrt((1.0 - t) * (1.0 + t)), t);
}

/* ---- whole numbers --------------------------------------------------------------------------- */

/* Half to even, by adding 2^23; the sign of 0 stays. */
CDL_INLINE float round_f(float x) {
    const float a = abs_f(x);
    return a < 8388608.0f ? copysign_f((a + 8388608.0f) - 8388608.0f, x) : x;
}
CDL_INLINE float floor_f(float x) {
    const float near = round_f(x);
    return near > x ? near - 1.0f : near;
}
CDL_INLINE float ceil_f(float x) {
    const float near = round_f(x);
    return near < x ? copysign_f(near + 1.0f, x) : near;
}
CDL_INLINE float trunc_f(float x) { return copysign_f(floor_f(abs_f(x)), x); }

/* Beyond this quotient a - b q is not exact in double; the loops call the C library. */
#define QUOTIENT_MOST 268435456.0f

/* a - b trunc(a / b): the sign of a. */
CDL_INLINE float remainder_f(float a, float b) {
    const double q = trunc_w((double)a / (double)b);
    const double rest = fma_w(-q, (double)b, (double)a);
    const double small = abs_f(a) < abs_f(b) ? (double)a : rest;
    return copysign_f((float)small, a);
}
/* The remainder that has the sign of b. */
CDL_INLINE float modulo_of_f(float rest, float b) {
    return rest != 0.0f && (rest < 0.0f) != (b < 0.0f) ? rest + b : rest;
}
/* floor(a / b), where that is not a whole number less than a float can show. */
CDL_INLINE float floor_divide_f(float a, float b) {
    const double exact = (double)a / (double)b, q = trunc_w(exact);
    const int below = (a != 0.0f) & ((a < 0.0f) != (b < 0.0f)) & ((q != exact) | (q == 0.0));
    const double whole = below ? q - 1.0 : q;
    return abs_f(a) < INFINITY ? (float)whole : (b == 0.0f ? a / b : NAN);
}

/* ---- the error function ---------------------------------------------------------------------- */

/* An odd polynomial up to 1; beyond, 1 - 2 Phi(-sqrt(2) |x|), whose error is small beside 1. */
CDL_INLINE float erf_f(float x) {
    const double t = (double)x, z = t * t;
    const double p = HORNER_8(fma_w, z, -9.641516533424876e-06, 0.00011256948076286688,
                              -0.0008482828869865822, 0.005220945434602265, -0.026865400042797055,
                              0.1128378197411644, -0.37612638434651824, 1.1283791670580225);
    const float far = 1.0f - 2.0f * normal_cdf_f(-1.41421356f * abs_f(x));
    const float outside = x != x ? x : copysign_f(far, x);
    return abs_f(x) < 1.0f ? (float)(t * p) : outside;
}
