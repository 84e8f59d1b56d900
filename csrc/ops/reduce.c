/* reduce.c - neighbouring axes of a sample made one number: sum, mean, max, min, prod. */
#include "ops/cut.h"

enum { KIND }; /* attributes: a row of kernels/reduce.h */

static enum cdl_reduction kind_of(const struct cdl_node *node) {
    return (enum cdl_reduction)node->attribute[KIND];
}

static const char *check(const struct cdl_node *node) { return cdl_check_cut(node); }

static double flops(const struct cdl_node *node) {
    return (double)(node->in[0]->lines * node->in[0]->width);
}

static void forward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                    size_t last) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const struct cdl_cut cut = cdl_cut_of(node);
    const float *from = cdl_rows(x, first);
    float *to = cdl_rows(y, first);
    const size_t rows = last - first, lines = rows * y->lines;
    if (cut.columns) {
        const size_t floats = cut.lines * x->ld;
        for (size_t i = 0; i < rows * cut.count; i++, from += cut.n * floats, to += floats)
            ctx->kernels->reduce_columns(kind_of(node), cut.n, floats, from, floats, to);
    } else if (cut.in_rows) {
        ctx->kernels->reduce_lines(kind_of(node), lines, cut.lines, x->width, from, x->ld, to);
    } else {
        for (size_t l = 0; l < lines; l++, from += cut.count * cut.lines * x->ld, to += y->ld)
            ctx->kernels->reduce_lines(kind_of(node), cut.count, cut.lines, x->width, from, x->ld,
                                       to);
    }
    cdl_clear_pads(y, cdl_rows(y, first), lines);
}

static void backward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                     size_t last) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    if (!node->needs[0]) return;
    const struct cdl_cut cut = cdl_cut_of(node);
    const enum cdl_reduction kind = kind_of(node);
    const float *from = cdl_rows(x, first), *to = cdl_rows(y, first);
    const float *dy = cdl_grad_rows(y, first);
    float *dx = cdl_grad_rows(x, first);
    const size_t rows = last - first, lines = rows * y->lines;
    if (cut.columns) {
        const size_t floats = cut.lines * x->ld, all = cut.n * floats;
        for (size_t i = 0; i < rows * cut.count; i++, from += all, dx += all) {
            ctx->kernels->reduce_columns_backward(kind, cut.n, floats, from, floats,
                                                  to + i * floats, dy + i * floats, dx);
        }
    } else if (cut.in_rows) {
        ctx->kernels->reduce_lines_backward(kind, lines, cut.lines, x->width, from, x->ld, to, dy,
                                            dx);
    } else {
        const size_t all = cut.count * cut.lines * x->ld;
        for (size_t l = 0; l < lines; l++, from += all, dx += all) {
            ctx->kernels->reduce_lines_backward(kind, cut.count, cut.lines, x->width, from, x->ld,
                                                to + l * y->ld, dy + l * y->ld, dx);
        }
    }
    cdl_clear_pads(x, cdl_grad_rows(x, first), rows * x->lines);
}

const struct cdl_op cdl_op_reduce = {
    .table = "reductions",
    .table_rows = CDL_N_REDUCTIONS,
    .check = check,
    .flops = flops,
    .forward = forward,
    .backward = backward,
};
