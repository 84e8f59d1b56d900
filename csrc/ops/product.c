/* product.c - y = a b (+ bias) over the last two axes, of values; either may be transposed.
 *
 * Leading axes are a batch of matrices: as many in a, b and y, or one. A side may be shared by all
 * samples: its gradient is the sum over blocks of them, which no two threads share, and then over
 * the blocks in order. A value of one axis is one row. A bias is a row that all samples and lines
 * share, beside a b that they share too.
 */
#include "ops/lines.h"
#include "ops/shared.h"
#include "products/matmul_values.h"

enum { TRANSPOSE_A, TRANSPOSE_B };  /* numbers */
enum { A, B, SIDES, BIAS = SIDES }; /* inputs */

struct product_shape {
    size_t m, k, n;
    size_t matrices;    /* in a sample of y */
    size_t step[SIDES]; /* floats from one matrix of a sample to the next, or 0 */
    size_t step_y;
    size_t together; /* samples of a product, for gradients */
};

static size_t height_of(const struct cdl_tensor *value) {
    return value->n_dims > 1 ? value->dims[value->n_dims - 2] : 1;
}

static bool is_transposed(const struct cdl_node *node, int side) {
    return node->numbers[side] != 0;
}

static struct product_shape shape_of(const struct cdl_node *node) {
    const struct cdl_tensor *a = node->in[A], *b = node->in[B], *y = node->out[0];
    struct product_shape shape = {.m = height_of(y), .n = y->width};
    shape.k = is_transposed(node, A) ? height_of(a) : a->width;
    shape.matrices = y->lines / shape.m;
    for (int s = 0; s < SIDES; s++) {
        const struct cdl_tensor *x = node->in[s];
        if (x->lines > height_of(x)) shape.step[s] = height_of(x) * x->ld;
    }
    shape.step_y = shape.m * y->ld;
    /* One b for all matrices of a, which lie one below the other. */
    if (!is_transposed(node, A) && a->lines == y->lines && b->lines == height_of(b))
        shape.m = y->lines, shape.matrices = 1;
    return shape;
}

static const char *check(const struct cdl_node *node) {
    const struct cdl_tensor *a = node->in[A], *b = node->in[B], *y = node->out[0];
    const bool ta = is_transposed(node, A), tb = is_transposed(node, B);
    const size_t m = ta ? a->width : height_of(a), k = ta ? height_of(a) : a->width;
    const size_t n = tb ? height_of(b) : b->width, k_b = tb ? b->width : height_of(b);
    CDL_EXPECT(!cdl_is_int(a) && !cdl_is_int(b), "a, b: expected floats");
    CDL_EXPECT(k == k_b, "b: expected as many rows as a has columns");
    CDL_EXPECT(m == height_of(y) && n == y->width,
               "output: expected the rows of a, the columns of b");
    for (int s = 0; s < SIDES; s++) {
        const size_t matrices = node->in[s]->lines / height_of(node->in[s]);
        CDL_EXPECT(matrices == 1 || matrices == y->lines / m,
                   "a, b: expected as many matrices as the output, or one");
    }
    CDL_EXPECT(!y->shared || (a->shared && b->shared), "output: expected it shared if a and b are");
    if (node->n_in <= BIAS) return NULL;
    const struct cdl_tensor *bias = node->in[BIAS];
    CDL_EXPECT(!cdl_is_int(bias) && bias->shared && bias->lines == 1 && bias->width == n && n > 1,
               "bias: expected a shared row of as many columns as b has, above 1");
    CDL_EXPECT(!a->shared && b->shared && b->lines == height_of(b) && !ta && !tb,
               "bias: expected it with one b for all samples");
    return NULL;
}

static double flops(const struct cdl_node *node) {
    const struct product_shape s = shape_of(node);
    return 2.0 * (double)s.matrices * (double)s.m * (double)s.k * (double)s.n;
}

/* Do tiles pay? Both factors are packed anew in each product, and short lines are filled up with
 * zeros: with fewer numbers of b floats take less time, and so they do for a row of each matrix. */
static bool is_by_tiles(const struct cdl_node *node, const struct product_shape *s) {
    enum { LEAST = 32, LEAST_PRODUCT = 4096 };
    const bool pays = cdl_min(s->k, s->n) >= LEAST && s->k * s->n >= LEAST_PRODUCT &&
                      (s->m > 1 || s->matrices == 1);
    return node->arithmetic == CDL_BY_TILES && pays;
}

/* True if the j-th matrices of all samples form one product with a b that they share: they lie one
 * below the other, or are rows at a distance. A single column, and tiles, sum samples in another
 * order than one after the other, so they form one product in all cases or in none. */
static bool is_stacked(const struct cdl_node *node, const struct product_shape *s) {
    const bool rows = s->m == 1 && s->n > 1 && s->k > 1 && !is_by_tiles(node, s);
    return (s->matrices == 1 || rows) && !is_transposed(node, A) && node->in[B]->shared &&
           !node->in[A]->shared;
}

static size_t stacked_ld(const struct product_shape *s, const struct cdl_tensor *x) {
    return s->matrices > 1 ? x->lines * x->ld : x->ld;
}

static struct cdl_side side_of(const struct cdl_node *node, int side, size_t i,
                               const struct product_shape *s, size_t j) {
    const struct cdl_tensor *x = node->in[side];
    return (struct cdl_side){cdl_rows(x, i) + j * s->step[side], x->ld, is_transposed(node, side),
                             is_by_tiles(node, s)};
}

static struct cdl_side transposed(struct cdl_side side) {
    side.transposed = !side.transposed;
    return side;
}

