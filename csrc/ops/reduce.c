/* reduce.c - neighbouring axes of a sample made one number: sum, mean, max, min, prod. */
#include "ops/cut.h"

enum { KIND }; /* numbers: a row of kernels/reduce.h */

static enum cdl_reduction kind_of(const struct cdl_node *node) {
    return (enum cdl_reduction)node->numbers[KIND];
}

static double flops(const struct cdl_node *node) {
    return (double)(node->in[0]->lines * node->in[0]->width);
}

static void forward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const struct cdl_cut cut = cdl_cut_of(node, last - first);
    const float *from = cdl_rows(x, first);
    float *to = cdl_rows(y, first);
    for (size_t i = 0; i < cut.calls; i++, from += cut.from, to += cut.to) {
        if (cut.columns)
            ctx->kernels->reduce_columns(kind_of(node), cut.n, cut.to, from, cut.to, to);
        else
            ctx->kernels->reduce_lines(kind_of(node), cut.count, cut.lines, x->width, from, x->ld,
                                       to);
    }
    cdl_clear_pads(y, cdl_rows(y, first), (last - first) * y->lines);
}

static void backward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const struct cdl_cut cut = cdl_cut_of(node, last - first);
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
    .check = cdl_check_cut,
    .flops = flops,
    .forward = forward,
    .backward = backward,
    .parts = CDL_BY_MICRO_BATCHES,
};
