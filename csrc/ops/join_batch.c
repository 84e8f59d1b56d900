/* join_batch.c - the samples of a batch as axis 0 of one shared value, and back: join_batch and
 * split_batch. The numbers lie as they did, sample behind sample. Both are for batches of as many
 * samples as that axis has; no other batch may run.
 */
#include <string.h>

#include "ops/op.h"

/* `part` is of a sample, `whole` is shared. */
static const char *check_parts(const struct cdl_tensor *part, const struct cdl_tensor *whole) {
    CDL_EXPECT(!part->shared && whole->shared, "expected a value of each sample and a shared one");
    CDL_EXPECT(!cdl_is_int(part) && !cdl_is_int(whole), "x, output: expected floats");
    CDL_EXPECT(whole->n_dims == part->n_dims + 1, "the shared value: expected one axis more");
    for (int d = 0; d < part->n_dims; d++)
        CDL_EXPECT(whole->dims[d + 1] == part->dims[d], "expected the axes of a sample behind it");
    return NULL;
}

static const char *check_join(const struct cdl_node *node) {
    return check_parts(node->in[0], node->out[0]);
}

static const char *check_split(const struct cdl_node *node) {
    return check_parts(node->out[0], node->in[0]);
}

/* Samples [first, last) from one to the other; zeros behind the last sample, where numbers are one
 * line of the shared value. */
static void copy(const struct cdl_tensor *x, const struct cdl_tensor *whole, size_t first,
                 size_t last, const float *from, float *to, bool joins) {
    const size_t n = whole->dims[0], each = x->row_floats;
    const size_t end = cdl_min(last, n);
    if (first < end)
        memcpy(to + first * each, from + first * each, (end - first) * each * sizeof *to);
    if (joins && end == n && x->n_dims == 0) memset(to + n, 0, (whole->ld - n) * sizeof *to);
}

static void join_forward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    copy(x, y, first, last, x->data, y->data, true);
}

static void join_backward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    copy(x, y, first, last, y->grad, x->grad, false);
}

static void split_forward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    copy(y, x, first, last, x->data, y->data, false);
}

static void split_backward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    copy(y, x, first, last, y->grad, x->grad, true);
}

const struct cdl_op cdl_op_join_batch = {
    .check = check_join,
    .forward = join_forward,
    .backward = join_backward,
    .reads_back = cdl_reads_none,
    .mixes = true,
};

const struct cdl_op cdl_op_split_batch = {
    .check = check_split,
    .forward = split_forward,
    .backward = split_backward,
    .reads_back = cdl_reads_none,
    .mixes = true,
};
