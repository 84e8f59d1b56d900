/* cast.c - y = x, rounded to the dtype of y: to nearest even, beyond float16 to infinity.
 *
 * The gradient is a number of the dtype of y, and becomes one of that of x.
 */
#include "ops/op.h"

enum { DTYPE }; /* numbers */

static const char *check(const struct cdl_node *node) {
    CDL_EXPECT(node->numbers[DTYPE] == (int64_t)node->out[0]->dtype,
               "dtype: expected that of the output");
    return cdl_check_same(node);
}

static void forward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                    size_t last) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    ctx->kernels->round_numbers(y->dtype, (last - first) * x->lines * x->ld, cdl_rows(x, first),
                                cdl_rows(y, first));
}

static void backward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                     size_t last) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const size_t n = (last - first) * x->lines * x->ld;
    float *dx = cdl_grad_rows(x, first);
    if (!node->needs[0]) return;
    ctx->kernels->round_numbers(y->dtype, n, cdl_grad_rows(y, first), dx);
    if (cdl_rounds_to(x->dtype)) ctx->kernels->round_numbers(x->dtype, n, dx, dx);
}

const struct cdl_op cdl_op_cast = {
    .table = "dtypes",
    .table_rows = CDL_N_DTYPES,
    .check = check,
    .forward = forward,
    .backward = backward,
    .splits = true,
    .any_samples = true,
};
