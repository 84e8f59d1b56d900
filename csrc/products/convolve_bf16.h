/* convolve_bf16.h - convolutions of bfloat16 (bf16.h): from an image to a map, back, and their
 * gradients.
 *
 * Some places at a time, their windows are laid out as rows of a matrix, taps outermost, zeros
 * outside the image; for the gradient of the weights in pairs of places. So products are those of
 * matrices, by tiles, with their order of sums. For the gradient of the image the weights are
 * transposed, in each call, and a tap that falls between places of the map reads zeros.
 */
#pragma once

#include "learn/learn.h"
#include "products/bf16.h"
#include "products/window.h"

/* Input of a product: the image, or (back) the map, which begins at x; lines of `width` numbers. */
struct cdl_bf16_view {
    const struct cdl_window *window;
    bool back;
    const uint16_t *x;
    size_t ld, width;
};

/* Product of lines [line, line + lines) of the output, whose first sample begins at product->c (and
 * y); product: all but m, a, lda and which columns. Its weights are those of the convolution.
 * scratch: cdl_bf16_convolve_floats. */
void cdl_bf16_convolve(const struct cdl_context *ctx, const struct cdl_bf16_view *view,
                       const struct cdl_bf16_product *product, size_t line, size_t lines,
                       float *scratch);
size_t cdl_bf16_convolve_floats(const struct cdl_bf16_view *view, const struct cdl_param *w);

/* Gradients of a thread's share of the weights' blocks, from the windows of all places of the map
 * and dz, a line each; and of the bias from dz. trained: kernel and bias, either of which may be
 * NULL. The thread's scratch: cdl_bf16_pairs_floats. */
void cdl_bf16_learn_pairs(const struct cdl_context *ctx, const struct cdl_sink *to,
                          const struct cdl_bf16_view *view, const struct cdl_param *w,
                          const uint16_t *dz, size_t lddz, size_t lines,
                          struct cdl_trained *const *trained);
size_t cdl_bf16_pairs_floats(const struct cdl_bf16_view *view, const struct cdl_param *w);
