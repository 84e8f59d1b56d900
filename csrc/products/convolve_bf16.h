/* convolve_bf16.h - products of windows with weights, of bfloat16 (bf16.h): of an image to a map,
 * back, and their gradients.
 *
 * Some places at a time, what they see is laid out as rows of a matrix, taps outermost, zeros where
 * a window lies outside; for the gradient of the weights in pairs of places. So products are those
 * of matrices, by tiles, and their order of sums is too. Where the image is written the weights are
 * turned, in each call, and a tap that falls between places of the map sees zeros.
 */
#ifndef CDL_PRODUCTS_CONVOLVE_BF16_H
#define CDL_PRODUCTS_CONVOLVE_BF16_H

#include "learn/learn.h"
#include "products/bf16.h"
#include "products/window.h"

/* What is seen: the image, or (back) the map, which begins at x; lines of `width` numbers. */
struct cdl_bf16_view {
    const struct cdl_window *window;
    bool back;
    const uint16_t *x;
    size_t ld, width;
};

/* Lines [line, line + lines) of what is written, whose first sample begins at product->c (and y);
 * product: all but m, a, lda and which columns. Its weights are those of the convolution.
 * scratch: cdl_bf16_convolve_floats. */
void cdl_bf16_convolve(const struct cdl_context *ctx, const struct cdl_bf16_view *view,
                       const struct cdl_bf16_product *product, size_t line, size_t lines,
                       float *scratch);
size_t cdl_bf16_convolve_floats(const struct cdl_bf16_view *view, const struct cdl_param *w);

/* Thread `thread` of so many has its share of the weights' blocks learn from what all places of the
 * map see and from dz, its gradient, a line each; and the bias from dz. Either may be NULL.
 * scratch: cdl_bf16_pairs_floats. */
void cdl_bf16_learn_pairs(const struct cdl_context *ctx, const struct cdl_bf16_view *view,
                          const struct cdl_param *w, const uint16_t *dz, size_t lddz, size_t lines,
                          struct cdl_trained *kernel, struct cdl_trained *bias, float *scratch,
                          int thread, int n_threads);
size_t cdl_bf16_pairs_floats(const struct cdl_bf16_view *view, const struct cdl_param *w);

#endif
