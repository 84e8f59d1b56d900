/* rowwise.c - y = f(x) line by line: the rows of kernels/activations.h, by the attribute `kind`,
 * and those of kernels/rowwise.h, each an op of its name. */
#include "ops/lanes.h"
#include "ops/op.h"

enum { KIND }; /* numbers of activation */

static const char *check(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    if (node->op != &cdl_op_glu) return cdl_check_alike(x, y);
    CDL_EXPECT(x->lines == y->lines && x->width == 2 * y->width,
               "output: expected the lines of x, and half its columns");
    return NULL;
}

static void forward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    cdl_activation_fn *f = node->op->table.name ? ctx->kernels->activation[(int)node->numbers[KIND]]
                                                : ctx->kernels->rowwise[node->op->row];
    f((last - first) * x->lines, y->width, cdl_rows(x, first), x->ld, cdl_rows(y, first), y->ld,
      node->row_param);
}

static void backward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    cdl_activation_gradient_fn *d =
        node->op->table.name ? ctx->kernels->activation_gradient[(int)node->numbers[KIND]]
                             : ctx->kernels->rowwise_gradient[node->op->row];
    d((last - first) * x->lines, y->width, cdl_lines(x, first), cdl_lines(y, first),
      cdl_grad_lines(y, first), cdl_grad_lines_to(x, first), node->row_param);
}

/* Flops: an exponential, and waits for memory. */
#define BY_LINE .check = check, .number_flops = 12.0, .forward = forward, .backward = backward
const struct cdl_op cdl_op_activation = {
    BY_LINE,
    .table = {"activations", CDL_N_ACTIVATIONS},
    .any_samples = true,
    .bf16 = CDL_BF16_THROUGH_FLOATS,
    .parts = CDL_BY_MICRO_BATCHES,
    .lanes = &cdl_lanes_elementwise,
};
const struct cdl_op cdl_op_softmax = {BY_LINE, .row = CDL_ROWWISE_softmax, .any_samples = true,
                                      .parts = CDL_BY_MICRO_BATCHES};
const struct cdl_op cdl_op_log_softmax = {BY_LINE, .row = CDL_ROWWISE_log_softmax};
const struct cdl_op cdl_op_sparsemax = {BY_LINE, .row = CDL_ROWWISE_sparsemax};
const struct cdl_op cdl_op_glu = {BY_LINE, .row = CDL_ROWWISE_glu};
