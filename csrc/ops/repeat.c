/* repeat.c - each sample's one line, several times: RepeatVector. Backward adds the lines up. */
#include "ops/op.h"

#include <string.h>

static const char *check(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    CDL_EXPECT(!cdl_is_int(x) && x->lines == 1, "x: expected one line of floats");
    CDL_EXPECT(x->width == y->width, "output: expected lines as wide as x");
    return NULL;
}

static void forward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                    size_t last) {
    (void)ctx;
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    float *to = cdl_rows(y, first);
    for (size_t i = first; i < last; i++) {
        for (size_t l = 0; l < y->lines; l++, to += y->ld)
            memcpy(to, cdl_rows(x, i), x->ld * sizeof(float));
    }
}

static void backward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                     size_t last) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    if (!node->needs[0]) return;
    for (size_t i = first; i < last; i++) {
        const float *dy = cdl_grad_rows(y, i);
        memcpy(cdl_grad_rows(x, i), dy, x->ld * sizeof(float));
        for (size_t l = 1; l < y->lines; l++)
            ctx->kernels->add(x->ld, dy + l * y->ld, cdl_grad_rows(x, i));
    }
}

const struct cdl_op cdl_op_repeat = {
    .check = check,
    .forward = forward,
    .backward = backward,
    .reads_back = cdl_reads_none,
    .parts = CDL_BY_MICRO_BATCHES,
};
