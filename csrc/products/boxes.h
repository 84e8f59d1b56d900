/* boxes.h - tiles of a map (boxes of places) for sums over all places, small enough that image and
 * map stay in a cache while several sums pass over them.
 *
 * Boxes depend on shapes alone. Each has sums of its own, added in the order of the boxes, so the
 * bits are the same for any number of threads.
 */
#pragma once

#include "learn/context.h"
#include "products/places.h"

/* Most places of a box: 256 lines of 64 floats of the map are 64 KB. */
enum { CDL_BOX_PLACES = 256 };

/* Extent of a box: samples, then places of the map's axes, [first, first + n) of each. An axis is
 * cut only where all axes before it have one number, so the lines of a box follow each other in
 * memory. */
struct cdl_box {
    size_t first[CDL_AXES + 1], n[CDL_AXES + 1];
};
static inline size_t cdl_box_places(const struct cdl_box *box) {
    return box->n[0] * box->n[1] * box->n[2] * box->n[3];
}
typedef void cdl_box_fn(void *who, const struct cdl_box *box);

/* Walk over all boxes of so many samples, of a band of the map unless that is NULL, until the watch
 * stops it. */
void cdl_each_box(const struct cdl_window *window, const struct cdl_context *ctx, size_t samples,
                  const struct cdl_band *band, cdl_box_fn *visit, void *who);

/* Largest box of a walk over so many samples; numbers are dealt evenly over boxes. */
struct cdl_box cdl_largest_box(const struct cdl_window *window, size_t samples);

size_t cdl_box_offset(const struct cdl_field *map, const struct cdl_box *box);

/* View of a tap from a box: runs of taps.k places that see something, a fixed step apart; `image`
 * is an offset from the image's first number, `map` from the box's. */
struct cdl_pairs {
    struct cdl_taps taps; /* a: in the image; b: in the map */
    ptrdiff_t image;
    size_t map, image_step, map_step;
};
/* False if the tap sees nothing. */
bool cdl_pairs_of(const struct cdl_window *window, const struct cdl_box *box, size_t tap,
                  const struct cdl_field *image, const struct cdl_field *map,
                  struct cdl_pairs *pairs);
