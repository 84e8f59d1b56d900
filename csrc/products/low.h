/* low.h - bfloat16 products of floats: both factors are rounded on the way.
 *
 * Some rows of either factor at a time become tiles, and are not kept. The order of a sum is that
 * of kernels/bf16.h, in runs of 256.
 */
#ifndef CDL_PRODUCTS_LOW_H
#define CDL_PRODUCTS_LOW_H

#include "products/matmul_values.h"

/* Product of n <= CDL_PANEL columns, from an init. Pads of c up to a whole line are finite, if all
 * else is. */
void cdl_low_panel(const struct cdl_kernels *kernels, const struct cdl_values *product);

#endif
