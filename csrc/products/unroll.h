/* unroll.h - im2col of a box of places, for images of few columns: a line for each tap and column,
 * with its values for all places of the box.
 *
 * With few columns the runs of a window are so short that a product spends its time between runs.
 * Laid out they are one run, with zeros outside the image. The copy is of some hundred places at a
 * time, not of the batch.
 */
#pragma once

#include "products/boxes.h"
#include "products/convolve.h"

/* Stride of the lines in floats: a box, and a register or more that is written behind it. */
enum { CDL_UNROLLED_LINE = CDL_BOX_PLACES + CDL_LINE };

/* Are the windows of an image laid out? */
bool cdl_unrolls(const struct cdl_convolution *job);

/* Size of `room` in floats; 0 if they are not. */
size_t cdl_unrolled_floats(const struct cdl_convolution *job);

/* Writes the lines of a box, taps outermost, to `room`, which has one more behind them that the
 * caller may use; the image is of so many samples. */
void cdl_unroll(const struct cdl_convolution *job, const struct cdl_kernels *kernels,
                size_t samples, const struct cdl_box *box, float *room);
