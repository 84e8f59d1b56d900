/* arg.c - the place of the largest or smallest number along neighbouring axes, counted through
 * them: the first of equals; a NaN is the largest and the smallest. No gradient. */
#include "ops/cut.h"

enum { SMALLEST = CDL_AXIS }; /* numbers */

static const char *check(const struct cdl_node *node) {
    CDL_CHECK(cdl_check_cut(node));
    CDL_EXPECT(cdl_axis_of(node).n <= CDL_EXACT, "n: expected at most 2^24");
    return NULL;
}

static void forward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const struct cdl_cut cut = cdl_cut_of(node, last - first);
    const float sign = node->numbers[SMALLEST] != 0 ? -1.0f : 1.0f;
    const float *from = cdl_rows(x, first);
    float *to = cdl_rows(y, first);
    for (size_t i = 0; i < cut.calls; i++, from += cut.from, to += cut.to) {
        if (cut.columns)
            ctx->kernels->top_of_columns(sign, cut.n, cut.to, from, cut.to, to);
        else
            ctx->kernels->top_of_lines(sign, cut.count, cut.lines, x->width, from, x->ld, to);
    }
    cdl_clear_pads(y, cdl_rows(y, first), (last - first) * y->lines);
}

const struct cdl_op cdl_op_arg = {
    .check = check,
    .forward = forward,
};
