/* winograd.h - 2 x 2 places of a window of 3 x 3 from 4 x 4 numbers, with 16 products in place of
 * 36 (Winograd, 1980; Lavin and Gray, 2016, F(2 x 2, 3 x 3)).
 *
 * Part of the ISA template. d are numbers of an image, g weights: y = A' [(G g G') (B' d B)] A,
 * element by element within the brackets. Columns of each number go by registers.
 */
CDL_INLINE void transform_four(const vf d[4], vf v[4]) { /* B' d */
    v[0] = d[0] - d[2];
    v[1] = d[1] + d[2];
    v[2] = d[2] - d[1];
    v[3] = d[1] - d[3];
}

/* n columns, padded, of the 16 numbers of each element; element e of v at v + e step. */
static void winograd_image(size_t n, const float *const d[16], float *v, size_t step) {
    assert(is_whole(n) && v && step >= n);
    for (size_t j = 0; j < n; j += CDL_VLEN) {
        vf rows[4][4], t[4][4]; /* t: by columns */
        CDL_UNROLL for (size_t x = 0; x < 4; x++) {
            vf column[4];
            CDL_UNROLL for (size_t y = 0; y < 4; y++) column[y] = vf_load(d[4 * y + x] + j);
            transform_four(column, t[x]);
        }
        CDL_UNROLL for (size_t y = 0; y < 4; y++) {
            vf row[4];
            CDL_UNROLL for (size_t x = 0; x < 4; x++) row[x] = t[x][y];
            transform_four(row, rows[y]);
        }
        CDL_UNROLL for (size_t e = 0; e < 16; e++) vf_store(v + e * step + j, rows[e / 4][e % 4]);
    }
}

CDL_INLINE void transform_three(const vf g[3], vf u[4]) { /* G g */
    const vf half = vf_splat(0.5f), ends = g[0] + g[2];
    u[0] = g[0];
    u[1] = (ends + g[1]) * half;
    u[2] = (ends - g[1]) * half;
    u[3] = g[2];
}

CDL_INLINE void change_weights(const float *g, ptrdiff_t tap_step, float *u, size_t step) {
    vf t[3][4];
    CDL_UNROLL for (ptrdiff_t x = 0; x < 3; x++) {
        vf column[3];
        CDL_UNROLL for (ptrdiff_t y = 0; y < 3; y++) column[y] =
            vf_load(g + (3 * y + x) * tap_step);
        transform_three(column, t[x]);
    }
    CDL_UNROLL for (size_t y = 0; y < 4; y++) {
        const vf row[3] = {t[0][y], t[1][y], t[2][y]};
        vf out[4];
        transform_three(row, out);
        CDL_UNROLL for (size_t x = 0; x < 4; x++) vf_store(u + (4 * y + x) * step, out[x]);
    }
}

static void winograd_weights(size_t rows, size_t width, const float *g, size_t ldg,
                             ptrdiff_t tap_step, float *u, size_t step) {
    assert(is_whole(width) && g && u && step >= rows * width);
    for (size_t r = 0; r < rows; r++, g += ldg, u += width) {
        for (size_t j = 0; j < width; j += CDL_VLEN) change_weights(g + j, tap_step, u + j, step);
    }
}

CDL_INLINE void gather_four(const vf m[4], vf y[2]) { /* A' m */
    y[0] = m[0] + m[1] + m[2];
    y[1] = m[1] - m[2] - m[3];
}

static void winograd_map(size_t n, const float *m, size_t step, const float *init, bool cuts,
                         float *const y[4]) {
    assert(is_whole(n) && m && init);
    for (size_t j = 0; j < n; j += CDL_VLEN) {
        vf t[4][2];
        CDL_UNROLL for (size_t x = 0; x < 4; x++) {
            vf column[4];
            CDL_UNROLL for (size_t r = 0; r < 4; r++) column[r] =
                vf_load(m + (4 * r + x) * step + j);
            gather_four(column, t[x]);
        }
        CDL_UNROLL for (size_t r = 0; r < 2; r++) {
            const vf row[4] = {t[0][r], t[1][r], t[2][r], t[3][r]};
            vf out[2];
            gather_four(row, out);
            CDL_UNROLL for (size_t x = 0; x < 2; x++) {
                vf place = out[x] + vf_load(init + j);
                if (cuts) place = vf_select(place < vf_splat(0), vf_splat(0), place);
                vf_store(y[2 * r + x] + j, place);
            }
        }
    }
}
