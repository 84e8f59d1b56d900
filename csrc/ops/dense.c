/* dense.c - y = f(x W + b) on the last axis: products, their gradients, and the fused update.
 *
 * x is (rows, k), W (k, n) in panels, y (rows, n); rows are samples times lines. Backward: with
 * dz = dy * df, dx = dz W^T, dW = x^T dz. dW is never stored: each block of 64 x 64 goes straight
 * from the product into the optimizer while it is in the L1 cache.
 */
#include "products/bf16.h"
#include "products/gradient.h"
#include "learn/learn.h"
#include "products/grid.h"
#include "products/matmul.h"
#include "ops/lanes.h"
#include "ops/op.h"

enum { ACTIVATION };                                /* numbers */
enum { KERNEL, BIAS, GAMMA, BETA, MEAN, VARIANCE }; /* params, the last four to fold (op.h) */

static const char *check(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const struct cdl_param *w = node->param[KERNEL];
    CDL_EXPECT(w && w->matrix, "kernel: expected a matrix");
    CDL_EXPECT(w->rows == x->width, "kernel: expected a row for each column of x");
    CDL_EXPECT(w->cols == y->width, "kernel: expected a column for each of the output");
    CDL_EXPECT(x->lines == y->lines, "output: expected as many lines as x");
    CDL_EXPECT(cdl_is_bf16(x) == cdl_is_bf16(y) && (cdl_is_bf16(x) || !w->pairs),
               "x, kernel, output: expected all to be of bfloat16, or none");
    CDL_EXPECT(!cdl_is_bf16(x) || (w->rows > 1 && w->cols > 1),
               "kernel: expected two rows and columns, at least, of bfloat16");
    return cdl_check_row(node->param[BIAS], y->width,
                         "bias: expected a number for each column of the output");
}

static double flops(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    return 2.0 * (double)x->lines * (double)x->width * (double)y->width;
}

/* backward(): a part of W transposed, or its column with pads. update(): a block, and copies. */
static size_t thread_floats(const struct cdl_node *node, size_t rows, bool training) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const bool bf16 = cdl_is_bf16(x);
    const struct cdl_param *w = node->param[KERNEL];
    if (bf16 && !training) return cdl_bf16_matmul_floats(w, rows * x->lines);
    if (!training) return 0;
    const size_t back = bf16            ? cdl_bf16_matmul_floats(w, rows * x->lines)
                        : y->width == 1 ? cdl_padded(x->width)
                                        : cdl_transposed_floats(y->width);
    const size_t learn =
        CDL_THREAD_SCRATCH + cdl_gradient_floats(w, rows * x->lines, x->ld, y->ld, bf16, w->pairs);
    return cdl_max(back, learn);
}

/* Lines [line, line + rows) of a product, and some of its columns, from a panel's first on. The
 * last panel counts with its pads: by itself it may have a single column. */
struct dense_part {
    size_t line, rows, column, columns;
};

static struct dense_part all_of(const struct cdl_tensor *to, size_t first, size_t last) {
    return (struct dense_part){first * to->lines, (last - first) * to->lines, 0,
                               cdl_padded(to->width)};
}

static bool is_small_m(const struct cdl_node *node, const struct cdl_context *ctx) {
    return cdl_is_small_m((size_t)cdl_samples_joined(node, ctx) * node->in[0]->lines,
                          node->out[0]->width);
}

/* y, or (back) dx, of bfloat16. */
static void multiply_bf16(const struct cdl_node *node, const struct cdl_context *ctx, bool back,
                          struct dense_part part) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0], *from = back ? y : x;
    const struct cdl_tensor *to = back ? x : y;
    const struct cdl_param *b = node->param[BIAS];
    const size_t at = part.line * to->ld;
    const struct cdl_bf16_product product = {
        .m = part.rows,
        .first = part.column,
        .columns = part.columns,
        .a = cdl_bf16(back ? y->grad : x->data) + part.line * from->ld,
        .lda = from->ld,
        .w = node->param[KERNEL],
        .transposed = back,
        .small_m = back && is_small_m(node, ctx),
        .bias = b && !back ? b->w : NULL,
        .c = cdl_bf16(back ? x->grad : y->data) + at,
        .ldc = to->ld,
        .activation = back ? node->dx_activation : (int)node->numbers[ACTIVATION],
        .gradient = back,
        .y = cdl_bf16(x->data) + at,
        .params = back ? node->dx_row_param : node->row_param,
    };
    cdl_bf16_matmul(ctx, &product, ctx->scratch);
}

