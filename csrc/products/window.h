/* window.h - a window that moves over an image, in up to three axes: which of its taps see what.
 *
 * `image` is what the window looks at, `map` has a place for each of its positions: tap k of place
 * o sees image number o stride + k dilation - before, and what lies outside is 0. A convolution
 * reads the image and writes the map; its gradient, and a transposed convolution, go the other way.
 * Or the places share the image evenly: place o sees numbers from floor(o image / map) to
 * ceil((o + 1) image / map), however many they are. Then `taps` is 0.
 * Where a number is written, the taps that see something are the same for many neighbours: spans.
 * Axes are those of a sample, outermost first; a sample of fewer has axes of one number before.
 */
#ifndef CDL_PRODUCTS_WINDOW_H
#define CDL_PRODUCTS_WINDOW_H

#include <stdbool.h>
#include <stddef.h>

enum { CDL_AXES = 3 };

struct cdl_axis {
    size_t image, map, taps, stride, dilation;
    ptrdiff_t before;
};

struct cdl_window {
    struct cdl_axis axis[CDL_AXES];
};

static inline size_t cdl_window_taps(const struct cdl_window *window) {
    return window->axis[0].taps * window->axis[1].taps * window->axis[2].taps;
}

/* Numbers first, first + step, ... of the axis that is written, `count` of them. To each of them
 * come `taps` taps from number `tap` on, tap_step apart; the first reads number `source` for the
 * first of them, source_step further for the next one, and the next tap source_tap further. */
struct cdl_span {
    size_t first, step, count;
    size_t tap, tap_step, taps;
    ptrdiff_t source, source_step, source_tap;
};

/* All spans of each axis, in whatever order. */
struct cdl_spans {
    size_t n[CDL_AXES];
    struct cdl_span *of[CDL_AXES];
};

/* The number of spans of all axes where the map is written, or (back) the image; and the spans,
 * for which `room` has room. */
size_t cdl_count_spans(const struct cdl_window *window, bool back);
void cdl_find_spans(const struct cdl_window *window, bool back, struct cdl_span *room,
                    struct cdl_spans *spans);

#endif
