/* host.c - y = f(x), where f is a function of the caller's (host.h), called once a batch, or once
 * for shared values.
 *
 * A program with such an op runs on one thread, so that all samples of the batch are there. Scratch
 * holds x, dx, y and dy, each without pads. After a failure values and gradients are 0.
 */
#include "base/threads.h"
#include "ops/lines.h"

static size_t sample_floats(const struct cdl_tensor *value) { return value->lines * value->width; }

static size_t scratch_floats(const struct cdl_node *node, size_t rows) {
    return 2 * rows * (sample_floats(node->in[0]) + sample_floats(node->out[0]));
}

static const char *check(const struct cdl_node *node) {
    CDL_EXPECT(node->host, "function: expected one");
    CDL_EXPECT(!cdl_is_int(node->in[0]), "x: expected floats");
    return NULL;
}

static void call(const struct cdl_node *node, const struct cdl_host_call *call, size_t floats) {
    memset(call->out, 0, floats * sizeof(float));
    if (node->host->failed) return;
    cdl_region_leave();
    node->host->failed = !node->host->call(node->host->who, call);
    cdl_region_enter();
    if (node->host->failed) memset(call->out, 0, floats * sizeof(float));
}

static void forward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const size_t rows = last - first;
    float *packed = node->scratch, *out = packed + rows * sample_floats(x);
    cdl_pack(x, cdl_rows(x, first), rows * x->lines, packed);
    const struct cdl_host_call wanted = {rows, ctx->training, packed, NULL, NULL, out};
    call(node, &wanted, rows * sample_floats(y));
    cdl_unpack(y, out, rows * y->lines, cdl_rows(y, first));
}

static void backward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const size_t rows = last - first, x_floats = rows * sample_floats(x);
    float *packed = node->scratch, *out = packed + x_floats, *known = out + x_floats;
    float *dy = known + rows * sample_floats(y);
    cdl_pack(x, cdl_rows(x, first), rows * x->lines, packed);
    cdl_pack(y, cdl_rows(y, first), rows * y->lines, known);
    cdl_pack(y, cdl_grad_rows(y, first), rows * y->lines, dy);
    const struct cdl_host_call wanted = {rows, ctx->training, packed, known, dy, out};
    call(node, &wanted, x_floats);
    cdl_unpack(x, out, rows * x->lines, cdl_grad_rows(x, first));
}

const struct cdl_op cdl_op_host = {
    .role = CDL_HOST,
    .check = check,
    .scratch_floats = scratch_floats,
    .forward = forward,
    .backward = backward,
};
