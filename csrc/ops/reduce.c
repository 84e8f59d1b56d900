/* reduce.c - reductions of neighbouring axes of a sample: sum, mean, max, min or product
 * (reduce); the place of the largest or smallest number, counted through them (arg): the first of
 * equals, and a NaN is the largest and the smallest. arg has no gradient.
 *
 * y is outer x inner. The axes end with the last one (inner is 1, and a result is made of whole
 * lines), or they end before it (a result's line is made of lines of x, column by column).
 */
#include "ops/lines.h"

enum { KIND };                /* numbers of reduce: a row of kernels/reduce.h */
enum { SMALLEST = CDL_AXIS }; /* numbers of arg */

/* `calls` calls of a kernel, each for `count` results of `lines` lines of x in a row, or (columns)
 * for `to` results in a row of n rows of x that are as long; each begins `from` floats of x and
 * `to` floats of y behind the one before. */
struct cut {
    bool columns;
    size_t calls, count, lines, n, from, to;
};

static const char *check(const struct cdl_node *node) {
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
    CDL_EXPECT(node->op != &cdl_op_arg || axis.n <= CDL_EXACT, "n: expected at most 2^24");
    return NULL;
}

static struct cut cut_of(const struct cdl_node *node, size_t rows) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const struct cdl_axis axis = cdl_axis_of(node);
    const size_t lines = axis.n / x->width, floats = axis.inner / x->width * x->ld;
    if (axis.inner > 1)
        return (struct cut){.columns = true,
                            .calls = rows * axis.outer,
                            .n = axis.n,
                            .from = axis.n * floats,
                            .to = floats};
    if (y->width == 1) /* results of all samples stand in one row */
        return (struct cut){.calls = 1, .count = rows * y->lines, .lines = lines};
    return (struct cut){.calls = rows * y->lines,
                        .count = y->width,
                        .lines = lines,
                        .from = y->width * lines * x->ld,
                        .to = y->ld};
}

static enum cdl_reduction kind_of(const struct cdl_node *node) {
    return (enum cdl_reduction)node->numbers[KIND];
}

static void call(const struct cdl_node *node, const struct cdl_kernels *kernels,
                 const struct cut *cut, const float *from, float *to) {
    const struct cdl_tensor *x = node->in[0];
    const bool places = node->op == &cdl_op_arg;
    const float sign = places && node->numbers[SMALLEST] != 0 ? -1.0f : 1.0f;
    if (places && cut->columns)
        kernels->top_of_columns(sign, cut->n, cut->to, from, cut->to, to);
    else if (places)
        kernels->top_of_lines(sign, cut->count, cut->lines, x->width, from, x->ld, to);
    else if (cut->columns)
        kernels->reduce_columns(kind_of(node), cut->n, cut->to, from, cut->to, to);
    else
        kernels->reduce_lines(kind_of(node), cut->count, cut->lines, x->width, from, x->ld, to);
}

static void forward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const struct cut cut = cut_of(node, last - first);
    for (size_t i = 0; i < cut.calls; i++)
        call(node, ctx->kernels, &cut, cdl_rows(x, first) + i * cut.from,
             cdl_rows(y, first) + i * cut.to);
    cdl_clear_pads(y, cdl_rows(y, first), (last - first) * y->lines);
}

static void backward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const struct cut cut = cut_of(node, last - first);
    const float *from = cdl_rows(x, first), *to = cdl_rows(y, first);
    const float *dy = cdl_grad_rows(y, first);
    float *dx = cdl_grad_rows(x, first);
    for (size_t i = 0; i < cut.calls; i++) {
        if (cut.columns)
            ctx->kernels->reduce_columns_backward(kind_of(node), cut.n, cut.to, from, cut.to, to,
                                                  dy, dx);
        else
            ctx->kernels->reduce_lines_backward(kind_of(node), cut.count, cut.lines, x->width,
                                                (struct cdl_matrix){from, x->ld}, to, dy, dx);
        from += cut.from, dx += cut.from, to += cut.to, dy += cut.to;
    }
    cdl_clear_pads(x, cdl_grad_rows(x, first), (last - first) * x->lines);
}

const struct cdl_op cdl_op_reduce = {
    .table = {"reductions", CDL_N_REDUCTIONS},
    .check = check,
    .number_flops = 1.0,
    .forward = forward,
    .backward = backward,
    .parts = CDL_BY_MICRO_BATCHES,
};

const struct cdl_op cdl_op_arg = {
    .check = check,
    .forward = forward,
};