static void multiply(const struct cdl_node *node, const struct cdl_context *ctx,
                     struct dense_part part) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    if (cdl_is_bf16(x)) {
        multiply_bf16(node, ctx, false, part);
        return;
    }
    const struct cdl_param *w = node->param[KERNEL], *b = node->param[BIAS];
    const struct cdl_epilogue epilogue = {.activation = (int)node->numbers[ACTIVATION],
                                          .params = node->row_param};
    const float *from = x->data + part.line * x->ld;
    float *out = y->data + part.line * y->ld + part.column;
    const size_t rows = part.rows;
    if (y->width == 1) {
        ctx->kernels->dot_rows(rows, x->width, from, x->ld, !x->uncached, w->w, b ? b->w[0] : 0.0f,
                               out);
        cdl_finish(ctx->kernels, &epilogue, rows, 1, 0, out, 1, 1);
        return;
    }
    struct cdl_product product = {.m = rows, .n = cdl_min(part.columns, y->width - part.column)};
    product.k = x->width, product.a = (struct cdl_matrix){from, x->ld};
    product.b.at = w->w + part.column * w->rows, product.init.at = b ? b->w + part.column : NULL;
    product.c = (struct cdl_output){out, y->ld};
    cdl_matmul(ctx, &product, &epilogue, x->uncached);
}

static void forward(CDL_PASS) { multiply(node, ctx, all_of(node->out[0], first, last)); }

/* dx of those lines, and those columns. */
static void give(const struct cdl_node *node, const struct cdl_context *ctx,
                 struct dense_part part) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    if (cdl_is_bf16(x)) {
        multiply_bf16(node, ctx, true, part);
        return;
    }
    const size_t rows = part.rows;
    const float *dz = y->grad + part.line * y->ld;
    float *dx = x->grad + part.line * x->ld;
    const struct cdl_epilogue epilogue = {.activation = node->dx_activation,
                                          .gradient = true,
                                          .y = x->data + part.line * x->ld + part.column,
                                          .ldy = x->ld,
                                          .params = node->dx_row_param};
    const float *w = node->param[KERNEL]->w;
    if (x->width == 1) { /* one input: its weights are a single row of W */
        ctx->kernels->dot_rows(rows, y->width, dz, y->ld, true, w, 0.0f, dx);
    } else if (y->width > 1) {
        struct cdl_transposed product = {.w = node->param[KERNEL], .m = rows, .first = part.column};
        product.columns = part.columns, product.dz = (struct cdl_matrix){dz, y->ld};
        product.dx = (struct cdl_output){dx + part.column, x->ld}, product.epilogue = &epilogue;
        product.small_m = is_small_m(node, ctx), product.scratch = ctx->scratch;
        cdl_matmul_transposed(ctx, &product);
        return;
    } else {
        memset(ctx->scratch, 0, cdl_padded(x->width) * sizeof(float));
        memcpy(ctx->scratch, w, x->width * sizeof(float));
        ctx->kernels->outer(rows, x->width, dz, ctx->scratch, dx, x->ld);
    }
    cdl_finish(ctx->kernels, &epilogue, rows, x->width, 0, dx, x->ld, x->ld);
}

static void backward(CDL_PASS) {
    cdl_take_gradient(node, ctx, first, last);
    if (node->needs[0]) give(node, ctx, all_of(node->in[0], first, last));
}

/* ---- pieces: blocks of lines by panels of columns -------------------------------------------- */

struct grid {
    size_t lines, columns, blocks, panels;
    bool by_panels; /* a thread takes some panels of all lines, else some lines of all panels */
};

/* Grid of pieces in which all threads read the smaller factor. A single column, or input, is no
 * product of panels. */
