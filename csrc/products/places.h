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

/* Numbers [first, end) of an axis of what is written: other threads take the others. */
struct cdl_band {
    int axis;
    size_t first, end;
};

/* The axis along which a sample is cut into bands, its outermost of more than one number, and how
 * many numbers it has, in the map or (back) in the image. */
int cdl_band_axis(const struct cdl_window *window, bool back);
size_t cdl_band_numbers(const struct cdl_window *window, bool back);

/* What is walked: the spans of what is written, or of a band of it unless that is NULL. Weights
 * have a matrix for each tap, `each` floats; where they are a factor of runs of `depth` numbers,
 * with rows ldb apart, taps that follow each other in both factors without a gap are joined to one
 * run. */
struct cdl_walk {
    const struct cdl_window *window;
    const struct cdl_spans *spans;
    const struct cdl_field *from, *to;
    size_t each, depth, ldb;
    const struct cdl_band *band;
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
