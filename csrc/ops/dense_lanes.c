/* dense_lanes.c - products of members in lanes.
 *
 * The node's values have a line for each element (lanes.h), its weights too. Each element is summed
 * up in the order that it has for one model: as a chain, or in sixteen where dense.c
 * takes a product with a single column, or one of few rows.
 */
#include "learn/learn.h"
#include "ops/lanes.h"
#include "products/matmul.h"

enum { ACTIVATION };   /* numbers */
enum { KERNEL, BIAS }; /* params */

/* Start of a chain of sums that leaves its first product unchanged, even if that is -0. */
static const float minus_zeros[CDL_LINE] = {-0.0f, -0.0f, -0.0f, -0.0f, -0.0f, -0.0f, -0.0f, -0.0f,
                                            -0.0f, -0.0f, -0.0f, -0.0f, -0.0f, -0.0f, -0.0f, -0.0f};

static bool fits(const struct cdl_node *node) {
    return node->n_in == 1 && node->n_out == 1 && !node->param[BIAS + 1];
}

/* A product of samples, some at a time, to which its epilogue comes while they are in L1, or in
 * registers, if it is relu. */
static void multiply(const struct cdl_kernels *kernels, struct cdl_lanes_product product, bool dots,
                     struct cdl_epilogue epilogue) {
    enum { BYTES = 16384, TILE = 4, FEWEST = 2 * TILE };
    const bool relu = epilogue.activation == CDL_ACTIVATION_plain_relu;
    product.cuts = cdl_cuts(&epilogue);
    if (relu && epilogue.gradient) product.y = epilogue.y;
    if (relu) epilogue.activation = CDL_ACTIVATION_linear;
    const size_t together = BYTES / ((product.n + product.k) * CDL_LINE * sizeof(float));
    const size_t most = cdl_max(together / TILE * TILE, FEWEST);
    for (size_t left = product.m; left > 0; left -= product.m) {
        product.m = cdl_min(left, most);
        (dots ? kernels->lanes_dots : kernels->lanes_product)(&product);
        const size_t lines = product.m * product.n;
        cdl_finish(kernels, &epilogue, lines, CDL_LINE, 0, product.c, CDL_LINE, CDL_LINE);
        product.a += product.m * product.a_row * CDL_LINE;
        product.c += lines * CDL_LINE;
        if (epilogue.gradient) epilogue.y += lines * CDL_LINE;
        if (product.y) product.y += lines * CDL_LINE;
    }
}

static void forward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const struct cdl_param *bias = node->param[BIAS];
    const struct cdl_lanes_product product = {.m = last - first,
                                              .n = y->lines,
                                              .k = x->lines,
                                              .a = cdl_rows(x, first),
                                              .a_row = x->lines,
                                              .a_step = 1,
                                              .b = node->param[KERNEL]->w,
                                              .b_step = y->lines,
                                              .b_column = 1,
                                              .init = bias ? bias->w : cdl_zeros,
                                              .init_column = bias != NULL,
                                              .c = cdl_rows(y, first),
                                              .rest_is_last = true};
    const bool sums = y->lines == 1 && x->lines > CDL_LINE;
    const struct cdl_epilogue epilogue = {.activation = (int)node->numbers[ACTIVATION],
                                          .params = node->row_param};
    multiply(ctx->kernels, product, sums, epilogue);
}

/* dx = dz W^T */
static void give(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const bool is_small = x->lines > 1 && cdl_is_small_m(last - first, y->lines);
    const bool is_row = x->lines == 1 && y->lines > CDL_LINE;
    const bool keeps_sign = is_small || (x->lines > 1 && y->lines == 1);
    const struct cdl_lanes_product product = {.m = last - first,
                                              .n = x->lines,
                                              .k = y->lines,
                                              .a = cdl_grad_rows(y, first),
                                              .a_row = y->lines,
                                              .a_step = 1,
                                              .b = node->param[KERNEL]->w,
                                              .b_step = 1,
                                              .b_column = y->lines,
                                              .init = keeps_sign ? minus_zeros : cdl_zeros,
                                              .c = cdl_grad_rows(x, first),
                                              .rest_is_last = is_row};
    const struct cdl_epilogue epilogue = {.activation = node->dx_activation,
                                          .gradient = true,
                                          .y = cdl_rows(x, first),
                                          .params = node->dx_row_param};
    multiply(ctx->kernels, product, is_small || is_row, epilogue);
}

static void backward(CDL_PASS) {
    cdl_take_gradient(node, ctx, first, last);
    if (node->needs[0]) give(node, ctx, first, last);
}

/* dW = x^T dz, and db, the sums of dz: a product with a row of ones. */
static void update(CDL_UPDATE) {
    static const float ones[CDL_LINE] = {1.0f, 1.0f, 1.0f, 1.0f, 1.0f, 1.0f, 1.0f, 1.0f,
                                         1.0f, 1.0f, 1.0f, 1.0f, 1.0f, 1.0f, 1.0f, 1.0f};
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const size_t elements = x->lines * y->lines;
    float *g = ctx->scratch;
    struct cdl_lanes_product kernel = {.m = x->lines,
                                       .n = y->lines,
                                       .k = rows.n,
                                       .a = cdl_rows(x, rows.first),
                                       .a_row = 1,
                                       .a_step = x->lines,
                                       .b = cdl_grad_rows(y, rows.first),
                                       .b_step = y->lines,
                                       .b_column = 1,
                                       .init = cdl_zeros,
                                       .c = g};
    struct cdl_lanes_product bias = kernel;
    bias.m = 1, bias.a = ones, bias.a_step = 0, bias.c = g + elements * CDL_LINE;
    if (node->trained[KERNEL]) {
        kernel.beside = node->trained[BIAS] ? &bias : NULL;
        ctx->kernels->lanes_product(&kernel);
    } else if (node->trained[BIAS]) {
        ctx->kernels->lanes_product(&bias);
    }
    if (node->trained[BIAS]) {
        const struct cdl_block block = {.rows = y->lines, .width = CDL_LINE};
        cdl_learn(node->trained[BIAS], ctx, to, block, bias.c);
    }
    if (node->trained[KERNEL]) {
        const struct cdl_block block = {.rows = elements, .width = CDL_LINE};
        cdl_learn(node->trained[KERNEL], ctx, to, block, g);
    }
}

const struct cdl_lanes_op cdl_lanes_dense = {
    .view = CDL_BY_ELEMENTS,
    .fits = fits,
    .forward = forward,
    .backward = backward,
    .update = update,
};
