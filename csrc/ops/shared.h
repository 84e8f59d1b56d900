/* shared.h - gradients of inputs that all samples of a result share.
 *
 * backward() leaves their sums over each block of samples, which no two threads share, in scratch;
 * a phase by all threads adds the blocks up in order.
 */
#pragma once

#include "ops/op.h"
#include "products/blocks.h"

/* Floats of input k if all samples of the result share it, else 0. */
static inline size_t cdl_shared_floats(const struct cdl_node *node, int k) {
    const struct cdl_tensor *x = node->in[k];
    return x->shared && !node->out[0]->shared ? x->lines * x->ld : 0;
}

static inline size_t cdl_shared_scratch(const struct cdl_node *node, size_t rows) {
    size_t floats = 0;
    for (int k = 0; k < node->n_in; k++) floats += cdl_shared_floats(node, k);
    return cdl_row_blocks(rows) * floats;
}

/* Sums of a block for input k. */
static inline float *cdl_shared_sums(const struct cdl_node *node, const struct cdl_context *ctx,
                                     int k, size_t block) {
    size_t before = 0;
    for (int i = 0; i < k; i++) before += cdl_shared_floats(node, i);
    return node->scratch + cdl_row_blocks(ctx->rows) * before + block * cdl_shared_floats(node, k);
}

/* The phase behind the sums. */
static inline void cdl_add_shared(CDL_PASS) {
    for (int k = 0; k < node->n_in; k++) {
        const size_t n = cdl_shared_floats(node, k);
        if (node->needs[k] && n)
            cdl_add_blocks(ctx->kernels, cdl_row_blocks(ctx->rows), n,
                           cdl_own_blocks(ctx, CDL_LINE, n), cdl_shared_sums(node, ctx, k, 0), 1.0,
                           node->in[k]->grad);
    }
}
