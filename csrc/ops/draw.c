/* draw.c - random numbers, others for each sample, step and instruction; in inference too.
 *
 * A row's numbers are a function of its number in the batch in training, else in the caller's
 * array, so that they depend neither on threads nor on how a run, or a prediction, is cut
 * (base/rng.h). Those that all samples share are as of row 0. With `fixed` they are the same in
 * every step: by the op's seed and the row.
 */
#include "ops/op.h"

enum { KIND, SEED, USER_DRAW, FIXED }; /* numbers: KIND is a row of kernels/draw.h */

static const char *check(const struct cdl_node *node) {
    CDL_EXPECT(!cdl_is_int(node->out[0]), "output: expected floats");
    return cdl_check_seed(node, SEED);
}

static void forward(CDL_PASS) {
    const struct cdl_tensor *y = node->out[0];
    const bool fixed = node->numbers[FIXED] != 0;
    const struct cdl_key key =
        fixed ? cdl_key_of((uint64_t)node->numbers[SEED], 0, 0) : cdl_node_key(node, ctx, SEED);
    const size_t row = y->shared ? 0 : first + (ctx->training ? ctx->first : ctx->start);
    ctx->kernels->draw((enum cdl_draw)node->numbers[KIND], (last - first) * y->lines, y->width, key,
                       (uint32_t)(row * y->lines), cdl_rows(y, first), y->ld);
}

const struct cdl_op cdl_op_draw = {
    .table = {"draws", CDL_N_DRAWS},
    .check = check,
    .forward = forward,
    .parts = CDL_BY_MICRO_BATCHES,
};
