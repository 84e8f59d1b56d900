/* winograd.h - Winograd's 3 x 3 convolution, two by two places at a time: 16 products of lines in
 * place of 36, between transforms of the image and of the products (kernels/winograd.h).
 *
 * Sums are shorter than those of the direct way, so their error is no larger.
 */
#pragma once

#include "products/convolve.h"

/* Does Winograd's way pay for a convolution or (back) its transpose? Columns must be enough to make
 * up for the transforms, and not more than fit into the L2 cache. */
bool cdl_winograds(const struct cdl_convolution *job, bool back);

/* Counterpart of cdl_convolve. scratch: cdl_winograd_floats. */
void cdl_winograd(const struct cdl_convolution *job, bool back, const struct cdl_context *ctx,
                  size_t samples, const float *bias, const struct cdl_epilogue *epilogue,
                  float *scratch);
size_t cdl_winograd_floats(const struct cdl_convolution *job, bool back);

/* Transformed weights, for the way from the image to the map: made once where many calls use them.
 * With one image they are a fifth of the time. */
void cdl_winograd_weights(const struct cdl_convolution *job, const struct cdl_kernels *kernels,
                          float *to);
size_t cdl_winograd_weights_floats(const struct cdl_convolution *job);
