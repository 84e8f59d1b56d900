/* window.c - the taps inside the image, for each output along an axis. */
#include "products/window.h"

static ptrdiff_t over(ptrdiff_t a, ptrdiff_t b) { return a <= 0 ? 0 : (a + b - 1) / b; }

/* Span of taps [low, high) that begins at `first`. */
static void set_taps(struct cdl_span *span, size_t first, ptrdiff_t low, ptrdiff_t high) {
    *span = (struct cdl_span){.first = first, .step = 1, .count = 1, .tap_step = 1};
    if (low >= high) return;
    span->tap = (size_t)low;
    span->taps = (size_t)(high - low);
}

/* Taps of place o of the map that lie within the image. */
static struct cdl_span at_map(const struct cdl_window_axis *axis, size_t o) {
    const ptrdiff_t stride = (ptrdiff_t)axis->stride, dilation = (ptrdiff_t)axis->dilation;
    const ptrdiff_t from = (ptrdiff_t)o * stride - axis->before;
    const ptrdiff_t behind = over((ptrdiff_t)axis->image - from, dilation);
    const ptrdiff_t taps = (ptrdiff_t)axis->taps, low = over(-from, dilation);
    struct cdl_span span;
    set_taps(&span, o, low, behind < taps ? behind : taps);
    span.source = span.taps ? from + low * dilation : 0;
    span.source_step = stride;
    span.source_tap = dilation;
    return span;
}

/* Numbers of place o in adaptive pooling. */
static struct cdl_span at_share(const struct cdl_window_axis *axis, size_t o) {
    const size_t first = o * axis->image / axis->map;
    const size_t behind = ((o + 1) * axis->image + axis->map - 1) / axis->map;
    struct cdl_span span;
    set_taps(&span, o, 0, (ptrdiff_t)(behind - first));
    span.source = (ptrdiff_t)first;
    span.source_step = (ptrdiff_t)(axis->image / axis->map);
    span.source_tap = 1;
    return span;
}

static size_t common(size_t a, size_t b) { return b ? common(b, a % b) : a; }

/* Taps that see number i of the image from a place of the map. With a stride they are some taps
 * apart, and places go down as taps go up. */
static struct cdl_span at_image(const struct cdl_window_axis *axis, size_t i) {
    const size_t divisor = common(axis->stride, axis->dilation);
    const size_t each = axis->stride / divisor;
    const ptrdiff_t down = (ptrdiff_t)(axis->dilation / divisor);
    const ptrdiff_t stride = (ptrdiff_t)axis->stride, dilation = (ptrdiff_t)axis->dilation;
    const ptrdiff_t at = (ptrdiff_t)i + axis->before;
    size_t tap = 0;
    while (tap < each && tap < axis->taps && (at - (ptrdiff_t)tap * dilation) % stride) tap++;
    struct cdl_span span;
    set_taps(&span, i, 0, 0);
    span.step = axis->stride;
    span.tap_step = each;
    if (tap == each || tap >= axis->taps) return span;
    const ptrdiff_t place =
        (at - (ptrdiff_t)tap * dilation) / stride; /* place of the first such tap */
    const ptrdiff_t low = over(place - ((ptrdiff_t)axis->map - 1), down);
    const ptrdiff_t within = place < 0 ? 0 : place / down + 1;
    const ptrdiff_t taps = (ptrdiff_t)((axis->taps - tap + each - 1) / each);
    const ptrdiff_t high = within < taps ? within : taps;
    if (low >= high) return span;
    span.tap = tap + (size_t)low * each;
    span.taps = (size_t)(high - low);
    span.source = place - low * down;
    span.source_step = 1;
    span.source_tap = -down;
    return span;
}

static struct cdl_span span_at(const struct cdl_window_axis *axis, bool back, size_t at) {
    if (axis->taps == 0) return at_share(axis, at);
    return back ? at_image(axis, at) : at_map(axis, at);
}

/* Spans of one axis; without room they are counted. */
static size_t find(const struct cdl_window_axis *axis, bool back, struct cdl_span *room) {
    const size_t end = back ? axis->image : axis->map, step = back ? axis->stride : 1;
    size_t n = 0;
    for (size_t first = 0; first < step && first < end; first++) {
        struct cdl_span last = {0};
        for (size_t at = first; at < end; at += step) {
            const struct cdl_span span = span_at(axis, back, at);
            const bool same = span.taps == last.taps && span.tap == last.tap;
            const ptrdiff_t next = last.source + (ptrdiff_t)last.count * last.source_step;
            if (last.count && same && (span.source == next || span.taps == 0)) {
                last.count++;
            } else {
                last = span;
                n++;
            }
            if (room) room[n - 1] = last;
        }
    }
    return n;
}

size_t cdl_count_spans(const struct cdl_window *window, bool back) {
    size_t n = 0;
    for (int d = 0; d < CDL_AXES; d++) n += find(&window->axis[d], back, NULL);
    return n;
}

void cdl_find_spans(const struct cdl_window *window, bool back, struct cdl_span *room,
                    struct cdl_spans *spans) {
    for (int d = 0; d < CDL_AXES; d++) {
        spans->of[d] = room;
        spans->n[d] = find(&window->axis[d], back, room);
        room += spans->n[d];
    }
}
