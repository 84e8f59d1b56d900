/* parametric.c - y = x + alpha (f - x), f = kind(x): an activation and the identity, mixed by an
 * alpha a column that learns (RealMLP: Holzmüller et al., "Better by default", 2024). */
#include "ops/op.h"
#include "products/blocks.h"

enum { KIND };  /* numbers */
enum { ALPHA }; /* params */
enum { Y, F };  /* outputs; f is for the backward pass */

static size_t scratch_floats(const struct cdl_node *node, size_t rows) {
    return cdl_column_floats(node->in[0]->width) * cdl_row_blocks(rows);
}

static const char *check(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0];
    CDL_CHECK(cdl_check_alike(x, node->out[Y]));
    CDL_CHECK(cdl_check_alike(x, node->out[F]));
    CDL_EXPECT(node->param[ALPHA], "alpha: expected one");
    return cdl_check_row(node->param[ALPHA], x->width,
                         "alpha: expected a number for each column of x");
}

static void forward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[Y], *f = node->out[F];
    CDL_EACH_BLOCK(b, first, last) {
        const size_t lines = b.rows * x->lines;
        ctx->kernels->activation[node->numbers[KIND]](lines, x->width, cdl_rows(x, b.first), x->ld,
                                                      cdl_rows(f, b.first), f->ld, node->row_param);
        ctx->kernels->mix(lines, x->width, cdl_lines(x, b.first), cdl_lines(f, b.first),
                          node->param[ALPHA]->w, cdl_lines_to(y, b.first));
    }
}

static void backward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[Y], *f = node->out[F];
    CDL_EACH_BLOCK(b, first, last) {
        const size_t lines = b.rows * x->lines;
        const struct cdl_matrix dy = cdl_grad_lines(y, b.first);
        const struct cdl_output dx =
            node->needs[0] ? cdl_grad_lines_to(x, b.first) : (struct cdl_output){0};
        if (dx.at)
            ctx->kernels->activation_gradient[node->numbers[KIND]](
                lines, x->width, cdl_lines(x, b.first), cdl_lines(f, b.first), dy, dx,
                node->row_param);
        ctx->kernels->mix_backward(lines, x->width, cdl_lines(x, b.first), cdl_lines(f, b.first),
                                   node->param[ALPHA]->w, dy, dx,
                                   cdl_block_sums(node->scratch, x->width, b.number));
    }
}

static void update(CDL_UPDATE) {
    cdl_learn_row(node->trained[ALPHA], ctx, rows, to, node->scratch);
}

const struct cdl_op cdl_op_parametric = {
    .table = {"activations", CDL_N_ACTIVATIONS},
    .check = check,
    .scratch_floats = scratch_floats,
    .number_flops = 16.0,
    .forward = forward,
    .backward = backward,
    .update = update,
    .parts = CDL_BY_ROWS,
};
