/* patterned_dropout.c - dropout whose draws are common along axes, and whose dropped elements
 * become some number: y = x scale + shift where kept, else `dropped`, in training; otherwise y = x.
 *
 * Spatial dropout drops whole channels; alpha dropout keeps mean and variance (Klambauer et al.,
 * 2017). `common` is a sum of bits: 1 for the axis of samples, 2 for the first axis of a sample, 4
 * for the next. Plain dropout has a faster op of its own.
 */
#include "ops/op.h"

#include <string.h>

enum { COMMON, SEED, USER_DRAW };     /* numbers */
enum { RATE, SCALE, SHIFT, DROPPED }; /* attributes */

static const char *check(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const float rate = node->attribute[RATE];
    const int64_t common = node->numbers[COMMON];
    CDL_EXPECT(rate >= 0.0f && rate <= 1.0f, "rate: expected 0 to 1");
    CDL_CHECK(cdl_check_seed(node, SEED));
    CDL_EXPECT(common >= 0 && common < 2 << x->n_dims,
               "common: expected a bit for the batch and for each axis");
    return cdl_check_alike(x, y);
}

/* The line of the pattern that a line of a sample reads: common axes count as 0. */
static size_t pattern_line(const struct cdl_tensor *x, unsigned common, size_t sample,
                           size_t line) {
    size_t pattern = 0, each = 1;
    for (int d = x->n_dims - 2; d >= 0; d--) {
        const size_t at = line % x->dims[d];
        line /= x->dims[d];
        if (!(common >> (d + 1) & 1)) pattern += at * each;
        each *= x->dims[d];
    }
    return pattern + (common & 1 ? 0 : sample * each);
}

static void drop_lines(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                       size_t last, float shift, float dropped, const float *from, float *to) {
    const struct cdl_tensor *x = node->in[0];
    const unsigned common = (unsigned)node->numbers[COMMON];
    const bool as_one = x->n_dims > 0 && (common >> x->n_dims & 1);
    const struct cdl_drop drop = {cdl_keep_of(1.0 - (double)node->attribute[RATE]),
                                  node->attribute[SCALE], shift, dropped};
    const struct cdl_key key = cdl_node_key(node, ctx, SEED);
    for (size_t i = first; i < last; i++) {
        for (size_t l = 0; l < x->lines; l++, from += x->ld, to += x->ld) {
            const uint32_t row = (uint32_t)pattern_line(x, common, ctx->first + i, l);
            ctx->kernels->drop_line(x->width, key, row, as_one, &drop, from, to);
        }
    }
}

static void forward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0];
    const float *from = cdl_rows(x, first);
    float *to = cdl_rows(node->out[0], first);
    if (ctx->training) {
        drop_lines(node, ctx, first, last, node->attribute[SHIFT], node->attribute[DROPPED], from,
                   to);
    } else {
        memcpy(to, from, (last - first) * x->lines * x->ld * sizeof(float));
    }
}

static void backward(CDL_PASS) {
    drop_lines(node, ctx, first, last, 0.0f, 0.0f, cdl_grad_rows(node->out[0], first),
               cdl_grad_rows(node->in[0], first));
}

const struct cdl_op cdl_op_patterned_dropout = {
    .check = check,
    .forward = forward,
    .backward = backward,
    .reads_back = cdl_reads_none,
    .parts = CDL_BY_MICRO_BATCHES,
};
