/* unroll.h - im2col of a box of places, for images of few columns: a line for each tap and column,
 * with its values for all places of the box.
 *
 * With few columns the runs of a window are so short that a product spends its time between runs.
 * Laid out they are one run, with zeros outside the image. The copy is of some hundred places at a
 * time, not of the batch. Where no window leaves the image, products read it by offsets instead.
 */
#pragma once

#include "products/boxes.h"
#include "products/convolve.h"

/* Stride of the lines in floats: a box, and a register or more that is written behind it. */
enum { CDL_UNROLLED_LINE = CDL_BOX_PLACES + CDL_LINE };

/* Most rows of weights: with more the copy is too large for a cache. */
enum { CDL_MOST_UNROLLED = 160 };

/* Are the windows of an image laid out? */
bool cdl_unrolls(const struct cdl_convolution *job);

/* Offsets of what a box sees where no window leaves the image, so that it is read in place: place p
 * reads the number for row t of the weights at first[places[p] + lines[t]]. */
struct cdl_offsets {
    size_t span; /* floats from the first place to behind the last; 0: not found yet */
    ptrdiff_t places[CDL_BOX_PLACES], lines[CDL_MOST_UNROLLED + 1]; /* one for the caller */
};

/* Start of what a box sees, or NULL if a window leaves the image. The offsets are found for the
 * first such box of a walk over so many samples: places of each are the first of the largest. */
const float *cdl_seen_in_place(const struct cdl_convolution *job, size_t samples,
                               const struct cdl_box *box, struct cdl_offsets *offsets);

/* Size of `room` in floats; 0 if they are not. */
size_t cdl_unrolled_floats(const struct cdl_convolution *job);

/* Writes the lines of a box, taps outermost, to `room`, which has one more behind them that the
 * caller may use. */
void cdl_unroll(const struct cdl_convolution *job, const struct cdl_kernels *kernels,
                const struct cdl_box *box, float *room);
