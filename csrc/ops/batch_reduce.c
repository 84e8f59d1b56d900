/* batch_reduce.c - one value of all samples of a batch, element by element: their sum, mean,
 * largest or smallest. The output is shared. Of equal largest or smallest ones each gets its part
 * of the gradient; a NaN among them is the largest and the smallest.
 */
#include "ops/op.h"
#include "products/blocks.h"

enum { KIND }; /* numbers: a row of kernels/reduce.h, but for prod */

static int kind_of(const struct cdl_node *node) { return (int)node->numbers[KIND]; }

static bool is_extreme(const struct cdl_node *node) {
    return kind_of(node) == CDL_REDUCTION_max || kind_of(node) == CDL_REDUCTION_min;
}

static const char *check(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    CDL_EXPECT(!x->shared && y->shared, "expected an input of each sample, and a shared output");
    CDL_EXPECT(kind_of(node) != CDL_REDUCTION_prod, "kind: expected any but prod");
    return cdl_check_alike(x, y);
}

/* Results of blocks; then counts of numbers equal to the extreme: by block, and in all. */
static size_t scratch_floats(const struct cdl_node *node, size_t rows) {
    return (2 * cdl_row_blocks(rows) + 1) * node->in[0]->row_floats;
}

static float *counts_of(const struct cdl_node *node, const struct cdl_context *ctx) {
    return node->scratch + cdl_joined_blocks(ctx).all * node->in[0]->row_floats;
}

static void gather(CDL_PASS) {
    if (ctx->ranks) cdl_gather_blocks(ctx, node->scratch, node->in[0]->row_floats);
}

static void extremes_of_blocks(const struct cdl_node *node, const struct cdl_context *ctx,
                               size_t first, size_t last, float *found) {
    const size_t n = node->in[0]->row_floats;
    const bool lowest = kind_of(node) == CDL_REDUCTION_min;
    for (size_t i = first; i < last; i++) {
        const float *from = cdl_rows(node->in[0], i);
        float *to = found + i / CDL_ROW_BLOCK * n;
        if (i % CDL_ROW_BLOCK == 0)
            memcpy(to, from, n * sizeof(float));
        else
            ctx->kernels->extremes(n, lowest, from, to);
    }
}

static void extremes_of_all(const struct cdl_node *node, const struct cdl_context *ctx,
                            size_t blocks, struct cdl_range part) {
    const size_t n = node->in[0]->row_floats, own = part.last - part.first;
    const bool lowest = kind_of(node) == CDL_REDUCTION_min;
    const float *from = node->scratch + part.first;
    float *to = node->out[0]->data + part.first;
    memcpy(to, from, own * sizeof(float));
    for (size_t b = 1; b < blocks; b++) ctx->kernels->extremes(own, lowest, from + b * n, to);
}

static void reduce_blocks(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0];
    float *own = node->scratch + cdl_joined_blocks(ctx).first * x->row_floats;
    if (is_extreme(node))
        extremes_of_blocks(node, ctx, first, last, own);
    else
        cdl_sum_blocks(ctx->kernels, first, last, x->row_floats, cdl_rows(x, first), own);
}

static void reduce_all(CDL_PASS) {
    const size_t n = node->in[0]->row_floats, blocks = cdl_joined_blocks(ctx).all;
    const double factor = kind_of(node) == CDL_REDUCTION_mean ? 1.0 / (double)ctx->joined : 1.0;
    if (is_extreme(node))
        extremes_of_all(node, ctx, blocks, cdl_own_blocks(ctx, CDL_LINE, n));
    else
        cdl_add_blocks(ctx->kernels, blocks, n, cdl_own_blocks(ctx, CDL_LINE, n), node->scratch,
                       factor, node->out[0]->data);
}

/* How many of each block are the extreme. */
static void count_blocks(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const size_t n = x->row_floats, before = cdl_joined_blocks(ctx).first;
    if (!is_extreme(node)) return;
    for (size_t i = first; i < last; i++) {
        const float *from = cdl_rows(x, i);
        float *count = counts_of(node, ctx) + (before + i / CDL_ROW_BLOCK) * n;
        for (size_t j = 0; j < n; j++)
            count[j] =
                (i % CDL_ROW_BLOCK ? count[j] : 0.0f) + (from[j] == y->data[j] ? 1.0f : 0.0f);
    }
}

static void apply(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const size_t n = x->row_floats, padded = cdl_padded(x->width);
    const float *count = counts_of(node, ctx) + cdl_joined_blocks(ctx).all * n;
    const float factor = kind_of(node) == CDL_REDUCTION_mean ? 1.0f / (float)ctx->joined : 1.0f;
    for (size_t line = first * x->lines; line < last * x->lines; line++) {
        const size_t at = line % x->lines * x->ld;
        const float *from = x->data + line * x->ld;
        float *dx = x->grad + line * x->ld;
        if (!is_extreme(node) && factor == 1.0f) {
            memcpy(dx, y->grad + at, padded * sizeof(float));
            continue;
        }
        for (size_t j = 0; j < padded; j++) {
            const float dy = y->grad[at + j];
            if (!is_extreme(node))
                dx[j] = dy * factor;
            else
                dx[j] = j < x->width && from[j] == y->data[at + j] ? dy / count[at + j] : 0.0f;
        }
    }
}

/* Each process has a part of the readers. */
static void join(CDL_PASS) {
    const size_t n = node->in[0]->row_floats;
    if (ctx->ranks && is_extreme(node)) cdl_gather_blocks(ctx, counts_of(node, ctx), n);
    if (ctx->ranks) cdl_join(ctx, node->out[0]->grad, n);
}

static void add_counts(CDL_PASS) {
    const size_t n = node->in[0]->row_floats, blocks = cdl_joined_blocks(ctx).all;
    float *counts = counts_of(node, ctx);
    if (is_extreme(node))
        cdl_add_blocks(ctx->kernels, blocks, n, cdl_own_blocks(ctx, CDL_LINE, n), counts, 1.0,
                       counts + blocks * n);
}

const struct cdl_op cdl_op_batch_reduce = {
    .table = {"reductions", CDL_N_REDUCTIONS},
    .check = check,
    .scratch_floats = scratch_floats,
    .forward = {{reduce_blocks}, {gather, CDL_ONCE}, {reduce_all, CDL_THREADS}},
    .backward = {{count_blocks}, {join, CDL_ONCE}, {add_counts, CDL_THREADS}, {apply}},
    .mixes = true,
};
