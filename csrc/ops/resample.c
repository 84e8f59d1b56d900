/* resample.c - y[p] = x at the coordinates at[:, p]: numbers between the places of an image.
 *
 * x has one to three axes and columns, (sizes..., columns); at is (axes, places), y (places...,
 * columns). A place of x lies at whole numbers. With `linear` y is the mean of the two places next
 * to the coordinate along each axis, weighed by how near they are; else it is the nearest place,
 * halves away from 0. Places beyond the ends of an axis are, by `fill`: `value` (constant), the
 * last place (nearest), the image repeated (wrap), mirrored with its last place twice (reflect), or
 * mirrored with it once (mirror). Coordinates that are no numbers lie far outside.
 *
 * Backward adds up: a place may be near many coordinates. Coordinates get a gradient where y is
 * linear in them.
 */
#include <math.h>

#include "ops/lines.h"

enum { LINEAR, FILL }; /* numbers */
enum { VALUE };        /* attributes */
enum { CONSTANT, NEAREST, WRAP, MIRROR, REFLECT, N_FILLS };
enum { MOST_AXES = 3 };

/* So far out an index is exact, and any fill has come round many times. */
static const float far_out = 0x1p23f;

/* The places next to a coordinate along an axis: lines of x, or -1 for `value`. */
struct near {
    ptrdiff_t line[2];
    float weight[2];
};

static bool is_linear(const struct cdl_node *node) { return node->numbers[LINEAR] != 0; }

static const char *check(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0], *at = node->in[1], *y = node->out[0];
    const int64_t fill = node->numbers[FILL];
    CDL_EXPECT(fill >= 0 && fill < N_FILLS, "fill: expected a number from 0 to 4");
    CDL_EXPECT(!cdl_is_int(x) && !cdl_is_int(at), "inputs: expected floats");
    CDL_EXPECT(x->n_dims >= 2 && x->n_dims <= MOST_AXES + 1,
               "x: expected one to three axes, and columns");
    CDL_EXPECT(at->n_dims == 2 && at->dims[0] + 1 == (size_t)x->n_dims,
               "at: expected a line for each axis of x");
    CDL_EXPECT(at->dims[1] == y->lines, "at: expected a number for each line of the output");
    CDL_EXPECT(x->width == y->width, "output: expected as many columns as x");
    return NULL;
}

static ptrdiff_t modulo(ptrdiff_t a, ptrdiff_t n) {
    const ptrdiff_t left = a % n;
    return left < 0 ? left + n : left;
}

/* The place that stands for one along an axis of n; -1 for none. */
static ptrdiff_t place_of(ptrdiff_t i, ptrdiff_t n, int fill) {
    if (i >= 0 && i < n) return i;
    switch (fill) {
    case NEAREST:
        return i < 0 ? 0 : n - 1;
    case WRAP:
        return modulo(i, n);
    case MIRROR:
        i = n == 1 ? 0 : modulo(i, 2 * (n - 1));
        return i < n ? i : 2 * (n - 1) - i;
    case REFLECT:
        i = modulo(i, 2 * n);
        return i < n ? i : 2 * n - 1 - i;
    default:
        return -1;
    }
}

static struct near near_of(float coordinate, ptrdiff_t n, int fill, bool linear) {
    const float high = coordinate < far_out ? coordinate : far_out; /* NaN is that, too */
    const float c = high > -far_out ? high : -far_out;
    const float below = linear ? floorf(c) : roundf(c);
    const float upper = linear ? c - below : 0.0f;
    const ptrdiff_t i = (ptrdiff_t)below;
    struct near near = {{place_of(i, n, fill), linear ? place_of(i + 1, n, fill) : 0},
                        {1.0f - upper, upper}};
    return near;
}

/* A walk over the places of y, in one sample. */
struct image_walk {
    const struct cdl_node *node;
    int axes, corners; /* how many places of x a place of y is made of */
    int fill;
    const float *at;
};

static struct image_walk walk_of(const struct cdl_node *node, size_t sample) {
    const int axes = node->in[0]->n_dims - 1;
    return (struct image_walk){node, axes, is_linear(node) ? 1 << axes : 1,
                               (int)node->numbers[FILL], cdl_rows(node->in[1], sample)};
}

static void near_all(const struct image_walk *walk, size_t place, struct near near[MOST_AXES]) {
    const struct cdl_tensor *x = walk->node->in[0], *at = walk->node->in[1];
    for (int d = 0; d < walk->axes; d++)
        near[d] = near_of(walk->at[(size_t)d * at->ld + place], (ptrdiff_t)x->dims[d], walk->fill,
                          is_linear(walk->node));
}

