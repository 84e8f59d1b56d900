/* bf16.h - numbers of bfloat16 in memory, and their products.
 *
 * A row of bfloat16 is padded to CDL_BF16_LINE numbers, a line of the cache. Products have one
 * factor in rows, k side by side, and one in pairs: a panel of CDL_BF16_LINE columns, of which each
 * element holds rows 2 p (its lower half) and 2 p + 1 of a column. The order of a sum is that of
 * AMX's TDPBF16PS: of each 32 products those of even k and those of odd k are added up from 0 by
 * fused multiply-adds, then both sums to what was there. So all ISAs give the same bits.
 *
 * Part of the ISA template. */

/* Loops of a line of floats, so that the compiler makes no rest of them. */
#define EACH(I) for (size_t I = 0; I < CDL_LINE; I++)

CDL_INLINE uint32_t bf16_bits(float x) { return (uint32_t)bits_of_float(to_bfloat16(x)); }
/* A vector of numbers of bfloat16. */
typedef uint16_t v_bf16 __attribute__((vector_size(CDL_VLEN * 2)));
typedef uint16_t v_bf16_anywhere __attribute__((vector_size(CDL_VLEN * 2), aligned(2), may_alias));

CDL_INLINE vf vf_of_bfloat16(const uint16_t *x) {
    const v_bf16 low = *(const v_bf16_anywhere *)x;
    return (vf)(__builtin_convertvector(low, vu) << 16);
}

CDL_INLINE float float_of_low(uint32_t pair) { return float_of_bits((int32_t)(pair << 16)); }
CDL_INLINE float float_of_high(uint32_t pair) {
    return float_of_bits((int32_t)(pair & 0xffff0000U));
}

static void bf16_from_floats(size_t rows, size_t n, const float *x, size_t ldx, uint16_t *y,
                             size_t ldy) {
    assert(are_padded(rows, n, x, ldx) && (rows <= 1 || ldy >= cdl_bf16_padded(n)));
    for (size_t r = 0; r < rows; r++, x += ldx, y += ldy) {
        if (n == 1) y[0] = (uint16_t)(bf16_bits(x[0]) >> 16);
        for (size_t j = 0; n > 1 && j < cdl_padded(n); j += CDL_VLEN)
            *(v_bf16_anywhere *)(y + j) =
                __builtin_convertvector((vu)vf_to_bfloat16(vf_load(x + j)) >> 16, v_bf16);
        for (size_t j = n; j < cdl_bf16_padded(n); j++) y[j] = 0;
    }
}

static void bf16_to_floats(size_t rows, size_t n, const uint16_t *x, size_t ldx, float *y,
                           size_t ldy) {
    assert(rows <= 1 || (ldx >= n && ldy >= cdl_padded(n)));
    for (size_t r = 0; r < rows; r++, x += ldx, y += ldy) {
        if (n == 1) y[0] = brain_f(x[0]);
        for (size_t j = 0; n > 1 && j < cdl_padded(n); j += CDL_VLEN)
            vf_store(y + j, vf_of_bfloat16(x + j));
    }
}

/* Rows in pairs; the last one of an odd number is paired with zeros. */
static void bf16_pair(size_t rows, size_t n, const uint16_t *x, size_t ldx, uint32_t *y,
                      size_t ldy) {
    for (size_t r = 0; r < rows; r += 2, x += 2 * ldx, y += ldy) {
        const bool both = r + 1 < rows;
        const uint16_t *other = both ? x + ldx : x;
        for (size_t j = 0; j < n; j += CDL_LINE)
            EACH(i) y[j + i] = x[j + i] | (uint32_t)other[j + i] << 16;
        for (size_t j = 0; j < n && !both; j++) y[j] &= 0xffffU;
    }
}

static void bf16_unpair(size_t pairs, size_t n, const uint32_t *x, size_t ldx, uint16_t *y,
                        size_t ldy) {
    for (size_t p = 0; p < pairs; p++, x += ldx, y += 2 * ldy) {
        for (size_t j = 0; j < n; j += CDL_LINE) {
            EACH(i) y[j + i] = (uint16_t)x[j + i];
            EACH(i) y[ldy + j + i] = (uint16_t)(x[j + i] >> 16);
        }
    }
}

