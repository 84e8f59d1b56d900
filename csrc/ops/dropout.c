/* dropout.c - dropout and noise, in training; otherwise y = x. What is drawn is drawn again in
 * backward, never stored.
 *
 * dropout: an element is 0 with probability `rate`, else it is divided by 1 - rate.
 *
 * patterned_dropout: the draws are common along axes, and y = x scale + shift where kept, else
 * `dropped`. Spatial dropout drops whole channels; alpha dropout keeps mean and variance (Klambauer
 * et al., 2017). `common` is a sum of bits: 1 for the axis of samples, 2 for the first axis of a
 * sample, 4 for the next.
 *
 * noise: normal, y = x + stddev z, or y = x (1 + stddev z).
 */
#include "ops/lanes.h"
#include "ops/op.h"

enum { RATE };            /* attributes of dropout */
enum { SEED, USER_DRAW }; /* numbers of dropout */

enum { DROPOUT_RATE, SCALE, SHIFT, DROPPED };     /* attributes of patterned_dropout */
enum { COMMON, DROPOUT_SEED, DROPOUT_USER_DRAW }; /* numbers of patterned_dropout */

enum { STDDEV };                                  /* attributes of noise */
enum { MULTIPLIES, NOISE_SEED, NOISE_USER_DRAW }; /* numbers of noise */

static const char *check(const struct cdl_node *node) {
    const float rate = node->attribute[RATE];
    CDL_EXPECT(rate >= 0.0f && rate <= 1.0f, "rate: expected 0 to 1");
    CDL_CHECK(cdl_check_seed(node, SEED));
    return cdl_check_same(node);
}

static struct cdl_drop drop_of(const struct cdl_node *node) {
    const double kept = 1.0 - (double)node->attribute[RATE];
    return (struct cdl_drop){cdl_keep_of(kept), cdl_keep_scale(kept), 0.0f, 0.0f};
}

static bool drops(const struct cdl_node *node, const struct cdl_context *ctx) {
    return ctx->training && node->attribute[RATE] > 0.0f;
}

static void mask(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                 size_t last, struct cdl_matrix from, struct cdl_output to) {
    const struct cdl_tensor *x = node->in[0];
    const struct cdl_drop drop = drop_of(node);
    ctx->kernels->dropout((last - first) * x->lines, x->width, cdl_node_key(node, ctx, SEED),
                          (uint32_t)((ctx->first + first) * x->lines), &drop, from, to);
}

static void forward(CDL_PASS) {
    if (drops(node, ctx))
        mask(node, ctx, first, last, cdl_lines(node->in[0], first),
             cdl_lines_to(node->out[0], first));
    else
        cdl_copy_values(node, ctx, first, last);
}

static void backward(CDL_PASS) {
    if (drops(node, ctx))
        mask(node, ctx, first, last, cdl_grad_lines(node->out[0], first),
             cdl_grad_lines_to(node->in[0], first));
    else
        cdl_copy_gradient(node, ctx, first, last);
}

static void mask_lanes(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                       size_t last, const float *from, float *to) {
    const struct cdl_drop drop = drop_of(node);
    ctx->kernels->lanes_dropout(last - first, node->in[0]->lines, node->code,
                                (uint32_t)(ctx->first + first), &drop, from, to);
}

static void forward_lanes(CDL_PASS) {
    if (drops(node, ctx))
        mask_lanes(node, ctx, first, last, cdl_rows(node->in[0], first),
                   cdl_rows(node->out[0], first));
    else
        cdl_copy_values(node, ctx, first, last);
}

static void backward_lanes(CDL_PASS) {
    if (drops(node, ctx))
        mask_lanes(node, ctx, first, last, cdl_grad_rows(node->out[0], first),
                   cdl_grad_rows(node->in[0], first));
    else
        cdl_copy_gradient(node, ctx, first, last);
}

