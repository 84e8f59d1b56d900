/* arg.c - the place of the largest or smallest number along neighbouring axes, counted through
 * them: the first of equals; a NaN is the largest and the smallest. No gradient. */
#include "ops/cut.h"

enum { SMALLEST }; /* attributes */

static const char *check(const struct cdl_node *node) { return cdl_check_cut(node); }

static void forward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                    size_t last) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const struct cdl_cut cut = cdl_cut_of(node);
    const float sign = node->attribute[SMALLEST] != 0.0f ? -1.0f : 1.0f;
    const float *from = cdl_rows(x, first);
    float *to = cdl_rows(y, first);
    const size_t rows = last - first, lines = rows * y->lines;
    if (cut.columns) {
        const size_t floats = cut.lines * x->ld;
        for (size_t i = 0; i < rows * cut.count; i++, from += cut.n * floats, to += floats)
            ctx->kernels->top_of_columns(sign, cut.n, floats, from, floats, to);
    } else if (cut.in_rows) {
        ctx->kernels->top_of_lines(sign, lines, cut.lines, x->width, from, x->ld, to);
    } else {
        for (size_t l = 0; l < lines; l++, from += cut.count * cut.lines * x->ld, to += y->ld)
            ctx->kernels->top_of_lines(sign, cut.count, cut.lines, x->width, from, x->ld, to);
    }
    cdl_clear_pads(y, cdl_rows(y, first), lines);
}

const struct cdl_op cdl_op_arg = {
    .check = check,
    .forward = forward,
};
