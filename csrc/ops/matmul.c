/* matmul.c - cache blocking around the kernels: which block is computed when. */
#include "ops/matmul.h"

#include "base/param.h"

/* Rows that go through a panel together before their epilogue: 48 x 64 floats of c stay in L1. */
enum { ROW_GROUP = 48 };

/* A panel's block of k: 1,024 x 64 floats are 256 KB, which L2 keeps while all rows pass. */
enum { K_BLOCK = 1024 };

/* Samples of a gradient's block: 256 rows of 64 floats of each factor are 64 KB. */
enum { SAMPLE_BLOCK = 256 };

static const float zeros[CDL_PANEL];

static void finish(const struct cdl_kernels *kernels, const struct cdl_epilogue *epilogue,
                   size_t rows, size_t width, size_t first_row, size_t first_column, float *c,
                   size_t ldc) {
    if (epilogue->activation == CDL_ACTIVATION_linear) return;
    if (epilogue->slope) {
        const float *y = epilogue->y + first_row * epilogue->ldy + first_column;
        kernels->activation_slope[epilogue->activation](
            rows, width, y, epilogue->ldy, y, epilogue->ldy, c, ldc, c, ldc, epilogue->params);
    } else {
        kernels->activation[epilogue->activation](rows, width, c, ldc, c, ldc, epilogue->params);
    }
}

void cdl_matmul(const struct cdl_kernels *kernels, size_t m, size_t k, size_t n, const float *a,
                size_t lda, const float *b, const float *bias, float *c, size_t ldc,
                const struct cdl_epilogue *epilogue) {
    for (size_t column = 0; column < n; column += CDL_PANEL) {
        const size_t width = cdl_panel_width(n, column);
        const float *panel = b + column * k;
        for (size_t p = 0; p == 0 || p < k; p += K_BLOCK) {
            const size_t depth = k - p < K_BLOCK ? k - p : K_BLOCK;
            for (size_t row = 0; row < m; row += ROW_GROUP) {
                const size_t rows = m - row < ROW_GROUP ? m - row : ROW_GROUP;
                float *block = c + row * ldc + column;
                const float *init = p ? block : (bias ? bias + column : zeros);
                kernels->gemm_rows(rows, width, depth, a + row * lda + p, lda, panel + p * width,
                                   init, p ? ldc : 0, block, ldc);
                if (p + depth == k) finish(kernels, epilogue, rows, width, row, column, block, ldc);
            }
        }
    }
}

void cdl_matmul_gradient(const struct cdl_kernels *kernels, size_t samples, size_t rows_of_w,
                         size_t width, const float *a, size_t lda, const float *b, size_t ldb,
                         float *g) {
    for (size_t s = 0; s == 0 || s < samples; s += SAMPLE_BLOCK) {
        const size_t depth = samples - s < SAMPLE_BLOCK ? samples - s : SAMPLE_BLOCK;
        kernels->gemm_columns(rows_of_w, width, depth, a + s * lda, lda, b + s * ldb, ldb,
                              s ? g : zeros, s ? width : 0, g, width);
    }
}