static void bf16_pack(size_t rows, size_t n, const float *w, size_t ldw, uint32_t *y, size_t ldy) {
    for (size_t r = 0; r < rows; r += 2, w += 2 * ldw, y += ldy) {
        const uint32_t both = r + 1 < rows ? 0xffff0000U : 0;
        const float *other = both ? w + ldw : w;
        for (size_t j = 0; j < n; j += CDL_LINE)
            EACH(i) y[j + i] = bf16_bits(w[j + i]) >> 16 | (bf16_bits(other[j + i]) & both);
    }
}

static void bf16_pair_sums(size_t pairs, size_t n, const uint32_t *x, size_t ldx, float *g) {
    for (size_t j = 0; j < n; j += CDL_LINE, x += CDL_LINE, g += CDL_LINE) {
        EACH(i) g[i] = 0.0f;
        for (size_t p = 0; p < pairs; p++) {
            EACH(i) g[i] = g[i] + float_of_low(x[p * ldx + i]) + float_of_high(x[p * ldx + i]);
        }
    }
}

CDL_INLINE void bf16_copy(size_t n, const uint16_t *x, size_t step, uint16_t *y) {
    for (size_t j = 0; j < n; j += CDL_BF16_LINE, x += step)
        memcpy(y + j, x, CDL_BF16_LINE * sizeof *y);
}

static void bf16_unroll(const struct cdl_bf16_seen *seen) {
    static const uint16_t zeros[CDL_BF16_LINE];
    const struct cdl_bf16_seen s = *seen;
    const ptrdiff_t reach = ((ptrdiff_t)s.taps - 1) * s.tap_step;
    const bool joined = s.tap_step * (ptrdiff_t)s.ld == (ptrdiff_t)s.width;
    for (size_t place = 0; place < s.places; place++) {
        uint16_t *to = s.y + place * s.ldy;
        const ptrdiff_t first = s.first + (ptrdiff_t)place * s.step;
        if (joined && s.x && s.by == 1 && first >= 0 && first + reach < s.lines) {
            bf16_copy(s.taps * s.width, s.x + (size_t)first * s.ld, CDL_BF16_LINE, to);
            continue;
        }
        for (size_t tap = 0; tap < s.taps; tap++, to += s.width) {
            const ptrdiff_t at = first + (ptrdiff_t)tap * s.tap_step;
            const bool sees =
                s.x && at >= 0 && at < s.lines * s.by && (s.by == 1 || at % s.by == 0);
            const size_t line = sees ? (size_t)(s.by == 1 ? at : at / s.by) : 0;
            bf16_copy(s.width, sees ? s.x + line * s.ld : zeros, sees ? CDL_BF16_LINE : 0, to);
        }
    }
}

/* ---- products -------------------------------------------------------------------------------- */

/* A tile is BF16_NV registers wide, half of a panel or all of it, and has two sums an element. */
enum {
    BF16_NV = CDL_GEMM_NV * CDL_VLEN > CDL_BF16_LINE ? CDL_BF16_LINE / CDL_VLEN : CDL_GEMM_NV,
    BF16_ROWS = CDL_GEMM_ROWS(CDL_GEMM_NV) * CDL_GEMM_NV / (2 * BF16_NV),
    BF16_DEPTH = 32
};

/* One step of TDPBF16PS: c = from + a b, where a has rows of BF16_DEPTH floats and b as many of
 * CDL_PANEL. */
