/* matmul.h - products of whole matrices out of the kernels' blocks.
 *
 * All functions poll the run's watch; if it stops them, their results are undefined.
 */
#pragma once

#include <stdbool.h>

#include "learn/context.h"

/* Epilogue: work on a block of c while it is in the L1 cache. */
struct cdl_epilogue {
    int activation; /* CDL_ACTIVATION_linear: nothing */
    bool gradient;  /* c *= df(y) instead of c = f(c) */
    const float *y; /* gradient: the values of f, rows ldy apart, columns as those of c */
    size_t ldy;
    const float *params;
};

/* Is an epilogue relu, which tiles of the kernel apply? */
static inline bool cdl_cuts(const struct cdl_epilogue *epilogue) {
    return epilogue->activation == CDL_ACTIVATION_plain_relu && !epilogue->gradient;
}

/* Applies an epilogue to a block of c, where y begins at y + offset. */
static inline void cdl_finish(const struct cdl_kernels *kernels,
                              const struct cdl_epilogue *epilogue, size_t rows, size_t width,
                              size_t offset, float *c, size_t ldc, size_t ldy) {
    const int f = epilogue->activation;
    if (f == CDL_ACTIVATION_linear) return;
    if (epilogue->gradient) {
        const struct cdl_matrix y = {epilogue->y + offset, ldy};
        kernels->activation_gradient[f](rows, width, y, y, (struct cdl_matrix){c, ldc},
                                        (struct cdl_output){c, ldc}, epilogue->params);
    } else {
        kernels->activation[f](rows, width, c, ldc, c, ldc, epilogue->params);
    }
}

/* Product with b.at in panels (base/param.h), of any n; init: a padded row, or NULL. uncached: a is
 * in memory that no cache has yet, and other rows follow it. */
void cdl_matmul(const struct cdl_context *ctx, const struct cdl_product *product,
                const struct cdl_epilogue *epilogue, bool uncached);

/* Product of columns [first, first + columns) of m rows of dz w^T, first a panel's, into dx. The
 * smaller operand is transposed into `scratch` of cdl_transposed_floats(w->cols): w, panel by panel
 * of dx and anew each time, since a second copy of all weights, written by every update, costs
 * more; or dz and dx. `small_m`: for so few rows that either costs more than products along the
 * rows of w. */
struct cdl_transposed {
    const struct cdl_param *w;
    size_t m, first, columns;
    struct cdl_matrix dz;
    struct cdl_output dx; /* begins with column `first` */
    const struct cdl_epilogue *epilogue;
    bool small_m;
    float *scratch;
};
bool cdl_is_small_m(size_t m, size_t n);
size_t cdl_transposed_floats(size_t n);
void cdl_matmul_transposed(const struct cdl_context *ctx, const struct cdl_transposed *product);

/* Gradient c = init + a^T b of one block of a weight, k samples, behind which a and b are
 * afterwards. */
void cdl_matmul_gradient(const struct cdl_context *ctx, struct cdl_product *product);
