/* glu.c - y = a sigmoid(b), a and b the halves of the last axis (Dauphin et al., 2017). */
#include <math.h>

#include "ops/op.h"

static cdl_status check(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    return x->lines == y->lines && x->width == 2 * y->width ? CDL_OK : CDL_ERR_PROGRAM;
}

static float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

static void forward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                    size_t last) {
    (void)ctx;
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const size_t n = y->width;
    for (size_t line = first * y->lines; line < last * y->lines; line++) {
        const float *a = x->data + line * x->ld;
        float *to = y->data + line * y->ld;
        for (size_t j = 0; j < n; j++) to[j] = a[j] * sigmoid(a[n + j]);
    }
}

static void backward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                     size_t last) {
    (void)ctx;
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const size_t n = y->width;
    for (size_t line = first * y->lines; line < last * y->lines && node->needs_dx; line++) {
        const float *a = x->data + line * x->ld;
        const float *dy = y->grad + line * y->ld;
        float *dx = x->grad + line * x->ld;
        for (size_t j = 0; j < n; j++) {
            const float s = sigmoid(a[n + j]);
            dx[j] = dy[j] * s;
            dx[n + j] = dy[j] * a[j] * s * (1.0f - s);
        }
        for (size_t j = 2 * n; j < cdl_padded(2 * n); j++) dx[j] = 0.0f;
    }
}

const struct cdl_op cdl_op_glu = {
    .name = "glu",
    .attributes = "",
    .params = "",
    .check = check,
    .forward = forward,
    .backward = backward,
};
