/* constant.c - numbers that belong to the program, as a value that all samples share. */
#include "ops/op.h"

static cdl_status check(const struct cdl_node *node) {
    const struct cdl_tensor *y = node->out[0];
    if (node->n_out != 1 || !y->shared || y->is_int) return CDL_ERR_PROGRAM;
    return node->n_numbers == y->lines * y->width ? CDL_OK : CDL_ERR_PROGRAM;
}

static void fill(const struct cdl_node *node, const struct cdl_kernels *kernels) {
    (void)kernels;
    const struct cdl_tensor *y = node->out[0];
    for (size_t i = 0; i < node->n_numbers; i++)
        y->data[i / y->width * y->ld + i % y->width] = (float)node->numbers[i];
}

static void forward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                    size_t last) {
    (void)node, (void)ctx, (void)first, (void)last;
}

const struct cdl_op cdl_op_constant = {
    .name = "constant",
    .attributes = "",
    .params = "",
    .check = check,
    .fill = fill,
    .forward = forward,
    .is_source = true,
    .stays = true,
};
