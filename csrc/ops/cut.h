/* cut.h - how an op that makes one number of neighbouring axes finds its way through lines.
 *
 * Its numbers are outer, n, inner: x is, in row-major order, outer x n x inner, and y is outer x
 * inner. The axes end with the last one (inner is 1, and a result is made of whole lines), or they
 * end before it (a result's line is made of lines of x, column by column).
 */
#ifndef CDL_OPS_CUT_H
#define CDL_OPS_CUT_H

#include "ops/lines.h"

enum { CDL_OUTER, CDL_N, CDL_INNER, CDL_CUT };

/* `count` results in a row, each of `lines` lines of x; or (columns) `count` lines of results, each
 * of n lines of x that are `lines` apart. */
struct cdl_cut {
    bool columns, in_rows; /* in_rows: results of all samples stand in one row */
    size_t count, lines, n;
};

static inline const char *cdl_check_cut(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const double *n = node->numbers, width = (double)x->width;
    CDL_EXPECT(!x->is_int, "x: expected floats");
    CDL_EXPECT(node->n_numbers == CDL_CUT, "numbers: expected outer, n, inner");
    CDL_EXPECT(n[CDL_OUTER] >= 1.0 && n[CDL_N] >= 1.0 && n[CDL_INNER] >= 1.0,
               "outer, n, inner: expected at least 1");
    CDL_EXPECT(n[CDL_OUTER] * n[CDL_N] * n[CDL_INNER] == (double)x->lines * width,
               "outer, n, inner: expected the elements of x as their product");
    CDL_EXPECT(n[CDL_OUTER] * n[CDL_INNER] == (double)y->lines * (double)y->width,
               "output: expected outer times inner elements");
    const size_t size = (size_t)n[CDL_INNER];
    CDL_EXPECT(size > 1 || (size_t)n[CDL_N] % x->width == 0, "n: expected whole lines of x");
    CDL_EXPECT(size == 1 || size % x->width == 0, "inner: expected 1, or whole lines of x");
    CDL_EXPECT(size == 1 || y->width == x->width, "output: expected lines as wide as those of x");
    return NULL;
}

static inline struct cdl_cut cdl_cut_of(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const size_t n = (size_t)node->numbers[CDL_N], inner = (size_t)node->numbers[CDL_INNER];
    if (inner > 1)
        return (struct cdl_cut){true, false, (size_t)node->numbers[CDL_OUTER], inner / x->width, n};
    return (struct cdl_cut){false, y->width == 1, y->width, n / x->width, n};
}

#endif