/* The line of x at a corner, of which bit d says which of the two places along axis d, and what it
 * counts; -1 if it is none. `but` is an axis whose weight does not count. */
static ptrdiff_t corner_of(const struct image_walk *walk, const struct near near[MOST_AXES],
                           int corner, int but, float *weight) {
    const struct cdl_tensor *x = walk->node->in[0];
    ptrdiff_t line = 0;
    float product = 1.0f;
    for (int d = 0; d < walk->axes; d++) {
        const int side = corner >> d & 1;
        const ptrdiff_t place = near[d].line[side];
        if (d != but) product *= near[d].weight[side];
        line = line < 0 || place < 0 ? -1 : line * (ptrdiff_t)x->dims[d] + place;
    }
    *weight = product;
    return line;
}

static void forward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const float value = node->attribute[VALUE];
    for (size_t i = first; i < last && !cdl_stopped(ctx); i++) {
        const struct image_walk walk = walk_of(node, i);
        const float *from = cdl_rows(x, i);
        float *to = cdl_rows(y, i);
        for (size_t p = 0; p < y->lines; p++, to += y->ld) {
            struct near near[MOST_AXES];
            near_all(&walk, p, near);
            for (size_t j = 0; j < y->width; j++) to[j] = 0.0f;
            for (int corner = 0; corner < walk.corners; corner++) {
                float weight;
                const ptrdiff_t line = corner_of(&walk, near, corner, -1, &weight);
                if (weight == 0.0f) continue;
                if (line < 0) {
                    for (size_t j = 0; j < y->width; j++) to[j] += weight * value;
                } else {
                    const float *line_of_x = from + (size_t)line * x->ld;
                    for (size_t j = 0; j < y->width; j++) to[j] += weight * line_of_x[j];
                }
            }
        }
        cdl_clear_pads(y, cdl_rows(y, i), y->lines);
    }
}

/* How fast a place of y changes with its coordinate along an axis, times its gradient. */
static float slope(const struct image_walk *walk, const struct near near[MOST_AXES], int axis,
                   const float *from, const float *dy) {
    const struct cdl_tensor *x = walk->node->in[0];
    const float value = walk->node->attribute[VALUE];
    float total = 0.0f;
    for (int corner = 0; corner < walk->corners; corner++) {
        float weight, sum = 0.0f;
        const ptrdiff_t line = corner_of(walk, near, corner, axis, &weight);
        for (size_t j = 0; j < x->width; j++)
            sum += dy[j] * (line < 0 ? value : from[(size_t)line * x->ld + j]);
        total += (corner >> axis & 1 ? weight : -weight) * sum;
    }
    return total;
}

static void backward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *at = node->in[1], *y = node->out[0];
    for (size_t i = first; i < last && !cdl_stopped(ctx); i++) {
        const struct image_walk walk = walk_of(node, i);
        const float *from = cdl_rows(x, i), *dy = cdl_grad_rows(y, i);
        float *dx = node->needs[0] ? cdl_grad_rows(x, i) : NULL;
        float *dat = node->needs[1] ? cdl_grad_rows(at, i) : NULL;
        if (dx) memset(dx, 0, x->lines * x->ld * sizeof(float));
        for (size_t p = 0; p < y->lines; p++, dy += y->ld) {
            struct near near[MOST_AXES];
            near_all(&walk, p, near);
            for (int corner = 0; corner < walk.corners && dx; corner++) {
                float weight;
                const ptrdiff_t line = corner_of(&walk, near, corner, -1, &weight);
                if (line < 0) continue;
                float *to = dx + (size_t)line * x->ld;
                for (size_t j = 0; j < x->width; j++) to[j] += weight * dy[j];
            }
            for (int d = 0; d < walk.axes && dat; d++)
                dat[(size_t)d * at->ld + p] = slope(&walk, near, d, from, dy);
        }
        if (dat) cdl_clear_pads(at, dat, at->lines);
    }
}

static bool gives(const struct cdl_node *node, int k) { return k == 0 || is_linear(node); }

const struct cdl_op cdl_op_resample = {
    .check = check,
    .forward = forward,
    .backward = backward,
    .gives = gives,
    .all_inputs = true,
    .any_samples = true,
    .parts = CDL_BY_MICRO_BATCHES,
};
