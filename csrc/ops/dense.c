/* dense.c - y = f(x W + b) on the last axis: products, their gradients, and the fused update.
 *
 * x is (rows, k), W (k, n) in panels, y (rows, n); rows are samples times lines. Backward: with
 * dz = dy * df, dx = dz W^T, dW = x^T dz. dW is never stored: each block of 64 x 64 goes straight
 * from the product into the optimizer while it is in the L1 cache.
 */
#include <string.h>

#include "products/gradient.h"
#include "learn/learn.h"
#include "products/matmul.h"
#include "ops/op.h"

enum { ACTIVATION };   /* attributes */
enum { KERNEL, BIAS }; /* params */

static const char *check(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const struct cdl_param *w = node->param[KERNEL];
    CDL_EXPECT(w && w->matrix, "kernel: expected a matrix");
    CDL_EXPECT(w->rows == x->width, "kernel: expected a row for each column of x");
    CDL_EXPECT(w->cols == y->width, "kernel: expected a column for each of the output");
    CDL_EXPECT(x->lines == y->lines, "output: expected as many lines as x");
    return cdl_check_row(node->param[BIAS], y->width,
                         "bias: expected a number for each column of the output");
}

static double flops(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    return 2.0 * (double)x->lines * (double)x->width * (double)y->width;
}

/* backward(): a part of W turned over, or W's one column with pads. update(): a block, and copies.
 */
static size_t thread_floats(const struct cdl_node *node, size_t rows, bool training) {
    if (!training) return 0;
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const size_t back = y->width == 1 ? cdl_padded(x->width) : cdl_turned_floats(y->width);
    const size_t learn = CDL_THREAD_SCRATCH +
                         cdl_gradient_floats(node->param[KERNEL], rows * x->lines, x->ld, y->ld);
    return back > learn ? back : learn;
}

static void forward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                    size_t last) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const struct cdl_param *w = node->param[KERNEL], *b = node->param[BIAS];
    const size_t rows = (last - first) * x->lines;
    const int activation = (int)node->attribute[ACTIVATION];
    if (y->width == 1) {
        float *out = cdl_rows(y, first);
        ctx->kernels->dot_rows(rows, x->width, cdl_rows(x, first), x->ld, !x->far, w->w,
                               b ? b->w[0] : 0.0f, out);
        if (activation != CDL_ACTIVATION_linear) {
            ctx->kernels->activation[activation](rows, 1, out, 1, out, 1, node->row_param);
        }
        return;
    }
    const struct cdl_epilogue epilogue = {.activation = activation, .params = node->row_param};
    cdl_matmul(ctx, rows, x->width, y->width, cdl_rows(x, first), x->ld, w->w, b ? b->w : NULL,
               cdl_rows(y, first), y->ld, &epilogue, x->far);
}

static void backward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                     size_t last) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const size_t rows = (last - first) * x->lines;
    const int activation = (int)node->attribute[ACTIVATION];
    float *dz = cdl_grad_rows(y, first);
    if (activation != CDL_ACTIVATION_linear && !node->dy_is_dz) {
        const float *values = cdl_rows(y, first);
        ctx->kernels->activation_gradient[activation](rows, y->width, values, y->ld, values, y->ld,
                                                      dz, y->ld, dz, y->ld, node->row_param);
    }
    if (!node->needs[0]) return;
    float *dx = cdl_grad_rows(x, first);
    const struct cdl_epilogue epilogue = {.activation = node->dx_activation,
                                          .gradient = true,
                                          .y = cdl_rows(x, first),
                                          .ldy = x->ld,
                                          .params = node->dx_row_param};
    const float *w = node->param[KERNEL]->w;
    if (x->width == 1) { /* one input: its weights are a single row of W */
        ctx->kernels->dot_rows(rows, y->width, dz, y->ld, true, w, 0.0f, dx);
    } else if (y->width > 1) {
        cdl_matmul_transposed(ctx, rows, y->width, x->width, dz, y->ld, w, dx, x->ld, &epilogue,
                              cdl_few_rows(ctx->rows * x->lines, y->width), ctx->scratch);
        return;
    } else {
        memset(ctx->scratch, 0, cdl_padded(x->width) * sizeof(float));
        memcpy(ctx->scratch, w, x->width * sizeof(float));
        ctx->kernels->outer(rows, x->width, dz, ctx->scratch, dx, x->ld);
    }
    if (epilogue.activation != CDL_ACTIVATION_linear) {
        ctx->kernels->activation_gradient[epilogue.activation](rows, x->width, epilogue.y, x->ld,
                                                               epilogue.y, x->ld, dx, x->ld, dx,
                                                               x->ld, epilogue.params);
    }
}

static void update(const struct cdl_node *node, const struct cdl_context *ctx, float *g, int thread,
                   int n_threads) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    struct cdl_gradient gradient = {.ctx = ctx,
                                    .w = node->param[KERNEL],
                                    .samples = ctx->rows * x->lines,
                                    .x = x->data,
                                    .dy = y->grad,
                                    .ldx = x->ld,
                                    .ldy = y->ld};
    cdl_gradient_begin(&gradient, g + CDL_THREAD_SCRATCH);
    const size_t blocks = cdl_blocks(node->param[KERNEL]);
    const size_t end = blocks * (size_t)(thread + 1) / (size_t)n_threads;
    for (size_t i = blocks * (size_t)thread / (size_t)n_threads; i < end; i++) {
        if (cdl_stopped(ctx)) return;
        const struct cdl_block block = cdl_gradient_at(&gradient, i);
        if (block.row == 0 && node->trained[BIAS]) {
            const struct cdl_block part = {.column = block.column, .rows = 1, .width = block.width};
            ctx->kernels->column_sums(gradient.samples, part.width, y->grad + part.column, y->ld,
                                      g);
            cdl_learn(node->trained[BIAS], ctx, part, g);
        }
        if (!node->trained[KERNEL]) continue;
        if (y->width == 1) {
            ctx->kernels->weighted_sum(gradient.samples, block.rows, x->data + block.row, x->ld,
                                       y->grad, g);
        } else {
            cdl_gradient_of(&gradient, block, g);
        }
        cdl_learn(node->trained[KERNEL], ctx, block, g);
    }
}

const struct cdl_op cdl_op_dense = {
    .table = "activations",
    .table_rows = CDL_N_ACTIVATIONS,
    .check = check,
    .flops = flops,
    .thread_floats = thread_floats,
    .forward = forward,
    .backward = backward,
    .update = update,
    .absorbs_gradient = true,
    .applies_gradient = cdl_always,
    .looks = true,
};
