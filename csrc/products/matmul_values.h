/* matmul_values.h - products of matrices that are values: lines as they lie, either side
 * transposed. */
#pragma once

#include <stdbool.h>

#include "kernels/kernels.h"

/* Matrix in lines that are ld apart (1 for a single column), or its transpose. */
struct cdl_side {
    const float *lines;
    size_t ld;
    bool transposed;
    bool low; /* of a: the product may use bfloat16 tiles (low.c) */
};

/* Product c[m, n] = init + a[m, k] b[k, n]; init.at NULL: from 0; else c itself or, of n > 1
 * columns, a padded row for all (ld 0). Pads of c are finite afterwards, if all else is. */
struct cdl_values {
    size_t m, k, n;
    struct cdl_side a, b;
    struct cdl_matrix init;
    struct cdl_output c;
};
void cdl_matmul_values(const struct cdl_kernels *kernels, const struct cdl_values *product);

/* low.c: the same by tiles, of n <= CDL_PANEL columns, from an init. */
void cdl_low_panel(const struct cdl_kernels *kernels, const struct cdl_values *product);
