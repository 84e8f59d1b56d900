/* sparsemax.c - the projection of x onto the simplex, over the last axis (Martins and Astudillo,
 * 2016): y = max(x - tau, 0) with tau such that y sums to 1.
 *
 * With S the support, dx = dy - mean of dy over S on S, and 0 elsewhere.
 */
#include "ops/op.h"

static cdl_status check(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    return x->lines == y->lines && x->width == y->width ? CDL_OK : CDL_ERR_PROGRAM;
}

/* Newton's iteration on the convex function sum max(x - tau, 0) - 1, from below: it meets the
 * root after at most as many steps as there are classes. */
static float threshold_of(size_t n, const float *x) {
    float top = x[0];
    for (size_t j = 1; j < n; j++) top = x[j] > top ? x[j] : top;
    float tau = top - 1.0f;
    for (size_t step = 0; step <= n; step++) {
        float sum = 0.0f;
        size_t support = 0;
        for (size_t j = 0; j < n; j++) {
            if (x[j] > tau) sum += x[j] - top, support++;
        }
        if (support == 0) break;
        const float next = top + (sum - 1.0f) / (float)support;
        if (!(next > tau)) break;
        tau = next;
    }
    return tau;
}

static void forward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                    size_t last) {
    (void)ctx;
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    for (size_t line = first * x->lines; line < last * x->lines; line++) {
        const float *from = x->data + line * x->ld;
        float *to = y->data + line * y->ld;
        const float tau = threshold_of(x->width, from);
        for (size_t j = 0; j < x->width; j++) to[j] = from[j] <= tau ? 0.0f : from[j] - tau;
    }
}

static void backward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                     size_t last) {
    (void)ctx;
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    for (size_t line = first * x->lines; line < last * x->lines && node->needs_dx; line++) {
        const float *value = y->data + line * y->ld;
        const float *dy = y->grad + line * y->ld;
        float *dx = x->grad + line * x->ld;
        float sum = 0.0f, support = 0.0f;
        for (size_t j = 0; j < x->width; j++) {
            if (value[j] > 0.0f) sum += dy[j], support += 1.0f;
        }
        for (size_t j = 0; j < x->width; j++)
            dx[j] = value[j] > 0.0f ? dy[j] - sum / support : 0.0f;
        for (size_t j = x->width; j < cdl_padded(x->width); j++) dx[j] = 0.0f;
    }
}

const struct cdl_op cdl_op_sparsemax = {
    .name = "sparsemax",
    .attributes = "",
    .params = "",
    .check = check,
    .forward = forward,
    .backward = backward,
};
