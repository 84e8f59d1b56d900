/* concat.c - up to eight values side by side along one axis. */
#include "ops/lines.h"

enum { AXIS }; /* numbers */

static int axis_of(const struct cdl_node *node) { return (int)node->numbers[AXIS]; }

static const char *check(const struct cdl_node *node) {
    const struct cdl_tensor *y = node->out[0];
    const int64_t axis = node->numbers[AXIS];
    size_t size = 0;
    CDL_EXPECT(axis >= 0 && axis < y->n_dims, "axis: expected one of the output");
    for (int k = 0; k < node->n_in; k++) {
        const struct cdl_tensor *x = node->in[k];
        CDL_EXPECT(!cdl_is_int(x), "inputs: expected floats");
        CDL_EXPECT(x->n_dims == y->n_dims, "inputs: expected as many axes as the output");
        for (int d = 0; d < y->n_dims; d++)
            CDL_EXPECT(d == axis_of(node) || x->dims[d] == y->dims[d],
                       "inputs: expected the output's sizes on all axes but `axis`");
        size += x->dims[axis_of(node)];
    }
    CDL_EXPECT(size == y->dims[axis_of(node)], "inputs: expected sizes that add up along `axis`");
    return NULL;
}

/* Lines of a block of a value: those of one index of the axes before, or of parts of one line. */
static size_t lines_of(const struct cdl_node *node, const struct cdl_tensor *value) {
    const struct cdl_axis axis = cdl_axis_at(value, axis_of(node));
    return axis.n * axis.inner / value->width;
}

/* Copies input k, or its gradient, to its place in each block of y, or from there. */
static void copy(const struct cdl_node *node, const struct cdl_kernels *kernels, int k, size_t rows,
                 float *part, float *whole, bool back) {
    const struct cdl_tensor *x = node->in[k], *y = node->out[0];
    const bool columns = axis_of(node) == y->n_dims - 1; /* parts of lines */
    const size_t floats = lines_of(node, x) * x->ld, block = lines_of(node, y) * y->ld;
    const size_t blocks = rows * y->lines / lines_of(node, y);
    for (int j = 0; j < k; j++)
        whole += columns ? node->in[j]->width : lines_of(node, node->in[j]) * y->ld;
    if (columns && back)
        kernels->copy_columns(blocks, x->width, whole, block, part, floats);
    else if (columns)
        kernels->copy_columns(blocks, x->width, part, floats, whole, block);
    for (size_t b = 0; b < blocks && !columns; b++, part += floats, whole += block)
        memcpy(back ? part : whole, back ? whole : part, floats * sizeof(float));
}

static void forward(CDL_PASS) {
    const struct cdl_tensor *y = node->out[0];
    float *to = cdl_rows(y, first);
    for (int k = 0; k < node->n_in; k++)
        copy(node, ctx->kernels, k, last - first, cdl_rows(node->in[k], first), to, false);
    cdl_clear_pads(y, to, (last - first) * y->lines);
}

static void backward(CDL_PASS) {
    for (int k = 0; k < node->n_in; k++) {
        const struct cdl_tensor *x = node->in[k];
        if (!node->needs[k]) continue;
        float *dx = cdl_grad_rows(x, first);
        copy(node, ctx->kernels, k, last - first, dx, cdl_grad_rows(node->out[0], first), true);
        if (axis_of(node) == x->n_dims - 1) cdl_clear_pads(x, dx, (last - first) * x->lines);
    }
}

const struct cdl_op cdl_op_concat = {
    .check = check,
    .forward = forward,
    .backward = backward,
    .reads_back = cdl_reads_none,
    .all_inputs = true,
    .parts = CDL_BY_MICRO_BATCHES,
};
