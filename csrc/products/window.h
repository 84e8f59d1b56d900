/* window.h - geometry of a window that moves over an image, in up to three axes: the taps that fall
 * inside.
 *
 * `image` is what the window sees, `map` has a place for each of its positions: tap k of place o
 * sees image number o stride + k dilation - before; outside the image is 0. A convolution reads the
 * image and writes the map; its gradient, and a transposed convolution, go the other way. In
 * adaptive pooling `taps` is 0, and place o sees numbers from floor(o image / map) to ceil((o + 1)
 * image / map).
 *
 * Neighbouring outputs that see the same taps are a span. Axes are those of a sample, outermost
 * first; a sample of fewer has axes of one number before.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum { CDL_AXES = 3 };

struct cdl_window_axis {
    size_t image, map, taps, stride, dilation;
    ptrdiff_t before;
};

struct cdl_window {
    struct cdl_window_axis axis[CDL_AXES];
};

static inline size_t cdl_window_taps(const struct cdl_window *window) {
    return window->axis[0].taps * window->axis[1].taps * window->axis[2].taps;
}

/* Span: outputs first, first + step, ... of an axis, `count` of them, with the same taps: `taps`
 * from number `tap` on, tap_step apart. The first tap reads number `source` for the first output,
 * source_step further for the next output; the next tap source_tap further. */
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

/* Number of spans of all axes of the output, the map or (back) the image; and the spans, for which
 * `room` has room. */
size_t cdl_count_spans(const struct cdl_window *window, bool back);
void cdl_find_spans(const struct cdl_window *window, bool back, struct cdl_span *room,
                    struct cdl_spans *spans);
