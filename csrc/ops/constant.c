/* constant.c - numbers that belong to the program, as a value that all samples share. */
#include "ops/op.h"

static const char *check(const struct cdl_node *node) {
    const struct cdl_tensor *y = node->out[0];
    CDL_EXPECT(y->shared && !cdl_is_int(y), "output: expected floats that all samples share");
    CDL_EXPECT(node->n_data == y->lines * y->width, "elements: expected as many as the output has");
    return NULL;
}

static void derive(const struct cdl_node *node, const struct cdl_kernels *kernels) {
    const struct cdl_tensor *y = node->out[0];
    for (size_t i = 0; i < node->n_data; i++)
        y->data[i / y->width * y->ld + i % y->width] = (float)node->data[i];
}

const struct cdl_op cdl_op_constant = {
    .check = check,
    .derive = derive,
};
