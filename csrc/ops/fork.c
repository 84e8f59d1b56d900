/* fork.c - values that alias another one, so that forward computes nothing.
 *
 * fork: for two readers, each of which gives a gradient; backward adds them up. More readers are a
 * chain, of which one gradient is the memory that all are added to.
 * stop: gives its input no gradient.
 * probe: the caller reads its gradient. It counts as a node that learns, so that gradients flow
 * back to it; as an output of the program, its gradient stays until it is read.
 */
#include "ops/op.h"

static const char *check_fork(const struct cdl_node *node) {
    for (int i = 0; i < 2; i++) {
        CDL_CHECK(cdl_check_alike(node->in[0], node->out[i]));
        CDL_EXPECT(node->in[0]->dtype == node->out[i]->dtype, "outputs: expected the dtype of x");
    }
    return NULL;
}

/* y += x, of so many floats' worth of bfloat16. */
static void add_bf16(const struct cdl_kernels *kernels, size_t floats, float *x, float *y) {
    enum { RUN = 512 };
    for (size_t at = 0; at < floats; at += RUN / 2) {
        const size_t n = cdl_min(2 * (floats - at), RUN);
        _Alignas(64) float a[RUN], b[RUN];
        kernels->bf16_to_floats(1, n, cdl_bf16(x + at), n, a, n);
        kernels->bf16_to_floats(1, n, cdl_bf16(y + at), n, b, n);
        kernels->add(n, a, b);
        kernels->bf16_from_floats(1, n, b, n, cdl_bf16(y + at), n);
    }
}

/* The gradient of one output is the memory of the input's; that of the other is added. */
static void add_gradients(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0];
    const size_t floats = (last - first) * cdl_sample_floats(x);
    for (int o = 0; o < node->n_out; o++) {
        const struct cdl_tensor *y = node->out[o];
        if (!y->grad || y->grad_owner == x->grad_owner) continue;
        if (cdl_is_bf16(x))
            add_bf16(ctx->kernels, floats, cdl_grad_rows(y, first), cdl_grad_rows(x, first));
        else
            ctx->kernels->add(floats, cdl_grad_rows(y, first), cdl_grad_rows(x, first));
    }
}

const char *cdl_check_copy(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    CDL_EXPECT(cdl_is_int(x) == cdl_is_int(y) && cdl_same_shape(x, y),
               "output: expected the shape and the dtype of x");
    return NULL;
}

void cdl_copy_values(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    memcpy(cdl_rows(y, first), cdl_rows(x, first),
           (last - first) * cdl_sample_floats(x) * sizeof(float));
}

void cdl_copy_gradient(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    memcpy(cdl_grad_rows(x, first), cdl_grad_rows(y, first),
           (last - first) * cdl_sample_floats(x) * sizeof(float));
}

const struct cdl_op cdl_op_fork = {
    .role = CDL_FORK,
    .check = check_fork,
    .backward = add_gradients,
    .reads_back = cdl_reads_none,
    .passes_on = true,
    .bf16 = CDL_BF16_READ,
    .parts = CDL_BY_MICRO_BATCHES,
};

const struct cdl_op cdl_op_stop = {
    .check = cdl_check_copy,
    .passes_on = true,
};

const struct cdl_op cdl_op_probe = {
    .role = CDL_PROBE,
    .check = cdl_check_same,
    .backward = {{cdl_copy_gradient}},
    .passes_on = true,
};
