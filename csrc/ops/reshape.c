/* reshape.c - the same numbers in other lines: Flatten, Reshape. */
#include "ops/op.h"

#include <string.h>

static cdl_status check(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    return x->lines * x->width == y->lines * y->width ? CDL_OK : CDL_ERR_PROGRAM;
}

/* Copies one sample between two ways to cut it into lines; pads of `to` become 0. */
static void copy_sample(const struct cdl_tensor *x, const float *from, const struct cdl_tensor *y,
                        float *to) {
    size_t line = 0, column = 0;
    for (size_t l = 0; l < y->lines; l++, to += y->ld) {
        for (size_t done = 0; done < y->width;) {
            const size_t left = x->width - column;
            const size_t n = left < y->width - done ? left : y->width - done;
            memcpy(to + done, from + line * x->ld + column, n * sizeof(float));
            done += n;
            column += n;
            if (column == x->width) line++, column = 0;
        }
        for (size_t j = y->width; j < cdl_padded(y->width); j++) to[j] = 0.0f;
    }
}

static void forward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                    size_t last) {
    (void)ctx;
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    for (size_t i = first; i < last; i++) copy_sample(x, cdl_rows(x, i), y, cdl_rows(y, i));
}

static void backward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                     size_t last) {
    (void)ctx;
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    if (!node->needs[0]) return;
    for (size_t i = first; i < last; i++)
        copy_sample(y, cdl_grad_rows(y, i), x, cdl_grad_rows(x, i));
}

const struct cdl_op cdl_op_reshape = {
    .name = "reshape",
    .attributes = "",
    .params = "",
    .check = check,
    .forward = forward,
    .backward = backward,
};
