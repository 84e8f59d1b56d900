/* draw.h - distributions of random numbers: one row and one formula each.
 *
 * uniform is in [0, 1), of 24 random bits; normal has mean 0 and deviation 1; truncated_normal is
 * normal under the condition that it lies within two deviations.
 */
#ifndef CDL_TEMPLATE

#define CDL_DRAWS(X) X(uniform) X(normal) X(truncated_normal)

#define CDL_DRAW_NUMBER(NAME) CDL_DRAW_##NAME,
enum cdl_draw { CDL_DRAWS(CDL_DRAW_NUMBER) CDL_N_DRAWS };

#else /* inside isa/instantiate.h, behind noise.h */

CDL_INLINE float draw_uniform(struct cdl_key row, uint32_t j) {
    return (float)(int32_t)(cdl_random_bits(row, j) >> 8) * 0x1p-24f;
}

CDL_INLINE float draw_normal(struct cdl_key row, uint32_t j) { return normal_f(row, j); }

/* The first of six draws that lies within; after them (one in 10^8) what is left is clipped. */
CDL_INLINE float draw_truncated_normal(struct cdl_key row, uint32_t j) {
    float z = normal_f(row, j);
    for (uint32_t again = 1; again < 6; again++) {
        const struct cdl_key next = {row.a + again * 0x9e3779b9U, row.b};
        z = abs_f(z) > 2.0f ? normal_f(next, j) : z;
    }
    return within_f(z, -2.0f, 2.0f);
}

#define DRAW_LINE(NAME)                                                                            \
    if (kind == CDL_DRAW_##NAME)                                                                   \
        for (uint32_t j = 0; j < padded; j++) y[j] = draw_##NAME(row, j);

static void draw(enum cdl_draw kind, size_t rows, size_t n, struct cdl_key key, uint32_t first_row,
                 float *y, size_t ldy) {
    assert(are_padded(rows, n, y, ldy) && (int)kind >= 0 && kind < CDL_N_DRAWS);
    const uint32_t padded = (uint32_t)cdl_padded(n);
    for (size_t r = 0; r < rows; r++, y += ldy) {
        const struct cdl_key row = cdl_row_key(key, first_row + (uint32_t)r);
        CDL_DRAWS(DRAW_LINE)
    }
}

#endif
