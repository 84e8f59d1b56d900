/* bf16.h - products of matrices of bfloat16, whose sums are float32 (kernels/bf16.h).
 */
#pragma once

#include "products/matmul.h"

/* Product of columns [first, first + columns) of y[m, n] = f(x[m, k] w + bias), or of dx[m, k] =
 * dz[m, n] w^T times a gradient, rounded; `first` is a panel's. `bias` (padded) may be NULL. */
struct cdl_bf16_product {
    size_t m, first, columns;
    const uint16_t *a;
    size_t lda;
    const struct cdl_param *w; /* in pairs, or floats that were rounded */
    bool transposed, small_m;  /* see cdl_matmul_transposed */
    const float *bias;
    uint16_t *c;
    size_t ldc;
    int activation; /* see struct cdl_epilogue */
    bool gradient;
    const uint16_t *y; /* laid out as c */
    const float *params;
};
void cdl_bf16_matmul(const struct cdl_context *ctx, const struct cdl_bf16_product *product,
                     float *scratch);
size_t cdl_bf16_matmul_floats(const struct cdl_param *w, size_t m);
