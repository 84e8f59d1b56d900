/* dense.c - y = f(x W + b) on the last axis: products, their gradients, and the fused update.
 *
 * x is (rows, k), W (k, n) in panels, y (rows, n); rows are samples times lines. Backward: with
 * dz = dy * df, dx = dz W^T by the transposed copy, dW = x^T dz. dW is never stored: each block
 * of 64 x 64 goes straight from the product into the optimizer while it is in the L1 cache.
 */
#include "ops/learn.h"
#include "ops/matmul.h"
#include "ops/op.h"

enum { ACTIVATION };   /* attributes */
enum { KERNEL, BIAS }; /* params */

static cdl_status check(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const struct cdl_param *w = node->param[KERNEL], *b = node->param[BIAS];
    if (!w || !w->matrix || w->rows != x->width || w->cols != y->width || x->lines != y->lines) {
        return CDL_ERR_PROGRAM;
    }
    return b && (b->matrix || b->cols != y->width) ? CDL_ERR_PROGRAM : CDL_OK;
}

static double flops(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    return 2.0 * (double)x->lines * (double)x->width * (double)y->width;
}

static void forward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                    size_t last) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const struct cdl_param *w = node->param[KERNEL], *b = node->param[BIAS];
    const size_t rows = (last - first) * x->lines;
    const int activation = (int)node->attribute[ACTIVATION];
    if (y->width == 1) {
        float *out = cdl_rows(y, first);
        ctx->kernels->dot_rows(rows, x->width, cdl_rows(x, first), x->ld, w->w, b ? b->w[0] : 0.0f,
                               out);
        if (activation != CDL_ACTIVATION_linear) {
            ctx->kernels->activation[activation](rows, 1, out, 1, out, 1, node->row_param);
        }
        return;
    }
    const struct cdl_epilogue epilogue = {.activation = activation, .params = node->row_param};
    cdl_matmul(ctx->kernels, rows, x->width, y->width, cdl_rows(x, first), x->ld, w->w,
               b ? b->w : NULL, cdl_rows(y, first), y->ld, &epilogue);
}

static void backward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                     size_t last) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const size_t rows = (last - first) * x->lines;
    const int activation = (int)node->attribute[ACTIVATION];
    float *dz = cdl_grad_rows(y, first);
    if (activation != CDL_ACTIVATION_linear && !node->dy_is_dz) {
        const float *values = cdl_rows(y, first);
        ctx->kernels->activation_slope[activation](rows, y->width, values, y->ld, values, y->ld, dz,
                                                   y->ld, dz, y->ld, node->row_param);
    }
    if (!node->needs_dx) return;
    float *dx = cdl_grad_rows(x, first);
    const struct cdl_epilogue epilogue = {.activation = node->dx_activation,
                                          .slope = true,
                                          .y = cdl_rows(x, first),
                                          .ldy = x->ld,
                                          .params = node->dx_row_param};
    if (x->width == 1) { /* one input: its weights are a single row of W */
        ctx->kernels->dot_rows(rows, y->width, dz, y->ld, node->param[KERNEL]->wt, 0.0f, dx);
    } else if (y->width > 1) {
        cdl_matmul(ctx->kernels, rows, y->width, x->width, dz, y->ld, node->param[KERNEL]->wt, NULL,
                   dx, x->ld, &epilogue);
        return;
    } else {
        ctx->kernels->outer(rows, x->width, dz, node->param[KERNEL]->wt, dx, x->ld);
    }
    if (epilogue.activation != CDL_ACTIVATION_linear) {
        ctx->kernels->activation_slope[epilogue.activation](rows, x->width, epilogue.y, x->ld,
                                                            epilogue.y, x->ld, dx, x->ld, dx, x->ld,
                                                            epilogue.params);
    }
}

/* One block of the kernel's gradient and its update: rows [row, row + rows) of the panel that
 * starts at `column`. */
static void update_block(const struct cdl_node *node, const struct cdl_context *ctx, float *g,
                         size_t column, size_t row, size_t rows) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    struct cdl_param *w = node->param[KERNEL];
    const size_t samples = ctx->rows * x->lines;
    const size_t width = cdl_panel_width(w->cols, column);
    const size_t offset = column * w->rows + row * width;
    if (w->cols == 1) {
        ctx->kernels->weighted_sum(samples, rows, x->data + row, x->ld, y->grad, g);
    } else {
        cdl_matmul_gradient(ctx->kernels, samples, rows, width, x->data + row, x->ld,
                            y->grad + column, y->ld, g);
    }
    cdl_learn(node->trained[KERNEL], &ctx->optimizer, offset, rows * width, g);
    if (w->wt) { /* rows of one chunk fall into one panel of the transposed copy */
        const size_t live = w->cols - column < width ? w->cols - column : width;
        const size_t wt_width = cdl_panel_width(w->rows, row);
        ctx->kernels->transpose(rows, live, w->w + offset, width,
                                w->wt + row * w->cols + column * wt_width, wt_width);
    }
}

static void update(const struct cdl_node *node, const struct cdl_context *ctx, float *g, int thread,
                   int n_threads) {
    const struct cdl_tensor *y = node->out[0];
    const struct cdl_param *w = node->param[KERNEL];
    const size_t chunks = (w->rows + CDL_CHUNK - 1) / CDL_CHUNK;
    const size_t panels = (w->cols + CDL_PANEL - 1) / CDL_PANEL;
    const size_t begin = chunks * panels * (size_t)thread / (size_t)n_threads;
    const size_t end = chunks * panels * (size_t)(thread + 1) / (size_t)n_threads;
    for (size_t block = begin; block < end; block++) {
        const size_t column = block / chunks * CDL_PANEL;
        const size_t row = block % chunks * CDL_CHUNK;
        const size_t rows = w->rows - row < CDL_CHUNK ? w->rows - row : CDL_CHUNK;
        if (row == 0 && node->trained[BIAS]) {
            const size_t width = cdl_panel_width(w->cols, column);
            ctx->kernels->column_sums(ctx->rows * y->lines, width, y->grad + column, y->ld, g);
            cdl_learn(node->trained[BIAS], &ctx->optimizer, column, width, g);
        }
        if (node->trained[KERNEL]) update_block(node, ctx, g, column, row, rows);
    }
}

const struct cdl_op cdl_op_dense = {
    .name = "dense",
    .attributes = "activation",
    .params = "kernel,bias",
    .table = "activations",
    .check = check,
    .flops = flops,
    .forward = forward,
    .backward = backward,
    .update = update,
    .absorbs_slope = true,
};