static void forward(CDL_PASS) {
    const struct cdl_tensor *y = node->out[0];
    struct product_shape s = shape_of(node);
    const bool stacked = is_stacked(node, &s);
    const size_t together = stacked ? last - first : 1; /* samples */
    for (size_t i = first; i < last; i += together) {
        for (size_t j = 0; j < s.matrices; j++) {
            const struct cdl_side a = side_of(node, A, i, &s, j), b = side_of(node, B, i, &s, j);
            struct cdl_values product = {.m = s.m * together, .k = s.k, .n = s.n, .a = a, .b = b};
            product.init = (struct cdl_matrix){node->n_in > BIAS ? node->in[BIAS]->data : NULL, 0};
            product.c = (struct cdl_output){cdl_rows(y, i) + j * s.step_y, y->ld};
            if (stacked) {
                product.a.ld = stacked_ld(&s, node->in[A]);
                product.c.ld = stacked_ld(&s, y);
            }
            cdl_matmul_values(ctx->kernels, &product);
        }
    }
}

/* The gradient by a side of samples from i on, a stacked product if several; j-th matrix.
 * In the formulas for y = A B: dA = dy B^T and dB = A^T dy, and where a side is the transpose of
 * what lies there, the transposes of these. */
static void gradient(const struct cdl_node *node, const struct cdl_context *ctx,
                     const struct product_shape *s, int side, size_t i, size_t j, float *to,
                     bool add) {
    const struct cdl_tensor *y = node->out[0];
    const bool stacked = is_stacked(node, s);
    const size_t m = s->m * s->together;
    const size_t ld = stacked && side == A ? stacked_ld(s, node->in[A]) : node->in[side]->ld;
    const struct cdl_output c = {to, ld};
    const struct cdl_matrix init = {add ? to : NULL, ld};
    const struct cdl_side b = side_of(node, B, i, s, j);
    struct cdl_side a = side_of(node, A, i, s, j),
                    dy = {cdl_grad_rows(y, i) + j * s->step_y, y->ld, false, is_by_tiles(node, s)};
    if (stacked) a.ld = stacked_ld(s, node->in[A]), dy.ld = stacked_ld(s, y);
    struct cdl_values product;
    if (side == A && !a.transposed)
        product = (struct cdl_values){m, s->n, s->k, dy, transposed(b), init, c};
    else if (side == A)
        product = (struct cdl_values){s->k, s->n, m, b, transposed(dy), init, c};
    else if (!b.transposed)
        product = (struct cdl_values){s->k, m, s->n, transposed(a), dy, init, c};
    else
        product = (struct cdl_values){s->n, m, s->k, transposed(dy), a, init, c};
    cdl_matmul_values(ctx->kernels, &product);
}

/* A side that each sample has its own of. */
static void own_gradients(const struct cdl_node *node, const struct cdl_context *ctx, int side,
                          size_t first, size_t last) {
    const struct cdl_tensor *x = node->in[side];
    struct product_shape s = shape_of(node);
    s.together = side == A && is_stacked(node, &s) ? last - first : 1;
    for (size_t i = first; i < last; i += s.together) {
        for (size_t j = 0; j < s.matrices; j++)
            gradient(node, ctx, &s, side, i, j, cdl_grad_rows(x, i) + j * s.step[side],
                     j > 0 && s.step[side] == 0);
    }
    cdl_clear_pads(x, cdl_grad_rows(x, first), (last - first) * x->lines);
}

/* A side that all samples share: the sums of the blocks of [first, last), and of all iterations of
 * a loop, the last of which comes first. */
static void sum_blocks(const struct cdl_node *node, const struct cdl_context *ctx, int side,
                       size_t first, size_t last) {
    const struct cdl_tensor *x = node->in[side];
    struct product_shape s = shape_of(node);
    const bool stacked = side == B && is_stacked(node, &s);
    const bool adds = ctx->iteration + 1 < ctx->iterations;
    CDL_EACH_BLOCK(b, first, last) {
        s.together = stacked ? b.rows : 1;
        float *sum = cdl_shared_sums(node, ctx, side, b.number);
        if (side == BIAS) {
            const struct cdl_tensor *y = node->out[0];
            float *to = adds ? ctx->scratch : sum;
            ctx->kernels->column_sums(b.rows * y->lines, cdl_padded(y->width),
                                      cdl_grad_rows(y, b.first), y->ld, to);
            if (adds) ctx->kernels->add(cdl_padded(y->width), to, sum);
            continue;
        }
        for (size_t i = b.first; i < b.last; i += s.together) {
            for (size_t j = 0; j < s.matrices; j++)
                gradient(node, ctx, &s, side, i, j, sum + j * s.step[side],
                         adds || i > b.first || (j > 0 && s.step[side] == 0));
        }
        cdl_clear_pads(x, sum, x->lines);
    }
}

static void backward(CDL_PASS) {
    for (int side = 0; side < node->n_in; side++)
        if (node->needs[side])
            (cdl_shared_floats(node, side) ? sum_blocks : own_gradients)(node, ctx, side, first,
                                                                         last);
}

static bool reads_back(const struct cdl_node *node, int k) { return k != CDL_OUTPUT; }

const struct cdl_op cdl_op_product = {
    .role = CDL_PRODUCT,
    .check = check,
    .scratch_floats = cdl_shared_scratch,
    .flops = flops,
    .forward = forward,
    .backward = {{backward}, {cdl_add_shared, CDL_THREADS}},
    .reads_back = reads_back,
    .all_inputs = true,
    .mixes = true,
};
