/* log_softmax.c - y = x - log sum exp x over the last axis; dx = dy - exp(y) sum dy. */
#include <math.h>

#include "ops/op.h"

static cdl_status check(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    return x->lines == y->lines && x->width == y->width ? CDL_OK : CDL_ERR_PROGRAM;
}

static void forward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                    size_t last) {
    (void)ctx;
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    for (size_t line = first * x->lines; line < last * x->lines; line++) {
        const float *from = x->data + line * x->ld;
        float *to = y->data + line * y->ld;
        float top = from[0];
        for (size_t j = 1; j < x->width; j++) top = from[j] > top ? from[j] : top;
        double sum = 0.0;
        for (size_t j = 0; j < x->width; j++) sum += (double)expf(from[j] - top);
        const float shift = logf((float)sum);
        for (size_t j = 0; j < x->width; j++) to[j] = (from[j] - top) - shift;
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
        float sum = 0.0f;
        for (size_t j = 0; j < x->width; j++) sum += dy[j];
        for (size_t j = 0; j < x->width; j++) dx[j] = dy[j] - expf(value[j]) * sum;
        for (size_t j = x->width; j < cdl_padded(x->width); j++) dx[j] = 0.0f;
    }
}

const struct cdl_op cdl_op_log_softmax = {
    .name = "log_softmax",
    .attributes = "",
    .params = "",
    .check = check,
    .forward = forward,
    .backward = backward,
};
