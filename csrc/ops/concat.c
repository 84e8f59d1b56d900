/* concat.c - up to eight values side by side along one axis. */
#include "ops/lines.h"

enum { AXIS }; /* attributes */

static int axis_of(const struct cdl_node *node) { return (int)node->attribute[AXIS]; }

static const char *check(const struct cdl_node *node) {
    const struct cdl_tensor *y = node->out[0];
    const float axis = node->attribute[AXIS];
    size_t size = 0;
    CDL_EXPECT(axis >= 0.0f && axis < (float)y->n_dims, "axis: expected one of the output");
    for (int k = 0; k < node->n_in; k++) {
        const struct cdl_tensor *x = node->in[k];
        CDL_EXPECT(!x->is_int, "inputs: expected floats");
        CDL_EXPECT(x->n_dims == y->n_dims, "inputs: expected as many axes as the output");
        for (int d = 0; d < y->n_dims; d++)
            CDL_EXPECT(d == axis_of(node) || x->dims[d] == y->dims[d],
                       "inputs: expected the output's sizes on all axes but `axis`");
        size += x->dims[axis_of(node)];
    }
    CDL_EXPECT(size == y->dims[axis_of(node)], "inputs: expected sizes that add up along `axis`");
    return NULL;
}

/* Lines of a block of a value, which stand together: those of one index of the axes before. */
static size_t lines_of(const struct cdl_node *node, const struct cdl_tensor *value) {
    size_t lines = 1;
    for (int d = axis_of(node); d + 1 < value->n_dims; d++) lines *= value->dims[d];
    return lines;
}

/* The parts of one value: `lines` lines of `width` each, from offset `at` of each block of y. */
struct strip {
    size_t blocks, lines, at, block; /* block: from one of y to the next, in floats */
    bool columns;                    /* along the last axis: parts of lines */
};

static struct strip strip_of(const struct cdl_node *node, int k, size_t first, size_t last) {
    const struct cdl_tensor *y = node->out[0];
    struct strip strip = {.columns = axis_of(node) == y->n_dims - 1};
    strip.blocks = (last - first) * (strip.columns ? y->lines : y->lines / lines_of(node, y));
    strip.lines = strip.columns ? 1 : lines_of(node, node->in[k]);
    strip.block = (strip.columns ? 1 : lines_of(node, y)) * y->ld;
    for (int j = 0; j < k; j++)
        strip.at += strip.columns ? node->in[j]->width : lines_of(node, node->in[j]) * y->ld;
    return strip;
}

static void forward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                    size_t last) {
    const struct cdl_tensor *y = node->out[0];
    for (int k = 0; k < node->n_in; k++) {
        const struct cdl_tensor *x = node->in[k];
        const struct strip s = strip_of(node, k, first, last);
        const float *from = cdl_rows(x, first);
        float *to = cdl_rows(y, first) + s.at;
        if (s.columns) {
            ctx->kernels->copy_columns(s.blocks, x->width, from, x->ld, to, y->ld);
            continue;
        }
        const size_t floats = s.lines * x->ld;
        for (size_t b = 0; b < s.blocks; b++, from += floats, to += s.block)
            memcpy(to, from, floats * sizeof(float));
    }
    cdl_clear_pads(y, cdl_rows(y, first), (last - first) * y->lines);
}

static void backward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                     size_t last) {
    const struct cdl_tensor *y = node->out[0];
    for (int k = 0; k < node->n_in; k++) {
        const struct cdl_tensor *x = node->in[k];
        if (!node->needs[k]) continue;
        const struct strip s = strip_of(node, k, first, last);
        const float *from = cdl_grad_rows(y, first) + s.at;
        float *to = cdl_grad_rows(x, first);
        if (s.columns) {
            ctx->kernels->copy_columns(s.blocks, x->width, from, y->ld, to, x->ld);
            cdl_clear_pads(x, to, (last - first) * x->lines);
            continue;
        }
        const size_t floats = s.lines * x->ld;
        for (size_t b = 0; b < s.blocks; b++, from += s.block, to += floats)
            memcpy(to, from, floats * sizeof(float));
    }
}

const struct cdl_op cdl_op_concat = {
    .check = check,
    .forward = forward,
    .backward = backward,
    .all_inputs = true,
};
