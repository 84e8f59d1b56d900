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

enum { DROPOUT, PATTERNED, NOISE }; /* rows */

enum { RATE };            /* attributes of dropout */
enum { SEED, USER_DRAW }; /* numbers of dropout */

enum { DROPOUT_RATE, SCALE, SHIFT, DROPPED };     /* attributes of patterned_dropout */
enum { COMMON, DROPOUT_SEED, DROPOUT_USER_DRAW }; /* numbers of patterned_dropout */

enum { STDDEV };                                  /* attributes of noise */
enum { MULTIPLIES, NOISE_SEED, NOISE_USER_DRAW }; /* numbers of noise */

static const int seeds[] = {[DROPOUT] = SEED, [PATTERNED] = DROPOUT_SEED, [NOISE] = NOISE_SEED};

static const char *check(const struct cdl_node *node) {
    const int row = node->op->row;
    const float rate = node->attribute[RATE];
    CDL_EXPECT(row != NOISE || rate >= 0.0f, "stddev: expected at least 0");
    CDL_EXPECT(row == NOISE || (rate >= 0.0f && rate <= 1.0f), "rate: expected 0 to 1");
    CDL_CHECK(cdl_check_seed(node, seeds[row]));
    CDL_EXPECT(row != PATTERNED ||
                   (node->numbers[COMMON] >= 0 && node->numbers[COMMON] < 2 << node->in[0]->n_dims),
               "common: expected a bit for the batch and for each axis");
    return cdl_check_same(node);
}

/* Writes noisy samples [first, last), or (back) gradients; false: they are to be copied. */
typedef bool change_fn(CDL_PASS, struct cdl_key key, struct cdl_matrix from, struct cdl_output to,
                       bool back);

static struct cdl_drop drop_of(const struct cdl_node *node) {
    const double kept = 1.0 - (double)node->attribute[RATE];
    return (struct cdl_drop){cdl_keep_of(kept), cdl_keep_scale(kept), 0.0f, 0.0f};
}

static bool drop(CDL_PASS, struct cdl_key key, struct cdl_matrix from, struct cdl_output to,
                 bool back) {
    const struct cdl_tensor *x = node->in[0];
    const struct cdl_drop drop = drop_of(node);
    if (node->attribute[RATE] <= 0.0f) return false;
    ctx->kernels->dropout((last - first) * x->lines, x->width, key,
                          (uint32_t)((ctx->first + first) * x->lines), &drop, from, to);
    return true;
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

static bool drop_pattern(CDL_PASS, struct cdl_key key, struct cdl_matrix from, struct cdl_output to,
                         bool back) {
    const struct cdl_tensor *x = node->in[0];
    const unsigned common = (unsigned)node->numbers[COMMON];
    const bool as_one = x->n_dims > 0 && (common >> x->n_dims & 1);
    const struct cdl_drop drop = {cdl_keep_of(1.0 - (double)node->attribute[DROPOUT_RATE]),
                                  node->attribute[SCALE], back ? 0.0f : node->attribute[SHIFT],
                                  back ? 0.0f : node->attribute[DROPPED]};
    for (size_t i = first; i < last; i++) {
        for (size_t l = 0; l < x->lines; l++, from.at += from.ld, to.at += to.ld) {
            const uint32_t row = (uint32_t)pattern_line(x, common, ctx->first + i, l);
            ctx->kernels->drop_line(x->width, key, row, as_one, &drop, from.at, to.at);
        }
    }
    return true;
}

static bool add_noise(CDL_PASS, struct cdl_key key, struct cdl_matrix from, struct cdl_output to,
                      bool back) {
    const struct cdl_tensor *x = node->in[0];
    const bool multiplies = node->numbers[MULTIPLIES] != 0;
    if (back && !multiplies) return false;
    ctx->kernels->noise((last - first) * x->lines, x->width, key,
                        (uint32_t)((ctx->first + first) * x->lines), node->attribute[STDDEV],
                        multiplies, from, to);
    return true;
}

static change_fn *const changes[] = {drop, drop_pattern, add_noise};

static bool change_samples(CDL_PASS, struct cdl_matrix from, struct cdl_output to, bool back) {
    const int row = node->op->row;
    const struct cdl_key key = cdl_node_key(node, ctx, seeds[row]);
    return changes[row](node, ctx, first, last, key, from, to, back);
}

static bool drop_lanes(CDL_PASS, struct cdl_matrix from, struct cdl_output to, bool back) {
    const struct cdl_drop drop = drop_of(node);
    if (node->attribute[RATE] <= 0.0f) return false;
    ctx->kernels->lanes_dropout(last - first, node->in[0]->lines, node->code,
                                (uint32_t)(ctx->first + first), &drop, from.at, to.at);
    return true;
}

/* By members: samples of each lane lie CDL_LINE rows apart. */
static bool change_members(CDL_PASS, struct cdl_matrix from, struct cdl_output to, bool back) {
    const struct cdl_lane_keys *keys = node->code;
    const size_t ld = from.ld, to_ld = to.ld;
    bool changed = true;
    from.ld *= CDL_LINE, to.ld *= CDL_LINE;
    for (size_t l = 0; l < CDL_LINE && changed; l++, from.at += ld, to.at += to_ld)
        changed = changes[node->op->row](node, ctx, first / CDL_LINE, last / CDL_LINE,
                                         (struct cdl_key){keys->a[l], keys->b[l]}, from, to, back);
    return changed;
}

/* A change by the keys of the node. */
typedef bool change_all_fn(CDL_PASS, struct cdl_matrix from, struct cdl_output to, bool back);

static void change_values(CDL_PASS, change_all_fn *change) {
    if (!ctx->training || !change(node, ctx, first, last, cdl_lines(node->in[0], first),
                                  cdl_lines_to(node->out[0], first), false))
        cdl_copy_values(node, ctx, first, last);
}

static void change_gradient(CDL_PASS, change_all_fn *change) {
    if (!change(node, ctx, first, last, cdl_grad_lines(node->out[0], first),
                cdl_grad_lines_to(node->in[0], first), true))
        cdl_copy_gradient(node, ctx, first, last);
}

#define PASSES(NAME, CHANGE)                                                                       \
    static void forward##NAME(CDL_PASS) { change_values(node, ctx, first, last, CHANGE); }         \
    static void backward##NAME(CDL_PASS) { change_gradient(node, ctx, first, last, CHANGE); }
PASSES(, change_samples)
PASSES(_lanes, drop_lanes)
PASSES(_members, change_members)

#define LANES(VIEW, SEED_NUMBER, NAME)                                                             \
    (&(const struct cdl_lanes_op){.view = VIEW,                                                    \
                                  .draws = true,                                                   \
                                  .seed = SEED_NUMBER,                                             \
                                  .forward = forward##NAME,                                        \
                                  .backward = backward##NAME})

#define CHANGE(ROW)                                                                                \
    .row = ROW, .check = check, .forward = forward, .backward = backward,                          \
    .reads_back = cdl_reads_none, .parts = CDL_BY_MICRO_BATCHES
const struct cdl_op cdl_op_dropout = {CHANGE(DROPOUT),
                                      .lanes = LANES(CDL_BY_ELEMENTS, SEED, _lanes),
                                      .bf16 = CDL_BF16_THROUGH_FLOATS};
const struct cdl_op cdl_op_patterned_dropout = {
    CHANGE(PATTERNED), .lanes = LANES(CDL_BY_MEMBERS, DROPOUT_SEED, _members)};
const struct cdl_op cdl_op_noise = {CHANGE(NOISE),
                                    .lanes = LANES(CDL_BY_MEMBERS, NOISE_SEED, _members)};
