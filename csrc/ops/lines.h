/* lines.h - common parts of ops that copy values or work along an axis. */
#pragma once

#include "ops/op.h"

/* One axis of a value, or neighbouring axes as one: in row-major order its elements are
 * outer x n x inner. Instructions name it by their first three numbers, behind the row of a table
 * if there is one. */
struct cdl_axis {
    size_t outer, n, inner;
};
enum { CDL_OUTER, CDL_N, CDL_INNER, CDL_AXIS };

static inline struct cdl_axis cdl_axis_of(const struct cdl_node *node) {
    const int64_t *n = node->numbers + (node->op->table.name ? 1 : 0);
    return (struct cdl_axis){(size_t)n[CDL_OUTER], (size_t)n[CDL_N], (size_t)n[CDL_INNER]};
}

static inline struct cdl_axis cdl_axis_at(const struct cdl_tensor *value, int d) {
    struct cdl_axis axis = {1, value->dims[d], 1};
    for (int i = 0; i < value->n_dims; i++)
        *(i < d ? &axis.outer : &axis.inner) *= i == d ? 1 : value->dims[i];
    return axis;
}

/* Error unless the integers of a node begin with an axis of its first input. */
static inline const char *cdl_check_axis(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0];
    const struct cdl_axis axis = cdl_axis_of(node);
    const size_t sizes[] = {axis.outer, axis.n, axis.inner};
    size_t left = x->lines * x->width; /* no product that could wrap */
    CDL_EXPECT(!cdl_is_int(x), "x: expected floats");
    for (int i = 0; i < CDL_AXIS; i++) {
        CDL_EXPECT(sizes[i] >= 1 && left % sizes[i] == 0,
                   "outer, n, inner: expected the elements of x as their product");
        left /= sizes[i];
    }
    CDL_EXPECT(left == 1, "outer, n, inner: expected the elements of x as their product");
    return NULL;
}

/* A way through the places of several axes, the last one fastest: `from` and `to` are how far apart
 * their elements are in two values. */
struct cdl_walk {
    int n;
    size_t size[CDL_MAX_DIMS], from[CDL_MAX_DIMS], to[CDL_MAX_DIMS];
};
struct cdl_place {
    size_t at[CDL_MAX_DIMS], from, to;
};

/* Moves on to the next place; false behind the last one, with `place` back at the first. */
static inline bool cdl_next_place(const struct cdl_walk *walk, struct cdl_place *place) {
    for (int d = walk->n - 1; d >= 0; d--) {
        place->from += walk->from[d], place->to += walk->to[d];
        if (++place->at[d] < walk->size[d]) return true;
        place->from -= walk->size[d] * walk->from[d], place->to -= walk->size[d] * walk->to[d];
        place->at[d] = 0;
    }
    return false;
}

static inline void cdl_clear_pads(const struct cdl_tensor *value, float *lines, size_t n) {
    const size_t pads = cdl_padded(value->width) - value->width;
    for (size_t l = 0; l < n && pads; l++, lines += value->ld)
        memset(lines + value->width, 0, pads * sizeof(float));
}

/* Lines of a value without their pads; then the way back, with pads of 0. */
static inline void cdl_pack(const struct cdl_tensor *value, const float *from, size_t lines,
                            float *to) {
    for (size_t l = 0; l < lines; l++, from += value->ld, to += value->width)
        memcpy(to, from, value->width * sizeof(float));
}
static inline void cdl_unpack(const struct cdl_tensor *value, const float *from, size_t lines,
                              float *to) {
    for (size_t l = 0; l < lines; l++)
        memcpy(to + l * value->ld, from + l * value->width, value->width * sizeof(float));
    cdl_clear_pads(value, to, lines);
}
