/* peaks.c - how fast this machine can multiply, step Adam and read: the roofline of the tables.
 *
 * Compiled for the machine itself, so that gcc or clang may use whatever it has.
 */
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#if defined(__AVX512F__)
enum { BYTES = 64 };
#elif defined(__AVX__)
enum { BYTES = 32 };
#else
enum { BYTES = 16 };
#endif
typedef float vf __attribute__((vector_size(BYTES)));

/* Twelve chains hide a latency of 4 to 6 cycles on two units and fit 16 registers. */
enum { CHAINS = 12 };

/* Runs `repeats` rounds of 12 vector FMAs on each of `threads` threads; floating-point operations.
 */
double peak_fma(size_t repeats, int threads) {
    float sink = 0.0f;
#pragma omp parallel num_threads(threads) reduction(+ : sink)
    {
        vf sums[CHAINS];
        vf a, b;
        for (size_t i = 0; i < BYTES / sizeof(float); i++) a[i] = 0.999f, b[i] = 0.001f;
        for (int c = 0; c < CHAINS; c++) sums[c] = a * (float)c;
        for (size_t r = 0; r < repeats; r++) {
#pragma GCC unroll 12
            for (int c = 0; c < CHAINS; c++) sums[c] = sums[c] * a + b;
        }
        for (int c = 0; c < CHAINS; c++) sink += sums[c][0];
    }
    volatile float kept = sink;
    (void)kept;
    return 2.0 * CHAINS * (BYTES / sizeof(float)) * (double)repeats * threads;
}

static void adam(size_t n, float *restrict w, const float *restrict g, float *restrict m,
                 float *restrict v) {
    for (size_t i = 0; i < n; i++) {
        m[i] += (g[i] - m[i]) * 0.1f;
        v[i] += (g[i] * g[i] - v[i]) * 0.001f;
        w[i] -= m[i] * 0.001f / (sqrtf(v[i]) + 1e-7f);
    }
}

/* Adam with an exact root and an exact quotient, `repeats` times; n weights, a part a thread. */
void peak_adam(size_t repeats, size_t n, float *w, const float *g, float *m, float *v,
               int threads) {
#pragma omp parallel for num_threads(threads) if (threads > 1)
    for (int t = 0; t < threads; t++) {
        const size_t first = n * (size_t)t / (size_t)threads;
        const size_t last = n * ((size_t)t + 1) / (size_t)threads;
        for (size_t r = 0; r < repeats; r++)
            adam(last - first, w + first, g + first, m + first, v + first);
    }
}

/* The sum of n floats: eight chains of vectors. */
static float sum_of(size_t n, const float *x) {
    vf sums[8];
    memset(sums, 0, sizeof sums);
    const size_t step = 8 * BYTES / sizeof(float);
    for (size_t i = 0; i + step <= n; i += step) {
#pragma GCC unroll 8
        for (size_t c = 0; c < 8; c++) {
            vf next;
            memcpy(&next, x + i + c * (BYTES / sizeof(float)), sizeof next);
            sums[c] += next;
        }
    }
    float sum = 0.0f;
    for (size_t c = 0; c < 8; c++) sum += sums[c][0];
    return sum;
}

/* Reads n floats `repeats` times, a part a thread. */
float peak_read(size_t repeats, size_t n, const float *x, int threads) {
    float sum = 0.0f;
#pragma omp parallel for num_threads(threads) if (threads > 1) reduction(+ : sum)
    for (int t = 0; t < threads; t++) {
        const size_t first = n * (size_t)t / (size_t)threads;
        const size_t last = n * ((size_t)t + 1) / (size_t)threads;
        for (size_t r = 0; r < repeats; r++) {
            sum += sum_of(last - first, x + first);
            __asm__ volatile("" ::: "memory"); /* read it again */
        }
    }
    return sum;
}
