/* convolve.h - convolutions: from an image to a map, back, and their gradients.
 *
 * A window's columns lie side by side in memory, so a product reads them in place: rows of the left
 * factor are places one after the other, and its columns come in runs, one a tap. Windows are not
 * copied, and taps outside the image are left out. The weights are a matrix with a row for each tap
 * and column of the image, in that order, and a column for each of the map's. With groups, a group
 * of the map's columns sees its own group of the image's only.
 *
 * All functions poll the run's watch, as those of matmul.h do.
 */
#pragma once

#include "base/param.h"
#include "learn/learn.h"
#include "products/matmul.h"
#include "products/places.h"

struct cdl_convolution {
    const struct cdl_window *window;
    const struct cdl_spans *spans; /* spans of the output */
    struct cdl_field image, map;
    size_t groups;
    const struct cdl_param *w;
    const struct cdl_band *band;   /* band of the output; NULL: all of it */
    const float *winograd_weights; /* written by cdl_winograd_weights; NULL: made in each call */
};

/* Number of bands, and their length, into which the output of a sample may be cut, or 1. */
struct cdl_bands {
    size_t n, numbers;
};
struct cdl_bands cdl_convolution_bands(const struct cdl_convolution *job, bool back);

/* map = bias + the windows' products, of so many samples; or (back) image = bias + the
 * contributions of all places of the map that see it. Then the epilogue (matmul.h), where `y` is
 * laid out as the output; bias, a row of the output's columns, may be NULL. scratch:
 * cdl_convolve_floats. */
void cdl_convolve(const struct cdl_convolution *job, bool back, const struct cdl_context *ctx,
                  size_t samples, const float *bias, const struct cdl_epilogue *epilogue,
                  float *scratch);
size_t cdl_convolve_floats(const struct cdl_convolution *job, bool back);

/* Transposes the weights between `live` of the image's columns, from `column` on, and `depth` of
 * the map's, from `first` on, all of one group: tap by tap a row for each of the map's columns,
 * `width` long, whose pads are 0. */
void cdl_transpose_weights(const struct cdl_convolution *job, const struct cdl_kernels *kernels,
                           size_t column, size_t live, size_t width, size_t first, size_t depth,
                           float *to);

/* Gradients of a thread's share of the weights' blocks, from the products of image and map over so
 * many samples; and of `bias`, a row of the map's columns, from the map's sums. Either may be NULL.
 * The thread's scratch: cdl_pairs_floats. */
void cdl_learn_pairs(const struct cdl_convolution *job, const struct cdl_context *ctx,
                     size_t samples, const struct cdl_sink *to, struct cdl_trained *w,
                     struct cdl_trained *bias);
size_t cdl_pairs_floats(const struct cdl_convolution *job);

/* Update of a row of parameters, one for each of a field's columns, from the field's sums over so
 * many samples. */
void cdl_learn_columns(struct cdl_trained *row, const struct cdl_context *ctx, size_t samples,
                       const struct cdl_sink *to, const struct cdl_field *field);
