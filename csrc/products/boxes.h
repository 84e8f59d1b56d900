/* boxes.h - boxes of places, for sums over all places of a window: so many at a time that image and
 * map stay in a cache while several sums pass over them.
 *
 * Which places are taken together depends on shapes alone: each box has sums of its own, added in
 * the order of the boxes, so their bits are those of any number of threads.
 */
#ifndef CDL_PRODUCTS_BOXES_H
#define CDL_PRODUCTS_BOXES_H

#include "learn/context.h"
#include "products/places.h"

/* Places of a box at most: 256 lines of 64 floats of the map are 64 KB. */
enum { CDL_BOX_PLACES = 256 };

/* Samples, then places of the map's axes: [first, first + n) of each. An axis is cut only where
 * each axis before has one number, so the lines of a box follow each other in memory. */
struct cdl_box {
    size_t first[CDL_AXES + 1], n[CDL_AXES + 1];
};
static inline size_t cdl_box_places(const struct cdl_box *box) {
    return box->n[0] * box->n[1] * box->n[2] * box->n[3];
}
typedef void cdl_box_fn(void *who, const struct cdl_box *box);

/* All boxes of so many samples, of a band of the map unless that is NULL, as far as the watch lets
 * it. */
void cdl_each_box(const struct cdl_window *window, const struct cdl_context *ctx, size_t samples,
                  const struct cdl_band *band, cdl_box_fn *visit, void *who);

/* The largest box of a walk over so many samples; numbers are dealt evenly over boxes. */
struct cdl_box cdl_largest_box(const struct cdl_window *window, size_t samples);

/* Floats from a field's first number to the first of a box. */
size_t cdl_box_offset(const struct cdl_field *map, const struct cdl_box *box);

/* What a tap sees from a box, with the places that see it: runs of taps.k places, each so many
 * steps from the one before; `image` is from the image's first number, `map` from the box's. */
struct cdl_pairs {
    struct cdl_taps taps; /* a: in the image; b: in the map */
    ptrdiff_t image;
    size_t map, image_step, map_step;
};
/* False if it sees nothing. */
bool cdl_pairs_of(const struct cdl_window *window, const struct cdl_box *box, size_t tap,
                  const struct cdl_field *image, const struct cdl_field *map,
                  struct cdl_pairs *pairs);

#endif
