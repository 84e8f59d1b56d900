/* cut.h - how an op that makes one number of neighbouring axes finds its way through lines.
 *
 * y is outer x inner. The axes end with the last one (inner is 1, and a result is made of whole
 * lines), or they end before it (a result's line is made of lines of x, column by column).
 */
#ifndef CDL_OPS_CUT_H
#define CDL_OPS_CUT_H

#include "ops/lines.h"

/* `calls` calls of a kernel, each for `count` results of `lines` lines of x in a row, or (columns)
 * for `to` results in a row of n rows of x that are as long; each begins `from` floats of x and
 * `to` floats of y behind the one before. */
struct cdl_cut {
    bool columns;
    size_t calls, count, lines, n, from, to;
};

static inline const char *cdl_check_cut(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    CDL_CHECK(cdl_check_axis(node));
    const struct cdl_axis axis = cdl_axis_of(node);
    CDL_EXPECT(axis.outer * axis.inner == y->lines * y->width,
               "output: expected outer times inner elements");
    CDL_EXPECT(axis.inner > 1 || axis.n % x->width == 0, "n: expected whole lines of x");
    CDL_EXPECT(axis.inner == 1 || axis.inner % x->width == 0,
               "inner: expected 1, or whole lines of x");
    CDL_EXPECT(axis.inner == 1 || y->width == x->width,
               "output: expected lines as wide as those of x");
    return NULL;
}

/* Of so many samples. */
static inline struct cdl_cut cdl_cut_of(const struct cdl_node *node, size_t rows) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const struct cdl_axis axis = cdl_axis_of(node);
    const size_t lines = axis.n / x->width, floats = axis.inner / x->width * x->ld;
    if (axis.inner > 1)
        return (struct cdl_cut){.columns = true,
                                .calls = rows * axis.outer,
                                .n = axis.n,
                                .from = axis.n * floats,
                                .to = floats};
    if (y->width == 1) /* results of all samples stand in one row */
        return (struct cdl_cut){.calls = 1, .count = rows * y->lines, .lines = lines};
    return (struct cdl_cut){.calls = rows * y->lines,
                            .count = y->width,
                            .lines = lines,
                            .from = y->width * lines * x->ld,
                            .to = y->ld};
}

#endif
