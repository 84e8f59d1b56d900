/* places.h - the outputs (places) of a window's product or reduction, row by row.
 *
 * A row is a run of places that see the same taps at a fixed step; mostly it lies along the last
 * axis, but along another, or along the samples, where that is longer.
 */
#pragma once

#include "kernels/kernels.h"
#include "products/window.h"

/* View of the samples of an image or a map: lines of `columns` numbers, ld apart, in three axes. */
struct cdl_field {
    float *lines;
    size_t columns, ld, sample;
    size_t pitch[CDL_AXES]; /* stride in floats of each axis */
};

/* Band of the output: numbers [first, end) of an axis; other threads take the others. */
struct cdl_band {
    int axis;
    size_t first, end;
};

/* Axis along which a sample is cut into bands, the outermost of more than one number, and its
 * length, in the map or (back) in the image. */
int cdl_band_axis(const struct cdl_window *window, bool back);
size_t cdl_band_numbers(const struct cdl_window *window, bool back);

/* Walk over the spans of the output, or of a band of it unless that is NULL. Weights have a matrix
 * for each tap, `each` floats; where they are a factor of runs of `depth` numbers, with rows ldb
 * apart, taps that follow each other in both factors without a gap are joined to one run. */
struct cdl_window_walk {
    const struct cdl_window *window;
    const struct cdl_spans *spans;
    const struct cdl_field *from, *to;
    size_t each, depth, ldb;
    const struct cdl_band *band;
};

struct cdl_places {
    struct cdl_taps taps; /* a: in the input; b: in the weights */
    size_t n;
    const float *from;
    float *to;
    size_t from_step, to_step; /* stride in floats from a place to the next */
    size_t weights;            /* offset in floats of the first tap's weights */
};
typedef void cdl_places_fn(void *who, const struct cdl_places *row);

void cdl_walk(const struct cdl_window_walk *walk, size_t first, size_t samples,
              cdl_places_fn *visit, void *who);
