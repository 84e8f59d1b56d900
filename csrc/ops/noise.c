/* noise.c - normal noise in training: y = x + stddev z, or y = x (1 + stddev z); otherwise y = x.
 * The noise is drawn again in backward, never stored. */
#include "ops/op.h"

#include <string.h>

enum { MULTIPLIES, SEED, USER_DRAW }; /* numbers */
enum { STDDEV };                      /* attributes */

static const char *check(const struct cdl_node *node) {
    CDL_EXPECT(node->attribute[STDDEV] >= 0.0f, "stddev: expected at least 0");
    CDL_CHECK(cdl_check_seed(node, SEED));
    return cdl_check_alike(node->in[0], node->out[0]);
}

static void add_noise(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                      size_t last, const float *from, float *to) {
    const struct cdl_tensor *x = node->in[0];
    const struct cdl_key key = cdl_node_key(node, ctx, SEED);
    const uint32_t line = (uint32_t)((ctx->first + first) * x->lines);
    ctx->kernels->noise((last - first) * x->lines, x->width, key, line, node->attribute[STDDEV],
                        node->numbers[MULTIPLIES] != 0, (struct cdl_matrix){from, x->ld},
                        (struct cdl_output){to, x->ld});
}

static void forward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0];
    const float *from = cdl_rows(x, first);
    float *to = cdl_rows(node->out[0], first);
    if (ctx->training)
        add_noise(node, ctx, first, last, from, to);
    else
        memcpy(to, from, (last - first) * x->lines * x->ld * sizeof(float));
}

static void backward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0];
    const float *dy = cdl_grad_rows(node->out[0], first);
    float *dx = cdl_grad_rows(x, first);
    if (node->numbers[MULTIPLIES] != 0)
        add_noise(node, ctx, first, last, dy, dx);
    else
        memcpy(dx, dy, (last - first) * x->lines * x->ld * sizeof(float));
}

const struct cdl_op cdl_op_noise = {
    .check = check,
    .forward = forward,
    .backward = backward,
    .parts = CDL_BY_MICRO_BATCHES,
};