static const struct cdl_lanes_op in_lanes = {
    .view = CDL_BY_ELEMENTS,
    .draws = true,
    .seed = SEED,
    .forward = forward_lanes,
    .backward = backward_lanes,
};

const struct cdl_op cdl_op_dropout = {
    .check = check,
    .forward = forward,
    .backward = backward,
    .lanes = &in_lanes,
    .reads_back = cdl_reads_none,
    .bf16 = CDL_BF16_THROUGH_FLOATS,
    .parts = CDL_BY_MICRO_BATCHES,
};

static const char *check_patterned(const struct cdl_node *node) {
    const float rate = node->attribute[DROPOUT_RATE];
    const int64_t common = node->numbers[COMMON];
    CDL_EXPECT(rate >= 0.0f && rate <= 1.0f, "rate: expected 0 to 1");
    CDL_CHECK(cdl_check_seed(node, DROPOUT_SEED));
    CDL_EXPECT(common >= 0 && common < 2 << node->in[0]->n_dims,
               "common: expected a bit for the batch and for each axis");
    return cdl_check_same(node);
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
    const struct cdl_drop drop = {cdl_keep_of(1.0 - (double)node->attribute[DROPOUT_RATE]),
                                  node->attribute[SCALE], shift, dropped};
    const struct cdl_key key = cdl_node_key(node, ctx, DROPOUT_SEED);
    for (size_t i = first; i < last; i++) {
        for (size_t l = 0; l < x->lines; l++, from += x->ld, to += x->ld) {
            const uint32_t row = (uint32_t)pattern_line(x, common, ctx->first + i, l);
            ctx->kernels->drop_line(x->width, key, row, as_one, &drop, from, to);
        }
    }
}

static void forward_patterned(CDL_PASS) {
    if (ctx->training)
        drop_lines(node, ctx, first, last, node->attribute[SHIFT], node->attribute[DROPPED],
                   cdl_rows(node->in[0], first), cdl_rows(node->out[0], first));
    else
        cdl_copy_values(node, ctx, first, last);
}

static void backward_patterned(CDL_PASS) {
    drop_lines(node, ctx, first, last, 0.0f, 0.0f, cdl_grad_rows(node->out[0], first),
               cdl_grad_rows(node->in[0], first));
}

const struct cdl_op cdl_op_patterned_dropout = {
    .check = check_patterned,
    .forward = forward_patterned,
    .backward = backward_patterned,
    .reads_back = cdl_reads_none,
    .parts = CDL_BY_MICRO_BATCHES,
};

static const char *check_noise(const struct cdl_node *node) {
    CDL_EXPECT(node->attribute[STDDEV] >= 0.0f, "stddev: expected at least 0");
    CDL_CHECK(cdl_check_seed(node, NOISE_SEED));
    return cdl_check_same(node);
}

static void add_noise(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                      size_t last, struct cdl_matrix from, struct cdl_output to) {
    const struct cdl_tensor *x = node->in[0];
    ctx->kernels->noise((last - first) * x->lines, x->width, cdl_node_key(node, ctx, NOISE_SEED),
                        (uint32_t)((ctx->first + first) * x->lines), node->attribute[STDDEV],
                        node->numbers[MULTIPLIES] != 0, from, to);
}

static void forward_noise(CDL_PASS) {
    if (ctx->training)
        add_noise(node, ctx, first, last, cdl_lines(node->in[0], first),
                  cdl_lines_to(node->out[0], first));
    else
        cdl_copy_values(node, ctx, first, last);
}

static void backward_noise(CDL_PASS) {
    if (node->numbers[MULTIPLIES] != 0)
        add_noise(node, ctx, first, last, cdl_grad_lines(node->out[0], first),
                  cdl_grad_lines_to(node->in[0], first));
    else
        cdl_copy_gradient(node, ctx, first, last);
}

const struct cdl_op cdl_op_noise = {
    .check = check_noise,
    .forward = forward_noise,
    .backward = backward_noise,
    .parts = CDL_BY_MICRO_BATCHES,
};
