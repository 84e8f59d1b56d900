/* draw.c - random numbers, others for each sample, step and instruction; in inference too.
 *
 * A row's numbers are a function of its number in the caller's array, so that they depend neither
 * on threads nor on how a prediction is cut into blocks (base/rng.h).
 */
#include "ops/op.h"

enum { KIND, SEED }; /* attributes: a row of kernels/draw.h */

static cdl_status check(const struct cdl_node *node) {
    const float seed = node->attribute[SEED];
    if (node->n_out != 1 || node->out[0]->shared || node->out[0]->is_int) return CDL_ERR_PROGRAM;
    return seed >= 0.0f && seed < 0x1p32f ? CDL_OK : CDL_ERR_PROGRAM;
}

static void forward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                    size_t last) {
    const struct cdl_tensor *y = node->out[0];
    const uint64_t seed = cdl_mix64(ctx->seed) ^ (uint64_t)node->attribute[SEED];
    const struct cdl_key key = cdl_key_of(seed, ctx->step, (uint64_t)node->index);
    ctx->kernels->draw((enum cdl_draw)node->attribute[KIND], (last - first) * y->lines, y->width,
                       key, (uint32_t)((ctx->start + first) * y->lines), cdl_rows(y, first), y->ld);
}

const struct cdl_op cdl_op_draw = {
    .name = "draw",
    .attributes = "kind,seed",
    .params = "",
    .table = "draws",
    .check = check,
    .forward = forward,
    .is_source = true,
};
