/* take_along.c - y[o, j, i] = x[o, index[o, j, i], i]: the element of x
 * along one axis that the samples' numbers choose for each place of y.
 *
 * The numbers are the axis, of n elements in x; index and y are outer x m x inner. Negative numbers
 * count from the end; one that is none is a fault, and gives 0. Backward adds up: an element may be
 * taken several times.
 */
#include "ops/lines.h"

static size_t elements(const struct cdl_tensor *value) { return value->lines * value->width; }

static const char *check(const struct cdl_node *node) {
    const struct cdl_tensor *index = node->in[1], *y = node->out[0];
    CDL_CHECK(cdl_check_axis(node));
    const struct cdl_axis axis = cdl_axis_of(node);
    CDL_EXPECT(cdl_same_shape(index, y), "index: expected the shape of the output");
    CDL_EXPECT(axis.n <= CDL_EXACT, "n: expected at most 2^24");
    CDL_EXPECT(elements(y) % (axis.outer * axis.inner) == 0,
               "output: expected a multiple of outer times inner elements");
    return NULL;
}

static size_t offset(const struct cdl_tensor *value, size_t e) {
    return value->width == 1 ? e : e / value->width * value->ld + e % value->width;
}

/* For element e of sample i of y, the one of x that it is; or SIZE_MAX. */
static size_t taken(const struct cdl_node *node, const struct cdl_context *ctx, size_t i,
                    size_t e) {
    const struct cdl_tensor *index = node->in[1];
    const struct cdl_axis axis = cdl_axis_of(node);
    const size_t n = axis.n, inner = axis.inner, m = elements(node->out[0]) / (axis.outer * inner);
    const float *at = index->data + i * index->row_floats + offset(index, e);
    const float number = cdl_is_int(index) ? (float)*(const int32_t *)(const void *)at : *at;
    const float wrapped = number < 0.0f ? number + (float)n : number;
    if (!(wrapped >= 0.0f && wrapped < (float)n)) {
        cdl_fault_note(node->fault, ctx->start + i, number, n);
        return SIZE_MAX;
    }
    return (e / (m * inner) * n + (size_t)wrapped) * inner + e % inner;
}

static void forward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    for (size_t i = first; i < last; i++) {
        for (size_t e = 0; e < elements(y); e++) {
            const size_t from = taken(node, ctx, i, e);
            cdl_rows(y, i)[offset(y, e)] =
                from == SIZE_MAX ? 0.0f : cdl_rows(x, i)[offset(x, from)];
        }
        cdl_clear_pads(y, cdl_rows(y, i), y->lines);
    }
}

static void backward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    for (size_t i = first; i < last; i++) {
        float *dx = cdl_grad_rows(x, i);
        memset(dx, 0, x->lines * x->ld * sizeof(float));
        for (size_t e = 0; e < elements(y); e++) {
            const size_t from = taken(node, ctx, i, e);
            if (from != SIZE_MAX) dx[offset(x, from)] += cdl_grad_rows(y, i)[offset(y, e)];
        }
    }
}

const struct cdl_op cdl_op_take_along = {
    .check = check,
    .forward = forward,
    .backward = backward,
    .may_fault = true,
};
