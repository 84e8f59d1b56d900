/* signs.c - labels 0 and 1 as -1 and 1: y = 2 x - 1 if all of the batch's labels are 0 or 1, else
 * y = x. For the hinge losses.
 */
#include "ops/op.h"

/* For each block of samples, whether it has another label; that they do; what processes add up. */
static size_t scratch_floats(const struct cdl_node *node, size_t rows) {
    return cdl_row_blocks(rows) + 1;
}

static bool has_another(const struct cdl_tensor *x, size_t first, size_t last) {
    bool found = false;
    for (size_t line = first * x->lines; line < last * x->lines; line++) {
        const float *labels = x->data + line * x->ld;
        for (size_t j = 0; j < x->width; j++) found |= labels[j] != 0.0f && labels[j] != 1.0f;
    }
    return found;
}

static float *others_of(const struct cdl_node *node, const struct cdl_context *ctx) {
    return node->scratch + cdl_row_blocks(ctx->rows);
}

static void look(CDL_PASS) {
    CDL_EACH_BLOCK(b, first, last)
        node->scratch[b.number] = has_another(node->in[0], b.first, b.last) ? 1.0f : 0.0f;
}

static void join(CDL_PASS) {
    float *others = others_of(node, ctx);
    *others = 0.0f;
    for (size_t b = 0; b < cdl_row_blocks(ctx->rows); b++) *others += node->scratch[b];
    if (cdl_joins(node, ctx)) cdl_join(ctx, others, 1);
}

static void convert(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const bool others = *others_of(node, ctx) > 0.0f;
    const float scale = others ? 1.0f : 2.0f, shift = others ? 0.0f : -1.0f;
    for (size_t line = first * x->lines; line < last * x->lines; line++) {
        const float *from = x->data + line * x->ld;
        float *to = y->data + line * y->ld;
        for (size_t j = 0; j < x->width; j++) to[j] = scale * from[j] + shift;
        for (size_t j = x->width; j < x->ld; j++) to[j] = 0.0f;
    }
}

const struct cdl_op cdl_op_signs = {
    .check = cdl_check_same,
    .scratch_floats = scratch_floats,
    .forward = {{look}, {join, CDL_ONCE}, {convert}},
};
