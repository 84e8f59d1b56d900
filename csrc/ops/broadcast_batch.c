/* broadcast_batch.c - a shared value given to each sample: y = x. Backward adds up the samples'
 * gradients: blocks of them first, which no two threads share, then the blocks in order. */
#include "ops/shared.h"

static const char *check(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    CDL_EXPECT(x->shared && !y->shared, "expected a shared input, and an output of each sample");
    return cdl_check_alike(x, y);
}

static void forward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    if (y->row_floats == 1) { /* a number */
        for (size_t i = first; i < last; i++) y->data[i] = x->data[0];
        return;
    }
    for (size_t i = first; i < last; i++)
        memcpy(cdl_rows(y, i), x->data, y->row_floats * sizeof(float));
}

static void sum_blocks(CDL_PASS) {
    const struct cdl_tensor *y = node->out[0];
    cdl_sum_blocks(ctx->kernels, first, last, y->row_floats, cdl_grad_rows(y, first),
                   node->scratch);
}

const struct cdl_op cdl_op_broadcast_batch = {
    .check = check,
    .scratch_floats = cdl_shared_scratch,
    .forward = forward,
    .backward = {{sum_blocks}, {cdl_add_shared, CDL_THREADS}},
    .mixes = true,
};
