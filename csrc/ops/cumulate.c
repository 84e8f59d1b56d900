/* cumulate.c - along one axis of a sample, the sum or product of all numbers up to each one.
 *
 * The numbers are the axis. Backward of a product: with s_j = dy_j + x_(j+1) s_(j+1), dx_j =
 * y_(j-1) s_j; no quotient, so that zeros have their gradients.
 */
#include "ops/lines.h"

enum { PRODUCT = CDL_AXIS }; /* numbers */

static const char *check(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0];
    CDL_CHECK(cdl_check_alike(x, node->out[0]));
    CDL_CHECK(cdl_check_axis(node));
    const struct cdl_axis axis = cdl_axis_of(node);
    CDL_EXPECT(axis.inner % x->width == 0 || (axis.inner == 1 && axis.n == x->width),
               "inner: expected whole lines, or 1 with n the columns of x");
    return NULL;
}

/* `count` runs of n steps of `floats`, a run's beginnings `apart`: lines, or along each line. */
struct way {
    size_t count, n, floats, apart;
};
static struct way way_of(const struct cdl_node *node, size_t rows) {
    const struct cdl_tensor *x = node->in[0];
    const struct cdl_axis axis = cdl_axis_of(node);
    if (axis.inner % x->width) return (struct way){rows * x->lines, axis.n, 1, x->ld};
    const size_t floats = axis.inner / x->width * x->ld;
    return (struct way){rows * axis.outer, axis.n, floats, axis.n * floats};
}

static void forward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const struct way way = way_of(node, last - first);
    const bool product = node->numbers[PRODUCT] != 0;
    for (size_t i = 0; i < way.count; i++)
        ctx->kernels->running(product, way.n, way.floats, cdl_rows(x, first) + i * way.apart,
                              cdl_rows(y, first) + i * way.apart);
    cdl_clear_pads(y, cdl_rows(y, first), (last - first) * y->lines);
}

static void backward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const struct way way = way_of(node, last - first);
    const bool product = node->numbers[PRODUCT] != 0;
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
