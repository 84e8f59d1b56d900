/* dropout.c - inverted dropout: in training an element is 0 with probability `rate`, else it is
 * divided by 1 - rate; otherwise y = x. The mask is drawn again in backward, never stored. */
#include "ops/op.h"

#include <string.h>

enum { SEED, USER_DRAW }; /* numbers */
enum { RATE };            /* attributes */

static const char *check(const struct cdl_node *node) {
    const float rate = node->attribute[RATE];
    CDL_EXPECT(rate >= 0.0f && rate <= 1.0f, "rate: expected 0 to 1");
    CDL_CHECK(cdl_check_seed(node, SEED));
    return cdl_check_alike(node->in[0], node->out[0]);
}

static void mask(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                 size_t last, const float *from, float *to) {
    const struct cdl_tensor *x = node->in[0];
    const size_t rows = (last - first) * x->lines;
    const float rate = node->attribute[RATE];
    if (!ctx->training || rate <= 0.0f) {
        memcpy(to, from, rows * x->ld * sizeof(float));
        return;
    }
    const double kept = 1.0 - (double)rate;
    const struct cdl_key key = cdl_node_key(node, ctx, SEED);
    const struct cdl_drop drop = {cdl_keep_of(kept), cdl_keep_scale(kept), 0.0f, 0.0f};
    ctx->kernels->dropout(rows, x->width, key, (uint32_t)((ctx->first + first) * x->lines), &drop,
                          (struct cdl_matrix){from, x->ld}, (struct cdl_output){to, x->ld});
}

static void forward(CDL_PASS) {
    mask(node, ctx, first, last, cdl_rows(node->in[0], first), cdl_rows(node->out[0], first));
}

static void backward(CDL_PASS) {
    mask(node, ctx, first, last, cdl_grad_rows(node->out[0], first),
         cdl_grad_rows(node->in[0], first));
}

const struct cdl_op cdl_op_dropout = {
    .check = check,
    .forward = forward,
    .backward = backward,
    .reads_back = cdl_reads_none,
    .bf16 = CDL_BF16_THROUGH_FLOATS,
    .parts = CDL_BY_MICRO_BATCHES,
};
