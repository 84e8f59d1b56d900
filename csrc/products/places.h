/* places.h - the places that a window's product or reduction writes, row by row.
 *
 * A row is some of them to which the same taps come, each as far from the one before; mostly it
 * lies along the last axis, but along another, or along the samples, where that is longer.
 */
#ifndef CDL_PRODUCTS_PLACES_H
#define CDL_PRODUCTS_PLACES_H

#include "kernels/kernels.h"
#include "products/window.h"

/* Samples of an image or a map: lines of `columns` numbers, ld apart, in three axes. */
struct cdl_field {
    float *lines;
    size_t columns, ld, sample;
    size_t pitch[CDL_AXES]; /* floats from a number of an axis to the next */
};

/* What is walked: the spans of what is written. Weights have a matrix for each tap, `each` floats;
 * where they are a factor of runs of `depth` numbers, with rows ldb apart, taps that follow each
 * other in both factors without a gap are joined to one run. */
struct cdl_walk {
    const struct cdl_window *window;
    const struct cdl_spans *spans;
    const struct cdl_field *from, *to;
    size_t each, depth, ldb;
};

struct cdl_places {
    struct cdl_taps taps; /* a: in what is read; b: in the weights */
    size_t n;
    const float *from;
    float *to;
    size_t from_step, to_step; /* floats from one place to the next */
    size_t weights;            /* floats to those of the first tap */
};
typedef void cdl_places_fn(void *who, const struct cdl_places *row);

/* All rows of samples [first, first + samples). */
void cdl_walk(const struct cdl_walk *walk, size_t first, size_t samples, cdl_places_fn *visit,
              void *who);

#endif
