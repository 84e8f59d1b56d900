/* cumulate.c - along one axis of a sample, the sum or product of all numbers up to each one.
 *
 * The numbers are outer, n, inner: x and y are, in row-major order, outer x n x inner. Backward of
 * a product: with s_j = dy_j + x_(j+1) s_(j+1), dx_j = y_(j-1) s_j; no quotient, so that zeros have
 * their gradients.
 */
#include "ops/lines.h"

enum { PRODUCT };                  /* attributes */
enum { OUTER, N, INNER, NUMBERS }; /* numbers */

static const char *check(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const double *n = node->numbers;
    CDL_CHECK(cdl_check_alike(x, y));
    CDL_EXPECT(node->n_numbers == NUMBERS, "numbers: expected outer, n, inner");
    CDL_EXPECT(n[OUTER] >= 1.0 && n[N] >= 1.0 && n[INNER] >= 1.0,
               "outer, n, inner: expected at least 1");
    CDL_EXPECT(n[OUTER] * n[N] * n[INNER] == (double)x->lines * (double)x->width,
               "outer, n, inner: expected the elements of x as their product");
    const size_t inner = (size_t)n[INNER];
    CDL_EXPECT(inner % x->width == 0 || (inner == 1 && n[N] == (double)x->width),
               "inner: expected whole lines, or 1 with n the columns of x");
    return NULL;
}

/* `count` runs of n steps of `floats`, a run's beginnings `apart`: lines, or along each line. */
struct way {
    size_t count, n, floats, apart;
};
static struct way way_of(const struct cdl_node *node, size_t rows) {
    const struct cdl_tensor *x = node->in[0];
    const size_t n = (size_t)node->numbers[N], inner = (size_t)node->numbers[INNER];
    if (inner % x->width) return (struct way){rows * x->lines, n, 1, x->ld};
    const size_t floats = inner / x->width * x->ld;
    return (struct way){rows * (size_t)node->numbers[OUTER], n, floats, n * floats};
}

static void forward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                    size_t last) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const struct way way = way_of(node, last - first);
    const bool product = node->attribute[PRODUCT] != 0.0f;
    for (size_t i = 0; i < way.count; i++)
        ctx->kernels->running(product, way.n, way.floats, cdl_rows(x, first) + i * way.apart,
                              cdl_rows(y, first) + i * way.apart);
    cdl_clear_pads(y, cdl_rows(y, first), (last - first) * y->lines);
}

static void backward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                     size_t last) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    if (!node->needs[0]) return;
    const struct way way = way_of(node, last - first);
    const bool product = node->attribute[PRODUCT] != 0.0f;
    for (size_t i = 0; i < way.count; i++)
        ctx->kernels->running_backward(
            product, way.n, way.floats, cdl_rows(x, first) + i * way.apart,
            cdl_rows(y, first) + i * way.apart, cdl_grad_rows(y, first) + i * way.apart,
            cdl_grad_rows(x, first) + i * way.apart);
    cdl_clear_pads(x, cdl_grad_rows(x, first), (last - first) * x->lines);
}

const struct cdl_op cdl_op_cumulate = {
    .check = check,
    .forward = forward,
    .backward = backward,
};
