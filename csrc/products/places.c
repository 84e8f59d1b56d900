/* places.c - boxes of places, one for each combination of the axes' spans, and the rows in them. */
#include "products/places.h"

/* Most rows of a tile. */
enum { TILE = 6 };

/* Axes of the output, samples first: lengths, and strides in floats. */
struct axes {
    size_t n[CDL_AXES + 1], from[CDL_AXES + 1], to[CDL_AXES + 1];
};

static void exchange(struct axes *axes, int d, int e) {
    const struct axes old = *axes;
    axes->n[d] = old.n[e], axes->from[d] = old.from[e], axes->to[d] = old.to[e];
    axes->n[e] = old.n[d], axes->from[e] = old.from[d], axes->to[e] = old.to[d];
}

/* Mean rows per tile, for so many places: what a tile loads serves as many. */
static double height_of(size_t places) {
    return (double)places / (double)((places + TILE - 1) / TILE);
}

/* Choice of the row's axis: the last one, joined with those that go on in the same steps, or
 * another one if that fills tiles better by far, as when 7 places would be tiles of 4 and 3. */
static void choose_row(struct axes *axes) {
    const int last = CDL_AXES;
    for (int d = last - 1; d >= 0; d--) {
        if (axes->n[d] == 1) continue;
        if (axes->n[last] == 1) {
            exchange(axes, d, last);
            continue;
        }
        if (axes->from[d] != axes->n[last] * axes->from[last]) break;
        if (axes->to[d] != axes->n[last] * axes->to[last]) break;
        axes->n[last] *= axes->n[d];
        axes->n[d] = 1;
    }
    int best = last;
    for (int d = last - 1; d >= 0; d--) {
        const double factor = best == last ? 1.25 : 1.0;
        if (height_of(axes->n[d]) > factor * height_of(axes->n[best])) best = d;
    }
    if (best != last) exchange(axes, best, last);
}

static void join(struct cdl_taps *taps, size_t width) {
    for (int d = CDL_AXES - 1; d >= 0; d--) {
        if (taps->n[d] == 1) continue;
        if (taps->a[d] != (ptrdiff_t)taps->k || taps->b[d] != (ptrdiff_t)(taps->k * width)) return;
        taps->k *= taps->n[d];
        taps->n[d] = 1;
    }
}

int cdl_band_axis(const struct cdl_window *window, bool back) {
    int d = 0;
    while (d < CDL_AXES - 1 && (back ? window->axis[d].image : window->axis[d].map) == 1) d++;
    return d;
}

size_t cdl_band_numbers(const struct cdl_window *window, bool back) {
    const struct cdl_window_axis *axis = &window->axis[cdl_band_axis(window, back)];
    return back ? axis->image : axis->map;
}

/* Numbers of a span that are smaller than `end`. */
static size_t below_end(const struct cdl_span *span, size_t end) {
    const size_t n = end > span->first ? (end - span->first + span->step - 1) / span->step : 0;
    return cdl_min(n, span->count);
}

static struct cdl_span cut(const struct cdl_span *span, const struct cdl_band *band) {
    const size_t skipped = below_end(span, band->first);
    struct cdl_span part = *span;
    part.first += skipped * span->step;
    part.source += (ptrdiff_t)skipped * span->source_step;
    part.count = below_end(span, band->end) - skipped;
    return part;
}

static void visit_box(const struct cdl_window_walk *walk,
                      const struct cdl_span *const spans[CDL_AXES], size_t first, size_t samples,
                      cdl_places_fn *visit, void *who) {
    const struct cdl_field *from = walk->from, *to = walk->to;
    struct cdl_places row = {.taps = {.k = walk->depth}};
    struct axes axes = {.n = {samples}, .from = {from->sample}, .to = {to->sample}};
    size_t below = walk->each, at = first * to->sample;
    ptrdiff_t source = (ptrdiff_t)(first * from->sample);
    struct cdl_span within;
    for (int d = CDL_AXES - 1; d >= 0; d--) {
        const struct cdl_span *s = spans[d];
        if (walk->band && walk->band->axis == d) {
            within = cut(s, walk->band);
            s = &within;
            if (s->count == 0) return;
        }
        const ptrdiff_t pitch = (ptrdiff_t)from->pitch[d];
        source += s->source * pitch;
        at += s->first * to->pitch[d];
        axes.n[d + 1] = s->count;
        axes.from[d + 1] = (size_t)(s->source_step * pitch);
        axes.to[d + 1] = s->step * to->pitch[d];
        row.taps.n[d] = s->taps;
        row.taps.a[d] = s->source_tap * pitch;
        row.taps.b[d] = (ptrdiff_t)(s->tap_step * below);
        row.weights += s->tap * below;
        below *= walk->window->axis[d].taps;
    }
    if (walk->depth) join(&row.taps, walk->ldb);
    choose_row(&axes);
    row.n = axes.n[CDL_AXES];
    row.from_step = axes.from[CDL_AXES];
    row.to_step = axes.to[CDL_AXES];
    for (size_t s = 0; s < axes.n[0]; s++) {
        for (size_t u = 0; u < axes.n[1]; u++) {
            for (size_t v = 0; v < axes.n[2]; v++) {
                row.from = from->lines + source +
                           (ptrdiff_t)(s * axes.from[0] + u * axes.from[1] + v * axes.from[2]);
                row.to = to->lines + at + s * axes.to[0] + u * axes.to[1] + v * axes.to[2];
                visit(who, &row);
            }
        }
    }
}

void cdl_walk(const struct cdl_window_walk *walk, size_t first, size_t samples,
              cdl_places_fn *visit, void *who) {
    const struct cdl_spans *spans = walk->spans;
    for (size_t u = 0; u < spans->n[0]; u++) {
        for (size_t v = 0; v < spans->n[1]; v++) {
            for (size_t w = 0; w < spans->n[2]; w++) {
                const struct cdl_span *const box[CDL_AXES] = {&spans->of[0][u], &spans->of[1][v],
                                                              &spans->of[2][w]};
                visit_box(walk, box, first, samples, visit, who);
            }
        }
    }
}
