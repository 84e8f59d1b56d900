/* cast.c - y = x, rounded to a dtype: to nearest even, beyond float16 to infinity. y is of that
 * dtype, or floats that it rounded.
 *
 * The gradient by y has that dtype, and is converted to the dtype of x.
 */
#include "ops/op.h"
#include "products/matmul.h"

enum { DTYPE }; /* numbers */

static enum cdl_dtype dtype_of(const struct cdl_node *node) {
    return (enum cdl_dtype)node->numbers[DTYPE];
}

static const char *check(const struct cdl_node *node) {
    const enum cdl_dtype to = node->out[0]->dtype;
    CDL_EXPECT(to == dtype_of(node) || (to == CDL_DTYPE_float32 && cdl_rounds_to(dtype_of(node))),
               "dtype: expected that of the output, or float32 for what is kept in floats");
    CDL_EXPECT(!cdl_is_bf16(node->in[0]) || node->out[0]->dtype == CDL_DTYPE_float32,
               "output: expected float32 of bfloat16");
    return cdl_check_same(node);
}

/* Numbers of `from`, at `x`, as those of `to`, of which one is of bfloat16. */
static void convert(const struct cdl_kernels *kernels, const struct cdl_tensor *from, float *x,
                    const struct cdl_tensor *to, float *y, size_t lines) {
    if (cdl_is_bf16(from))
        kernels->bf16_to_floats(lines, from->width, cdl_bf16(x), from->ld, y, to->ld);
    else
        kernels->bf16_from_floats(lines, from->width, x, from->ld, cdl_bf16(y), to->ld);
}

static void forward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    if (cdl_is_bf16(x) || cdl_is_bf16(y)) {
        convert(ctx->kernels, x, cdl_rows(x, first), y, cdl_rows(y, first),
                (last - first) * x->lines);
        return;
    }
    ctx->kernels->round_numbers(dtype_of(node), (last - first) * x->lines * x->ld,
                                cdl_rows(x, first), cdl_rows(y, first));
}

static void backward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const size_t n = (last - first) * x->lines * x->ld;
    float *dx = cdl_grad_rows(x, first);
    if (cdl_is_bf16(x) || cdl_is_bf16(y)) {
        convert(ctx->kernels, y, cdl_grad_rows(y, first), x, dx, (last - first) * x->lines);
        if (x->dtype == CDL_DTYPE_float16) ctx->kernels->round_numbers(x->dtype, n, dx, dx);
        return;
    }
    enum { BLOCK = 4096 }; /* floats, about, which are in L1 for what follows */
    const float *dy = cdl_grad_rows(y, first);
    const int f = node->dx_activation;
    const size_t step = cdl_max(BLOCK / x->ld, 1) * x->ld;
    for (size_t at = 0, some; at < n; at += some) {
        some = cdl_min(n - at, step);
        ctx->kernels->round_numbers(dtype_of(node), some, dy + at, dx + at);
        if (cdl_rounds_to(x->dtype)) ctx->kernels->round_numbers(x->dtype, some, dx + at, dx + at);
        const struct cdl_matrix values = {cdl_rows(x, first) + at, x->ld};
        if (f != CDL_ACTIVATION_linear)
            ctx->kernels->activation_gradient[f](
                some / x->ld, x->width, values, values, (struct cdl_matrix){dx + at, x->ld},
                (struct cdl_output){dx + at, x->ld}, node->dx_row_param);
    }
}

static bool is_of_floats(const struct cdl_node *node) {
    return !cdl_is_bf16(node->in[0]) && !cdl_is_bf16(node->out[0]);
}

bool cdl_casts_in_place(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    if (node->op != &cdl_op_cast || !is_of_floats(node) || x->shared || !x->producer) return false;
    const struct cdl_op *op = x->producer->op;
    const bool unread =
        op->absorbs_gradient || (op->reads_back && !op->reads_back(x->producer, CDL_OUTPUT));
    return unread && x->users == 1 && x->owner == x && !x->external_grad && !y->external_grad;
}

/* A block at a time as floats. */
static void apply_to_bf16(const struct cdl_tensor *y, int activation, const float *params,
                          const struct cdl_context *ctx, size_t first, size_t last) {
    const struct cdl_kernels *kernels = ctx->kernels;
    enum { ROWS = 64 };
    const struct cdl_epilogue epilogue = {
        .activation = activation, .gradient = true, .params = params};
    for (size_t line = first * y->lines; line < last * y->lines; line += ROWS) {
        const size_t rows = cdl_min(last * y->lines - line, ROWS);
        for (size_t column = 0; column < y->width; column += CDL_BF16_LINE) {
            _Alignas(64) float values[ROWS * CDL_BF16_LINE], dz[ROWS * CDL_BF16_LINE];
            const size_t at = line * y->ld + column, ld = CDL_BF16_LINE;
            struct cdl_epilogue here = epilogue;
            here.y = values;
            kernels->bf16_to_floats(rows, ld, cdl_bf16(y->data) + at, y->ld, values, ld);
            kernels->bf16_to_floats(rows, ld, cdl_bf16(y->grad) + at, y->ld, dz, ld);
            cdl_finish(kernels, &here, rows, ld, 0, dz, ld, ld);
            kernels->bf16_from_floats(rows, cdl_min(ld, y->width - column), dz, ld,
                                      cdl_bf16(y->grad) + at, y->ld);
        }
    }
}

void cdl_apply_gradient(const struct cdl_tensor *y, int activation, const float *params,
                        const struct cdl_context *ctx, size_t first, size_t last) {
    if (cdl_is_bf16(y)) {
        apply_to_bf16(y, activation, params, ctx, first, last);
        return;
    }
    const struct cdl_matrix values = cdl_lines(y, first);
    ctx->kernels->activation_gradient[activation]((last - first) * y->lines, y->width, values,
                                                  values, cdl_grad_lines(y, first),
                                                  cdl_grad_lines_to(y, first), params);
}

const struct cdl_op cdl_op_cast = {
    .table = {"dtypes", CDL_N_DTYPES},
    .check = check,
    .forward = forward,
    .backward = backward,
    .any_samples = true,
    .applies_gradient = is_of_floats,
    .bf16 = CDL_BF16_READ,
    .parts = CDL_BY_MICRO_BATCHES,
};
