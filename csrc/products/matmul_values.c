/* matmul_values.c - the kernels of products with weights, on matrices that are not packed.
 *
 * Lines of b of up to 64 columns are a panel in place; of wider ones 64 columns are, rows ldb
 * apart. A transposed b is transposed piece by piece: 64 x 64 floats on the stack. With a
 * transposed a, k is often all lines of a batch, so only as many lines pass at a time as keep those
 * of b in L1.
 */
#include "products/matmul_values.h"

#include <string.h>

#include "base/param.h"
#include "products/low.h"

enum { PIECE = 64 };

static const float zeros[CDL_PANEL];

/* Product with a single column: b is k numbers in a row, whichever way it is transposed. */
static void column(const struct cdl_kernels *kernels, size_t m, size_t k, struct cdl_side a,
                   const float *b, float *c, bool add) {
    float part[PIECE];
    for (size_t i = 0; i < m; i += PIECE) {
        const size_t rows = m - i < PIECE ? m - i : PIECE;
        if (a.transposed)
            kernels->weighted_sum(k, rows, a.lines + i, a.ld, b, part);
        else
            kernels->dot_rows(rows, k, a.lines + i * a.ld, a.ld, true, b, 0.0f, part);
        for (size_t j = 0; j < rows; j++) c[i + j] = add ? c[i + j] + part[j] : part[j];
    }
}

/* Adds to `width` columns of c the product with `depth` rows of a panel of b; bias: start of the
 * sum, or NULL for c. */
static void panel(const struct cdl_kernels *kernels, size_t m, size_t depth, size_t width,
                  struct cdl_side a, size_t p, const float *b, size_t ldb, const float *bias,
                  float *c, size_t ldc) {
    const float *init = bias ? bias : c;
    const size_t ldi = bias ? 0 : ldc;
    if (a.transposed)
        kernels->gemm_columns(m, width, depth, a.lines + p * a.ld, a.ld, b, ldb, init, ldi, c, ldc);
    else
        kernels->gemm_lines(m, width, depth, a.lines + p, a.ld, b, ldb, init, ldi, c, ldc);
}

/* bias: start of the sum; NULL is c itself, a step of 0 one panel of zeros for all */
static void multiply(const struct cdl_kernels *kernels, size_t m, size_t k, size_t n,
                     struct cdl_side a, struct cdl_side b, const float *bias, size_t step, float *c,
                     size_t ldc) {
    for (size_t j = 0; j < n; j += CDL_PANEL) {
        const size_t live = n - j < CDL_PANEL ? n - j : CDL_PANEL;
        const size_t width = cdl_round_up(live, CDL_LINE);
        const float *first = bias ? bias + j * step : NULL;
        if (a.low) {
            struct cdl_side columns = b;
            columns.lines += b.transposed ? j * b.ld : j;
            cdl_low_panel(kernels, m, k, live, a, columns, first ? first : c + j, first ? 0 : ldc,
                          c + j, ldc);
            continue;
        }
        if (!b.transposed) {
            const size_t most = a.transposed ? kernels->blocking->samples : k;
            for (size_t p = 0, depth; p == 0 || p < k; p += depth) {
                depth = cdl_min(k - p, most);
                panel(kernels, m, depth, width, a, p, b.lines + p * b.ld + j, b.ld,
                      p > 0 ? NULL : first, c + j, ldc);
            }
            continue;
        }
        float piece[PIECE * CDL_PANEL];
        if (live < width) memset(piece, 0, (k < PIECE ? k : PIECE) * CDL_PANEL * sizeof(float));
        for (size_t p = 0; p < k; p += PIECE) {
            const size_t depth = k - p < PIECE ? k - p : PIECE;
            kernels->transpose(live, depth, b.lines + j * b.ld + p, b.ld, piece, CDL_PANEL);
            panel(kernels, m, depth, width, a, p, piece, CDL_PANEL, p > 0 ? NULL : first, c + j,
                  ldc);
        }
    }
}

void cdl_matmul_values(const struct cdl_kernels *kernels, size_t m, size_t k, size_t n,
                       struct cdl_side a, struct cdl_side b, float *c, size_t ldc, bool add) {
    if (n == 1)
        column(kernels, m, k, a, b.lines, c, add);
    else
        multiply(kernels, m, k, n, a, b, add ? NULL : zeros, 0, c, ldc);
}

void cdl_matmul_values_biased(const struct cdl_kernels *kernels, size_t m, size_t k, size_t n,
                              struct cdl_side a, struct cdl_side b, const float *bias, float *c,
                              size_t ldc) {
    multiply(kernels, m, k, n, a, b, bias, 1, c, ldc);
}
