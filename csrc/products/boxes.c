/* boxes.c - boxes of places, and the view of a tap from one. */
#include "products/boxes.h"

/* Shape of the largest box: inner axes whole, if they are short enough. */
struct cdl_box cdl_largest_box(const struct cdl_window *window, size_t samples) {
    struct cdl_box box = {.n = {0}};
    size_t left = CDL_BOX_PLACES;
    for (int d = CDL_AXES; d >= 0; d--) {
        const size_t all = d ? window->axis[d - 1].map : samples;
        const size_t most = cdl_min(all, left ? left : 1), boxes = (all + most - 1) / most;
        box.n[d] = (all + boxes - 1) / boxes;
        left /= all;
    }
    return box;
}

void cdl_each_box(const struct cdl_window *window, const struct cdl_context *ctx, size_t samples,
                  const struct cdl_band *band, cdl_box_fn *visit, void *who) {
    size_t first[CDL_AXES], end[CDL_AXES];
    for (int d = 0; d < CDL_AXES; d++) {
        first[d] = band && band->axis == d ? band->first : 0;
        end[d] = band && band->axis == d ? band->end : window->axis[d].map;
    }
    const struct cdl_box all = cdl_largest_box(window, samples);
    for (size_t s = 0; s < samples; s += all.n[0]) {
        for (size_t u = first[0]; u < end[0]; u += all.n[1]) {
            if (cdl_stopped(ctx)) return;
            for (size_t v = first[1]; v < end[1]; v += all.n[2]) {
                for (size_t w = first[2]; w < end[2]; w += all.n[3]) {
                    const struct cdl_box box = {
                        {s, u, v, w},
                        {cdl_min(samples - s, all.n[0]), cdl_min(end[0] - u, all.n[1]),
                         cdl_min(end[1] - v, all.n[2]), cdl_min(end[2] - w, all.n[3])}};
                    visit(who, &box);
                }
            }
        }
    }
}

size_t cdl_box_offset(const struct cdl_field *map, const struct cdl_box *box) {
    size_t offset = box->first[0] * map->sample;
    for (int d = 0; d < CDL_AXES; d++) offset += box->first[d + 1] * map->pitch[d];
    return offset;
}

/* Places of an axis at which a tap is inside, within those of a box. */
static void clip(const struct cdl_window_axis *axis, size_t tap, size_t *first, size_t *n) {
    const ptrdiff_t stride = (ptrdiff_t)axis->stride;
    const ptrdiff_t lack = axis->before - (ptrdiff_t)(tap * axis->dilation);
    const ptrdiff_t low = lack <= 0 ? 0 : (lack + stride - 1) / stride;
    const ptrdiff_t room = (ptrdiff_t)axis->image + lack;
    const ptrdiff_t high = room <= 0 ? 0 : (room + stride - 1) / stride;
    const ptrdiff_t begin = (ptrdiff_t)*first < low ? low : (ptrdiff_t)*first;
    const ptrdiff_t last = (ptrdiff_t)(*first + *n), end = last < high ? last : high;
    *first = (size_t)begin;
    *n = end > begin ? (size_t)(end - begin) : 0;
}

bool cdl_pairs_of(const struct cdl_window *window, const struct cdl_box *box, size_t tap,
                  const struct cdl_field *image, const struct cdl_field *map,
                  struct cdl_pairs *pairs) {
    struct cdl_taps *taps = &pairs->taps;
    *taps = (struct cdl_taps){
        .n = {box->n[0]}, .a = {(ptrdiff_t)image->sample}, .b = {(ptrdiff_t)map->sample}};
    pairs->image = (ptrdiff_t)(box->first[0] * image->sample);
    pairs->map = 0;
    for (int d = CDL_AXES - 1; d >= 0; d--) {
        const struct cdl_window_axis *axis = &window->axis[d];
        const size_t at = tap % axis->taps;
        size_t first = box->first[d + 1], n = box->n[d + 1];
        tap /= axis->taps;
        clip(axis, at, &first, &n);
        if (n == 0) return false;
        const ptrdiff_t seen = (ptrdiff_t)(first * axis->stride + at * axis->dilation);
        pairs->image += (seen - axis->before) * (ptrdiff_t)image->pitch[d];
        pairs->map += (first - box->first[d + 1]) * map->pitch[d];
        if (d == CDL_AXES - 1) {
            taps->k = n;
            pairs->image_step = axis->stride * image->pitch[d];
            pairs->map_step = map->pitch[d];
        } else {
            taps->n[d + 1] = n;
            taps->a[d + 1] = (ptrdiff_t)(axis->stride * image->pitch[d]);
            taps->b[d + 1] = (ptrdiff_t)map->pitch[d];
        }
    }
    return true;
}
