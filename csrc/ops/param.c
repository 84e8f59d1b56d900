/* param.c - a weight as a value: y = w, row-major and shared by all samples. It learns from the
 * gradient of that value. */
#include "learn/learn.h"
#include "ops/op.h"

enum { WEIGHT }; /* params */

static const char *check(const struct cdl_node *node) {
    const struct cdl_tensor *y = node->out[0];
    const struct cdl_param *w = node->param[WEIGHT];
    CDL_EXPECT(w, "weight: expected one");
    CDL_EXPECT(y->shared && !cdl_is_int(y), "output: expected floats that all samples share");
    CDL_EXPECT(cdl_holds(w, y), "output: expected the shape of the weight");
    return NULL;
}

static void forward(CDL_PASS) {
    const struct cdl_tensor *y = node->out[0];
    cdl_param_read(node->param[WEIGHT], y->width, y->data, y->ld);
}

/* The gradient of a block out of the lines of the value's. */
static void take(const struct cdl_node *node, struct cdl_block block, float *g) {
    const struct cdl_tensor *y = node->out[0];
    const struct cdl_param *w = node->param[WEIGHT];
    for (size_t r = 0; r < block.rows; r++) {
        for (size_t j = 0; j < block.width; j++, g++) {
            const size_t column = block.column + j;
            if (column >= w->cols)
                *g = 0.0f;
            else if (w->matrix)
                *g = y->grad[(block.row + r) * y->ld + column];
            else
                *g = y->grad[column / y->width * y->ld + column % y->width];
        }
    }
}

static void update(CDL_UPDATE) {
    const struct cdl_range own = cdl_own(ctx, cdl_blocks(node->param[WEIGHT]));
    float *g = ctx->scratch;
    for (size_t i = own.first; i < own.last; i++) {
        const struct cdl_block block = cdl_block_at(node->param[WEIGHT], i);
        take(node, block, g);
        cdl_learn(node->trained[WEIGHT], ctx, to, block, g);
    }
}

const struct cdl_op cdl_op_param = {
    .check = check,
    .forward = forward,
    .update = update,
};
