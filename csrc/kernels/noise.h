/* noise.h - dropout, plain and with a pattern, and normal noise.
 *
 * Part of the ISA template. Each element's bits are a function of the key, its row and its column,
 * so that backward draws them again (base/rng.h).
 */

/* cos(2 pi t) for t in [-1/2, 1/2): sin of a quarter turn less |2 pi t|, whose Taylor series is cut
 * where float ends (the next term is 4e-9 at pi / 2). */
CDL_INLINE float cos_turn_f(float t) {
    const float a = fma_f(-6.28318531f, abs_f(t), 1.57079633f), a2 = a * a;
    const float p = HORNER_5(fma_f, a2, -2.50521084e-8f, 2.75573192e-6f, -1.98412698e-4f,
                             8.33333333e-3f, -1.66666667e-1f);
    return fma_f(p * a2, a, a);
}

/* A standard normal number (Box and Muller, 1958) out of two times 24 random bits. The first is in
 * (0, 1], so that its logarithm is finite. */
CDL_INLINE float normal_f(struct cdl_key row, uint32_t j) {
    const struct cdl_key other = {row.a ^ 0x9e3779b9U, row.b + 0x7f4a7c15U};
    const int32_t a = (int32_t)(cdl_random_bits(row, j) >> 8);
    const int32_t b = (int32_t)(cdl_random_bits(other, j) >> 8);
    const float radius = sqrtf(-2.0f * log_f((float)(a + 1) * 0x1p-24f));
    return radius * cos_turn_f((float)b * 0x1p-24f - 0.5f);
}

static void noise(size_t rows, size_t n, struct cdl_key key, uint32_t first_row, float stddev,
                  bool multiplies, struct cdl_matrix from, struct cdl_output to) {
    const float *x = from.at;
    float *y = to.at;
    assert(are_padded(rows, n, x, from.ld) && are_padded(rows, n, y, to.ld) && stddev >= 0.0f);
    const uint32_t padded = (uint32_t)cdl_padded(n);
    for (size_t r = 0; r < rows; r++, x += from.ld, y += to.ld) {
        const struct cdl_key row = cdl_row_key(key, first_row + (uint32_t)r);
        if (multiplies) {
            for (uint32_t j = 0; j < padded; j++)
                y[j] = fma_f(x[j], stddev * normal_f(row, j), x[j]);
        } else {
            for (uint32_t j = 0; j < padded; j++) y[j] = fma_f(stddev, normal_f(row, j), x[j]);
        }
    }
}

static void dropout(size_t rows, size_t n, struct cdl_key key, uint32_t first_row,
                    const struct cdl_drop *drop, struct cdl_matrix from, struct cdl_output to) {
    const float *x = from.at, scale = drop->scale;
    float *y = to.at;
    assert(are_padded(rows, n, x, from.ld) && are_padded(rows, n, y, to.ld));
    const uint32_t padded = (uint32_t)cdl_padded(n), keep = drop->keep;
    for (size_t r = 0; r < rows; r++, x += from.ld, y += to.ld) {
        const struct cdl_key row = cdl_row_key(key, first_row + (uint32_t)r);
        for (uint32_t j = 0; j < padded; j++) {
            y[j] = cdl_random_bits(row, j) < keep ? x[j] * scale : 0.0f;
        }
    }
}

static void drop_line(size_t n, struct cdl_key key, uint32_t row, bool as_one,
                      const struct cdl_drop *drop, const float *x, float *y) {
    assert(n > 0 && x && y);
    const uint32_t keep = drop->keep;
    const float scale = drop->scale, shift = drop->shift, dropped = drop->dropped;
    const uint32_t padded = (uint32_t)cdl_padded(n);
    const struct cdl_key own = cdl_row_key(key, row);
    const uint32_t each = as_one ? 0 : UINT32_MAX; /* one draw for the line: that of column 0 */
    for (uint32_t j = 0; j < padded; j++) {
        y[j] = cdl_random_bits(own, j & each) < keep ? fma_f(x[j], scale, shift) : dropped;
    }
}

/* ---- the Mersenne Twister (Matsumoto and Nishimura, 1998) ------------------------------------ */

enum { TWIST_FAR = 397 }; /* from a word to one that it is mixed with */

CDL_INLINE uint32_t twisted(uint32_t word, uint32_t following, uint32_t far) {
    const uint32_t both = (word & 0x80000000u) | (following & 0x7fffffffu);
    return far ^ (both >> 1) ^ (-(both & 1u) & 0x9908b0dfu);
}

static void twist(uint32_t *restrict words, uint32_t *restrict drawn) {
    enum { N = CDL_TWISTER_WORDS, FAR = TWIST_FAR };
    for (size_t i = 0; i < N - FAR; i++) words[i] = twisted(words[i], words[i + 1], words[i + FAR]);
    for (size_t i = N - FAR; i < N - 1; i++)
        words[i] = twisted(words[i], words[i + 1], words[i + FAR - N]);
    words[N - 1] = twisted(words[N - 1], words[0], words[FAR - 1]);
    for (size_t i = 0; i < N; i++) {
        uint32_t y = words[i];
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c5680u;
        y ^= (y << 15) & 0xefc60000u;
        drawn[i] = y ^ (y >> 18);
    }
}