static struct grid grid_of(const struct cdl_node *node, size_t rows, bool back) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0], *to = back ? x : y;
    struct grid grid = {.lines = rows * x->lines, .columns = cdl_padded(to->width), .panels = 1};
    grid.blocks = cdl_row_blocks(grid.lines);
    if (x->width > 1 && y->width > 1) grid.panels = (to->width + CDL_PANEL - 1) / CDL_PANEL;
    grid.by_panels = grid.lines < to->width;
    return grid;
}

static size_t pieces(const struct cdl_node *node, size_t rows, bool back) {
    if (back && !node->needs[0]) return 0;
    const struct grid grid = grid_of(node, rows, back);
    return grid.blocks * grid.panels;
}

static void run_pieces(CDL_PASS, bool back) {
    const struct grid grid = grid_of(node, ctx->rows, back);
    while (first < last) {
        const struct cdl_rectangle at =
            cdl_next_rectangle(&first, last, grid.by_panels ? grid.blocks : grid.panels);
        const size_t block = grid.by_panels ? at.inner : at.outer;
        const size_t block_end = grid.by_panels ? at.inner_end : at.outer_end;
        const size_t panel = grid.by_panels ? at.outer : at.inner;
        const size_t panel_end = grid.by_panels ? at.outer_end : at.inner_end;
        struct dense_part part = {.line = block * CDL_ROW_BLOCK, .column = panel * CDL_PANEL};
        const size_t line_end = block_end * CDL_ROW_BLOCK;
        part.rows = cdl_min(line_end, grid.lines) - part.line;
        part.columns = panel_end == grid.panels ? grid.columns - part.column
                                                : panel_end * CDL_PANEL - part.column;
        (back ? give : multiply)(node, ctx, part);
    }
}

static void update(CDL_UPDATE) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    struct cdl_gradient gradient;
    float *g = ctx->scratch;
    gradient.ctx = ctx, gradient.w = node->param[KERNEL];
    gradient.samples = rows.n * x->lines, gradient.most = rows.most * x->lines;
    gradient.x = cdl_lines(x, rows.first), gradient.dy = cdl_grad_lines(y, rows.first);
    gradient.bf16 = cdl_is_bf16(x), gradient.pairs = node->param[KERNEL]->pairs;
    cdl_gradient_begin(&gradient, g + CDL_THREAD_SCRATCH);
    const struct cdl_range own = cdl_own(ctx, cdl_blocks(node->param[KERNEL]));
    for (size_t i = own.first; i < own.last; i++) {
        if (cdl_stopped(ctx)) return;
        const struct cdl_block block = cdl_gradient_at(&gradient, i);
        const size_t of_group = (i - own.first) % CDL_GROUP;
        if (gradient.sums && of_group == 0)
            cdl_gradient_of_group(&gradient, i, cdl_min(i + CDL_GROUP, own.last));
        if (block.row == 0 && node->trained[BIAS]) {
            const struct cdl_block part = {.column = block.column, .rows = 1, .width = block.width};
            cdl_gradient_sums(&gradient, block, g);
            cdl_learn(node->trained[BIAS], ctx, to, part, g);
        }
        if (!node->trained[KERNEL]) continue;
        float *of_block = gradient.sums ? gradient.sums + of_group * CDL_THREAD_SCRATCH : g;
        if (!gradient.sums) cdl_gradient_of(&gradient, block, of_block);
        cdl_learn(node->trained[KERNEL], ctx, to, block, of_block);
    }
}

const struct cdl_op cdl_op_dense = {
    .role = CDL_DENSE,
    .table = {"activations", CDL_N_ACTIVATIONS},
    .check = check,
    .folds = CDL_FOLDS_COLUMNS,
    .flops = flops,
    .thread_floats = thread_floats,
    .forward = forward,
    .backward = backward,
    .update = update,
    .pieces = pieces,
    .run_pieces = run_pieces,
    .take_gradient = cdl_take_gradient,
    .any_samples = true,
    .reads_back = cdl_product_reads_back,
    .absorbs_gradient = true,
    .applies_gradient = cdl_always,
    .polls = true,
    .bf16 = CDL_BF16_PAIRS_OR_FLOATS,
    .parts = CDL_BY_LINES,
    .lanes = &cdl_lanes_dense,
};
