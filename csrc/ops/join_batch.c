/* join_batch.c - the samples of a batch as axis 0 of one shared value, and back: join_batch and
 * split_batch. The numbers lie as they did, sample behind sample. Both are for batches of as many
 * samples as that axis has; no other batch may run.
 */
#include "ops/op.h"

/* The value of each sample among the two of a node, and the shared one. */
static const struct cdl_tensor *part_of(const struct cdl_node *node) {
    return node->out[0]->shared ? node->in[0] : node->out[0];
}
static const struct cdl_tensor *whole_of(const struct cdl_node *node) {
    return node->out[0]->shared ? node->out[0] : node->in[0];
}

static const char *check(const struct cdl_node *node) {
    const struct cdl_tensor *part = part_of(node), *whole = whole_of(node);
    CDL_EXPECT(whole == (node->op == &cdl_op_join_batch ? node->out[0] : node->in[0]) &&
                   !part->shared && whole->shared,
               "expected a value of each sample and a shared one");
    CDL_EXPECT(!cdl_is_int(part) && !cdl_is_int(whole), "x, output: expected floats");
    CDL_EXPECT(whole->n_dims == part->n_dims + 1, "the shared value: expected one axis more");
    for (int d = 0; d < part->n_dims; d++)
        CDL_EXPECT(whole->dims[d + 1] == part->dims[d], "expected the axes of a sample behind it");
    return NULL;
}

/* Samples [first, last); zeros behind the last sample, where numbers are one line of the shared
 * value. */
static void copy(const struct cdl_node *node, size_t first, size_t last, const float *from,
                 float *to, bool joins) {
    const struct cdl_tensor *part = part_of(node), *whole = whole_of(node);
    const size_t n = whole->dims[0], each = part->row_floats, end = cdl_min(last, n);
    if (first < end)
        memcpy(to + first * each, from + first * each, (end - first) * each * sizeof *to);
    if (joins && end == n && part->n_dims == 0) memset(to + n, 0, (whole->ld - n) * sizeof *to);
}

static void forward(CDL_PASS) {
    copy(node, first, last, node->in[0]->data, node->out[0]->data, node->out[0]->shared);
}

static void backward(CDL_PASS) {
    copy(node, first, last, node->out[0]->grad, node->in[0]->grad, node->in[0]->shared);
}

#define ANY_WAY                                                                                    \
    .check = check, .forward = forward, .backward = backward, .reads_back = cdl_reads_none,        \
    .mixes = true
const struct cdl_op cdl_op_join_batch = {ANY_WAY};
const struct cdl_op cdl_op_split_batch = {ANY_WAY};