CDL_INLINE void bf16_tile(const size_t mr, const float *a, const float *b, const float *from,
                          size_t ldf, float *c, size_t ldc) {
    vf sum[BF16_ROWS][BF16_NV][2];
    CDL_UNROLL for (size_t i = 0; i < mr; i++) {
        CDL_UNROLL for (size_t j = 0; j < BF16_NV; j++) sum[i][j][0] = sum[i][j][1] = vf_splat(0);
    }
    for (size_t p = 0; p < BF16_DEPTH; p += 2, a += 2) {
        CDL_UNROLL for (size_t odd = 0; odd < 2; odd++, b += CDL_PANEL) {
            vf row[BF16_NV];
            CDL_UNROLL for (size_t j = 0; j < BF16_NV; j++) row[j] = vf_load(b + j * CDL_VLEN);
            CDL_UNROLL for (size_t i = 0; i < mr; i++) {
                const vf s = vf_splat(a[i * BF16_DEPTH + odd]);
                CDL_UNROLL for (size_t j = 0; j < BF16_NV; j++) sum[i][j][odd] =
                    vf_fma(s, row[j], sum[i][j][odd]);
            }
        }
    }
    CDL_UNROLL for (size_t i = 0; i < mr; i++) {
        CDL_UNROLL for (size_t j = 0; j < BF16_NV; j++) {
            const vf both = sum[i][j][0] + sum[i][j][1];
            vf_store(c + i * ldc + j * CDL_VLEN, vf_load(from + i * ldf + j * CDL_VLEN) + both);
        }
    }
}

CDL_INLINE void bf16_tiles(const size_t mr, size_t width, const float *a, const float *b,
                           const float *from, size_t ldf, float *c, size_t ldc) {
    size_t j = 0;
    for (; j + BF16_NV * CDL_VLEN <= width; j += BF16_NV * CDL_VLEN)
        bf16_tile(mr, a, b + j, from + j, ldf, c + j, ldc);
    if (j == width) return;
    float wide[BF16_ROWS * CDL_BF16_LINE]; /* a single line, in registers of two */
    for (size_t i = 0; i < mr; i++) {
        for (size_t q = 0; q < CDL_BF16_LINE; q++)
            wide[i * CDL_BF16_LINE + q] = q < CDL_LINE ? from[i * ldf + j + q] : 0.0f;
    }
    bf16_tile(mr, a, b + j, wide, CDL_BF16_LINE, wide, CDL_BF16_LINE);
    copy_columns(mr, CDL_LINE, wide, CDL_BF16_LINE, c + j, ldc);
}

// clang-format off
#define CASE(MR) case MR: if (MR <= BF16_ROWS) bf16_tiles(MR, p->n, rows, panel, from, ldf, to, p->c.ld); break;
static void gemm_bf16(const struct cdl_bf16_gemm *p) {
    assert(p->k > 0 && p->k % BF16_DEPTH == 0 && is_whole(p->n) && p->n <= CDL_PANEL);
    const size_t tiles = (p->m + BF16_ROWS - 1) / BF16_ROWS;
    const uint32_t *b = p->b;
    for (size_t first = 0; first < p->k; first += BF16_DEPTH, b += BF16_DEPTH / 2 * CDL_BF16_LINE) {
        _Alignas(64) float panel[BF16_DEPTH * CDL_PANEL], rows[BF16_ROWS * BF16_DEPTH];
        const size_t ldf = first ? p->c.ld : p->init.ld;
        for (size_t j = 0; j < p->n; j += CDL_BF16_LINE) {
            const uint32_t *pairs = j ? b + p->step : b;
            float *even = panel + j;
            for (size_t q = 0; q < BF16_DEPTH / 2; q++, even += 2 * CDL_PANEL, pairs += CDL_BF16_LINE) {
                for (size_t t = 0; t < CDL_BF16_LINE; t++) even[t] = float_of_low(pairs[t]);
                for (size_t t = 0; t < CDL_BF16_LINE; t++) even[CDL_PANEL + t] = float_of_high(pairs[t]);
            }
        }
        for (size_t t = 0, i = 0, mr; t < tiles; t++, i += mr) {
            mr = p->m / tiles + (t < p->m % tiles);
            float *to = p->c.at + i * p->c.ld;
            const float *from = first ? to : p->init.at + i * ldf;
            for (size_t r = 0; r < mr; r++) {
                for (size_t q = 0; q < BF16_DEPTH; q++) rows[r * BF16_DEPTH + q] = brain_f(p->a[(i + r) * p->lda + first + q]);
            }
            switch (mr) {
                CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6)
            }
        }
    }
}
#undef CASE
#undef EACH
// clang-format on
