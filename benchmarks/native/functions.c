/* functions.c - the elementary functions of kernels/math.h: their worst errors, and their speed.
 *
 * Each is compiled in a loop once an ISA, as the kernels compile it. The judge is the C library in
 * double precision; results below the smallest normal number count as 0.
 */
#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include "kernels/math.h"

/* name, exact value at a double x, and the arguments that it is made for */
#define FUNCTIONS(X)                                                                               \
    X(exp, exp(x), -INFINITY, INFINITY)                                                            \
    X(expm1, expm1(x), -INFINITY, 0.0f)                                                            \
    X(log, log(x), -INFINITY, INFINITY)                                                            \
    X(log1p_unit, log1p(x), 0.0f, 1.0f)                                                            \
    X(sigmoid, 1.0 / (1.0 + exp(-x)), -INFINITY, INFINITY)                                         \
    X(tanh, tanh(x), -INFINITY, INFINITY)                                                          \
    X(softplus, fmax(x, 0.0) + log1p(exp(-fabs(x))), -INFINITY, INFINITY)                          \
    X(normal_cdf, 0.5 * erfc(x * -0.70710678118654752440), -INFINITY, INFINITY)

typedef void loop_fn(size_t n, const float *x, float *y);

#define LOOP(NAME, ISA)                                                                            \
    static void NAME##_##ISA(size_t n, const float *restrict x, float *restrict y) {               \
        for (size_t i = 0; i < n; i++) y[i] = NAME##_f(x[i]);                                      \
    }
#define X(NAME, EXACT, LOW, HIGH) LOOP(NAME, baseline)
FUNCTIONS(X)
#undef X
#if defined(__x86_64__)
#define X(NAME, EXACT, LOW, HIGH) __attribute__((target("avx2,fma"))) LOOP(NAME, avx2)
FUNCTIONS(X)
#undef X
#define AVX512 "avx512f,avx512dq,avx512bw,avx512vl,avx2,fma,prefer-vector-width=512"
#define X(NAME, EXACT, LOW, HIGH) __attribute__((target(AVX512))) LOOP(NAME, avx512)
FUNCTIONS(X)
#undef X
#endif

#define X(NAME, EXACT, LOW, HIGH)                                                                  \
    static double exact_##NAME(double x) { return EXACT; }
FUNCTIONS(X)
#undef X

static const struct function {
    const char *name;
    double (*exact)(double x);
    float low, high;
    struct {
        const char *isa;
        loop_fn *loop;
    } loops[3];
} functions[] = {
#if defined(__x86_64__)
#define X(NAME, EXACT, LOW, HIGH)                                                                  \
    {#NAME,                                                                                        \
     exact_##NAME,                                                                                 \
     LOW,                                                                                          \
     HIGH,                                                                                         \
     {{"baseline", NAME##_baseline}, {"avx2", NAME##_avx2}, {"avx512", NAME##_avx512}}},
#else
#define X(NAME, EXACT, LOW, HIGH)                                                                  \
    {#NAME, exact_##NAME, LOW, HIGH, {{"baseline", NAME##_baseline}, {"neon", NAME##_baseline}}},
#endif
    FUNCTIONS(X)
#undef X
};
enum { N_FUNCTIONS = sizeof functions / sizeof functions[0], BLOCK = 4096 };

const char *function_name(int i) { return i < N_FUNCTIONS ? functions[i].name : NULL; }

static loop_fn *loop_of(const struct function *f, const char *isa) {
    for (int i = 0; i < 3 && f->loops[i].isa; i++) {
        if (strcmp(f->loops[i].isa, isa) == 0) return f->loops[i].loop;
    }
    return NULL;
}

/* The core flushes denormals while it runs. */
#if defined(__x86_64__)
static unsigned enter(void) {
    const unsigned mode = __builtin_ia32_stmxcsr();
    __builtin_ia32_ldmxcsr(mode | 0x8040U);
    return mode;
}
static void leave(unsigned mode) { __builtin_ia32_ldmxcsr(mode); }
#else
static unsigned enter(void) { return 0; }
static void leave(unsigned mode) { (void)mode; }
#endif

static double ulp_at(double exact) {
    int power;
    frexp(exact, &power);
    return ldexp(1.0, (power < -125 ? -125 : power) - 24);
}

/* In units of the last place of the exact value; a large number where one is not finite. */
static double error(float found, double exact) {
    if (isnan(exact)) return isnan(found) ? 0.0 : 1e9;
    if (fabs(exact) > (double)FLT_MAX)
        return isinf(found) && (found > 0.0f) == (exact > 0.0) ? 0.0 : 1e9;
    if (fabs(exact) < (double)FLT_MIN) return fabsf(found) <= FLT_MIN ? 0.0 : 1e9;
    const double ulps = fabs((double)found - exact) / ulp_at(exact);
    return isnan(ulps) ? 1e9 : ulps;
}

/* The worst error over every `stride`-th float of the function's arguments, and where it is. */
double function_error(int i, const char *isa, uint32_t stride, float *at) {
    const struct function *f = &functions[i];
    static float x[BLOCK], y[BLOCK];
    double worst = 0.0;
    for (uint64_t bits = 0; bits < (uint64_t)1 << 32;) {
        size_t n = 0;
        for (; n < BLOCK && bits < (uint64_t)1 << 32; bits += stride) {
            const uint32_t low = (uint32_t)bits;
            float v;
            memcpy(&v, &low, sizeof v);
            if (v >= f->low && v <= f->high && !(fabsf(v) < FLT_MIN && v != 0.0f)) x[n++] = v;
        }
        const unsigned mode = enter();
        loop_of(f, isa)(n, x, y);
        leave(mode);
        for (size_t k = 0; k < n; k++) {
            const double ulps = error(y[k], f->exact((double)x[k]));
            if (ulps > worst) worst = ulps, *at = x[k];
        }
    }
    return worst;
}

static double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Results a second: the best of `rounds` runs over numbers of about 1 in the L1 cache. */
double function_speed(int i, const char *isa, int rounds) {
    const struct function *f = &functions[i];
    static float x[BLOCK], y[BLOCK];
    for (int k = 0; k < BLOCK; k++) {
        x[k] = (k % 2 ? -1.0f : 1.0f) * (0.01f + 0.001f * (float)k);
        if (x[k] < f->low || x[k] > f->high) x[k] = -x[k];
        if (f->exact == exact_log || x[k] > f->high) x[k] = fabsf(x[k]) / 8.0f;
    }
    double best = INFINITY;
    for (int round = 0; round < rounds; round++) {
        const unsigned mode = enter();
        const double start = seconds_now();
        for (int repeat = 0; repeat < 50; repeat++) loop_of(f, isa)(BLOCK, x, y);
        const double took = seconds_now() - start;
        leave(mode);
        if (took < best) best = took;
    }
    return 50.0 * BLOCK / best;
}
