/* low.c - products of floats by tiles of bfloat16: both factors are rounded on the way.
 *
 * Some rows of either factor at a time become tiles, and are not kept. The order of a sum is that
 * of kernels/bf16.h, in runs of 256.
 */
#include "products/matmul_values.h"

#include "base/param.h"

enum { LINE = CDL_BF16_LINE, DEPTH = 256, ROWS = 32, LD = DEPTH + LINE };

/* Packs `rows` rows of pairs, 0 up to a whole line, side by side. */
static void pair(const struct cdl_kernels *kernels, size_t rows, size_t n, const float *x,
                 size_t ldx, uint32_t *to, size_t ld) {
    const size_t full = (rows + 1) / 2, all = cdl_bf16_padded(rows) / 2;
    kernels->bf16_pack(rows, cdl_round_up(n, CDL_LINE), x, ldx, to, ld);
    memset(to + full * ld, 0, (all - full) * ld * sizeof *to);
}

/* Rounds m rows of a from column p on: `depth` numbers, 0 up to a whole line. */
static void take_rows(const struct cdl_kernels *kernels, size_t m, size_t depth, struct cdl_side a,
                      size_t row, size_t p, float *to) {
    _Alignas(64) float pairs[DEPTH / 2 * ROWS];
    if (!a.transposed) {
        kernels->bf16_from_floats(m, depth, a.lines + row * a.ld + p, a.ld, cdl_bf16(to), LD);
        return;
    }
    pair(kernels, depth, m, a.lines + p * a.ld + row, a.ld, (uint32_t *)(void *)pairs, ROWS);
    kernels->transpose(cdl_bf16_padded(depth) / 2, m, pairs, ROWS, to, LD / 2);
}

/* Packs n columns of b, rows [p, p + depth), as one or two panels of pairs. */
static void take_panels(const struct cdl_kernels *kernels, size_t depth, size_t n,
                        struct cdl_side b, size_t p, float *to) {
    const size_t panel = cdl_bf16_padded(depth) / 2 * LINE;
    _Alignas(64) float rows[LINE * LD / 2];
    for (size_t j = 0; j < n; j += LINE, to += panel) {
        const size_t live = cdl_min(n - j, LINE);
        if (!b.transposed) {
            pair(kernels, depth, live, b.lines + p * b.ld + j, b.ld, (uint32_t *)(void *)to, LINE);
            continue;
        }
        kernels->bf16_from_floats(live, depth, b.lines + j * b.ld + p, b.ld, cdl_bf16(rows), LD);
        kernels->transpose(live, cdl_bf16_padded(depth) / 2, rows, LD / 2, to, LINE);
    }
}

void cdl_low_panel(const struct cdl_kernels *kernels, const struct cdl_values *v) {
    _Alignas(64) float rows[ROWS * LD / 2], panels[DEPTH / 2 * CDL_PANEL];
    for (size_t first = 0; first < v->k; first += DEPTH) {
        const size_t depth = cdl_min(v->k - first, DEPTH), padded = cdl_bf16_padded(depth);
        const struct cdl_matrix init = first ? (struct cdl_matrix){v->c.at, v->c.ld} : v->init;
        take_panels(kernels, depth, v->n, v->b, first, panels);
        for (size_t i = 0; i < v->m; i += ROWS) {
            struct cdl_bf16_gemm p = {.m = cdl_min(v->m - i, ROWS), .k = padded, .lda = LD};
            p.n = cdl_round_up(v->n, CDL_LINE), p.a = cdl_bf16(rows);
            p.b = (const uint32_t *)(const void *)panels, p.step = padded / 2 * LINE;
            p.init = (struct cdl_matrix){init.at + i * init.ld, init.ld};
            p.c = (struct cdl_output){v->c.at + i * v->c.ld, v->c.ld};
            take_rows(kernels, p.m, depth, v->a, i, first, rows);
            kernels->gemm_bf16(&p);
        }
    }
}
