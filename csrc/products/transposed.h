/* transposed.h - transposed weights of convolutions, for the way from a map back to its image. */
#ifndef CDL_PRODUCTS_TRANSPOSED_H
#define CDL_PRODUCTS_TRANSPOSED_H

#include "products/convolve.h"

/* Transposes the weights between `live` of the image's columns, from `column` on, and `depth` of
 * the map's, from `first` on, all of one group: tap by tap a row for each of the map's columns,
 * `width` long, whose pads are 0. */
void cdl_transpose_weights(const struct cdl_convolution *job, const struct cdl_kernels *kernels,
                           size_t column, size_t live, size_t width, size_t first, size_t depth,
                           float *to);

#endif
