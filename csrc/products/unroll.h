/* unroll.h - windows laid out, where an image has few columns: a line for each tap and column, with
 * what it sees from each place of a box.
 *
 * With one to a few columns a run of a window is so short that a product spends its time between
 * runs. Laid out, the runs are one, and zeros stand where a window lies outside the image. This is
 * a copy of some hundred places at a time, not of the batch.
 */
#ifndef CDL_PRODUCTS_UNROLL_H
#define CDL_PRODUCTS_UNROLL_H

#include "products/boxes.h"

/* Floats from a line to the next: a box, and a register or more that is written behind it. */
enum { CDL_UNROLLED_LINE = CDL_BOX_PLACES + CDL_LINE };

/* Whether windows of an image with so many columns are laid out. */
bool cdl_unrolls(const struct cdl_window *window, size_t columns);

/* Floats of `room`. */
size_t cdl_unrolled_floats(const struct cdl_window *window, size_t columns);

/* The lines of a box, taps outermost: they begin at `room`. */
void cdl_unroll(const struct cdl_window *window, const struct cdl_kernels *kernels,
                const struct cdl_field *image, const struct cdl_box *box, float *room);

#endif
