/* matmul_values.h - products of matrices that are values: lines as they lie, either side
 * transposed. */
#ifndef CDL_PRODUCTS_MATMUL_VALUES_H
#define CDL_PRODUCTS_MATMUL_VALUES_H

#include <stdbool.h>

#include "kernels/kernels.h"

/* Matrix in lines that are ld apart (1 for a single column), or its transpose. */
struct cdl_side {
    const float *lines;
    size_t ld;
    bool transposed;
    bool low; /* of a: the product may use bfloat16 tiles (low.h) */
};

/* Product c[m, n] = a[m, k] b[k, n], or added to c; pads of c are finite afterwards, if all else
 * is. */
void cdl_matmul_values(const struct cdl_kernels *kernels, size_t m, size_t k, size_t n,
                       struct cdl_side a, struct cdl_side b, float *c, size_t ldc, bool add);

/* Product + bias, a padded row of n > 1 columns. */
void cdl_matmul_values_biased(const struct cdl_kernels *kernels, size_t m, size_t k, size_t n,
                              struct cdl_side a, struct cdl_side b, const float *bias, float *c,
                              size_t ldc);

#endif
