/* permute.c - the axes of a sample in another order.
 *
 * The numbers are the axes of x that become the axes of y, from 0: 1 0 transposes. All but two axes
 * are looped over; the last axis of y and the last axis of x make a matrix that is transposed, or a
 * line that is copied.
 */
#include "ops/lines.h"

static bool is_permutation(const int64_t *order, int n) {
    int seen = 0;
    for (int d = 0; d < n; d++) {
        if (order[d] < 0 || order[d] >= n) return false;
        seen |= 1 << (int)order[d];
    }
    return seen == (1 << n) - 1;
}

static const char *check(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const int64_t *order = node->numbers;
    CDL_EXPECT(!cdl_is_int(x), "x: expected floats");
    CDL_EXPECT(x->n_dims == y->n_dims && x->n_dims > 0, "output: expected as many axes as x");
    CDL_EXPECT(node->n_numbers == (size_t)x->n_dims && is_permutation(order, x->n_dims),
               "axes: expected each axis of x once");
    for (int d = 0; d < x->n_dims; d++)
        CDL_EXPECT(y->dims[d] == x->dims[(int)order[d]],
                   "output: expected the sizes of its axes in x");
    return NULL;
}

static void strides_of(const struct cdl_tensor *value, size_t strides[CDL_MAX_DIMS]) {
    size_t lines = 1;
    for (int d = value->n_dims - 1; d >= 0; d--) {
        const bool last = d == value->n_dims - 1;
        strides[d] = last ? 1 : lines * value->ld;
        if (!last) lines *= value->dims[d];
    }
}

/* The way through the axes of y, with strides in x and in y; and the axis that is the last of x. */
static struct cdl_walk walk_of(const struct cdl_node *node, int *inner) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    struct cdl_walk walk = {.n = x->n_dims};
    size_t in_x[CDL_MAX_DIMS];
    strides_of(x, in_x);
    strides_of(y, walk.to);
    for (int d = 0; d < walk.n; d++) {
        const int axis = (int)node->numbers[d];
        walk.size[d] = y->dims[d];
        walk.from[d] = in_x[axis];
        if (axis == x->n_dims - 1) *inner = d;
    }
    return walk;
}

/* Copies a sample along a walk. Axis `inner` has its elements side by side in `from`, and axis
 * `last` in `to`. */
static void copy_sample(const struct cdl_kernels *kernels, const struct cdl_walk *all, int inner,
                        int last, const float *from, float *to) {
    struct cdl_walk others = *all;
    struct cdl_place at = {0};
    others.size[inner] = others.size[last] = 1;
    do {
        if (inner == last)
            memcpy(to + at.to, from + at.from, all->size[last] * sizeof(float));
        else
            kernels->transpose(all->size[last], all->size[inner], from + at.from, all->from[last],
                               to + at.to, all->to[inner]);
    } while (cdl_next_place(&others, &at));
}

/* Moves samples [first, last) of values to the order of y, or (back) of gradients to that of x. */
static void move(CDL_PASS, bool back) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0], *value = back ? x : y;
    int inner = 0;
    const struct cdl_walk there = walk_of(node, &inner);
    struct cdl_walk walk = there;
    if (back) memcpy(walk.from, there.to, sizeof walk.from);
    if (back) memcpy(walk.to, there.from, sizeof walk.to);
    for (size_t i = first; i < last; i++) {
        float *to = back ? cdl_grad_rows(x, i) : cdl_rows(y, i);
        copy_sample(ctx->kernels, &walk, back ? walk.n - 1 : inner, back ? inner : walk.n - 1,
                    back ? cdl_grad_rows(y, i) : cdl_rows(x, i), to);
        cdl_clear_pads(value, to, value->lines);
    }
}

static void forward(CDL_PASS) { move(node, ctx, first, last, false); }
static void backward(CDL_PASS) { move(node, ctx, first, last, true); }

const struct cdl_op cdl_op_permute = {
    .check = check,
    .forward = forward,
    .backward = backward,
    .reads_back = cdl_reads_none,
    .parts = CDL_BY_MICRO_BATCHES,
};
