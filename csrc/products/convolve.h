/* convolve.h - products of windows with weights: of an image to a map, back, and their gradients.
 *
 * A window's columns lie side by side in memory, so a product reads them where they are: rows of
 * the left factor are places one after the other, and its columns come in runs, one a tap. No copy
 * of the windows is made, and taps that see nothing are left out. The weights are a matrix with a
 * row for each tap and column of the image, in that order, and a column for each of the map's. With
 * groups, a group of the map's columns sees its own group of the image's only.
 *
 * All look at the run's watch as they go, as matmul.h does.
 */
#ifndef CDL_PRODUCTS_CONVOLVE_H
#define CDL_PRODUCTS_CONVOLVE_H

#include "base/param.h"
#include "learn/learn.h"
#include "products/matmul.h"
#include "products/places.h"

struct cdl_convolution {
    const struct cdl_window *window;
    const struct cdl_spans *spans; /* of what is written */
    struct cdl_field image, map;
    size_t groups;
    const struct cdl_param *w;
    const struct cdl_band *band; /* of what is written; NULL: all of it */
    const float
        *winograd_weights; /* as cdl_winograd_weights writes them; NULL: made in each call */
};

/* Into how many bands of how many numbers each what is written of a sample may be cut, or 1. */
struct cdl_bands {
    size_t n, numbers;
};
struct cdl_bands cdl_convolution_bands(const struct cdl_convolution *job, bool back);

/* map = bias + the windows' products, of so many samples, and what the epilogue says (matmul.h),
 * where `y` is laid out as what is written; bias, a row of the map's columns, may be NULL.
 * scratch: cdl_map_floats. */
void cdl_convolve(const struct cdl_convolution *job, const struct cdl_context *ctx, size_t samples,
                  const float *bias, const struct cdl_epilogue *epilogue, float *scratch);
size_t cdl_map_floats(const struct cdl_convolution *job);

/* image = bias + what each place of the map gives to what it sees. scratch: cdl_image_floats. */
void cdl_convolve_back(const struct cdl_convolution *job, const struct cdl_context *ctx,
                       size_t samples, const float *bias, const struct cdl_epilogue *epilogue,
                       float *scratch);
size_t cdl_image_floats(const struct cdl_convolution *job);

/* Thread `thread` of so many has its share of the weights' blocks learn from the products of image
 * and map over all samples; and of `bias`, a row of the map's columns, from the map's sums. Either
 * may be NULL. scratch: cdl_pairs_floats. */
void cdl_learn_pairs(const struct cdl_convolution *job, const struct cdl_context *ctx,
                     struct cdl_trained *w, struct cdl_trained *bias, float *scratch, int thread,
                     int n_threads);
size_t cdl_pairs_floats(const struct cdl_convolution *job);

/* A row of parameters, one for each of a field's columns, learns from the field's sums. */
void cdl_learn_columns(struct cdl_trained *row, const struct cdl_context *ctx,
                       const struct cdl_field *field, float *g, int thread, int n_threads);

#endif
