/* winograd.h - convolutions by windows of 3 x 3, two by two places at a time: 16 products of lines
 * in place of 36, between a change of the image's numbers and one back (kernels/winograd.h).
 *
 * Sums are shorter than those of the direct way, so their error is no larger.
 */
#ifndef CDL_PRODUCTS_WINOGRAD_H
#define CDL_PRODUCTS_WINOGRAD_H

#include "products/convolve.h"

/* Whether a convolution, or (back) what goes from its map to its image, is done so: where there are
 * columns enough to make up for the changes, and not more than fit into the L2 cache. */
bool cdl_winograds(const struct cdl_convolution *job, bool back);

/* As cdl_convolve and cdl_convolve_back. scratch: cdl_winograd_floats. */
void cdl_winograd(const struct cdl_convolution *job, bool back, const struct cdl_context *ctx,
                  size_t samples, const float *bias, const struct cdl_epilogue *epilogue,
                  float *scratch);
size_t cdl_winograd_floats(const struct cdl_convolution *job, bool back);

/* The weights as the products read them, of the way from the image to the map: made once where many
 * calls use the same ones. With one image they are a fifth of the time. */
void cdl_winograd_weights(const struct cdl_convolution *job, const struct cdl_kernels *kernels,
                          float *to);
size_t cdl_winograd_weights_floats(const struct cdl_convolution *job);

#endif
