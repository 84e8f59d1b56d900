/* reshape.c - the same numbers in other lines: Flatten, Reshape. Where they lie in the same places,
 * the output is the memory of the input (program/build.c, link.c), and nothing is to be done. */
#include "ops/op.h"

static const char *check(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    CDL_EXPECT(x->lines * x->width == y->lines * y->width,
               "output: expected as many elements as x");
    return NULL;
}

/* Copies one sample between two ways to cut it into lines; pads of `to` become 0. */
static void copy_sample(const struct cdl_tensor *x, const float *from, const struct cdl_tensor *y,
                        float *to) {
    size_t line = 0, column = 0;
    for (size_t l = 0; l < y->lines; l++, to += y->ld) {
        for (size_t done = 0; done < y->width;) {
            const size_t left = x->width - column;
            const size_t n = cdl_min(left, y->width - done);
            memcpy(to + done, from + line * x->ld + column, n * sizeof(float));
            done += n;
            column += n;
            if (column == x->width) line++, column = 0;
        }
        for (size_t j = y->width; j < cdl_padded(y->width); j++) to[j] = 0.0f;
    }
}

static bool lie_alike(const struct cdl_tensor *x, const struct cdl_tensor *y) {
    return x->lines == y->lines || (x->ld == x->width && y->ld == y->width);
}

bool cdl_is_renaming(const struct cdl_node *node) {
    if (node->op != &cdl_op_reshape || node->arithmetic == CDL_THROUGH_FLOATS) return false;
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    return !cdl_is_int(x) && x->dtype == y->dtype && x->shared == y->shared && lie_alike(x, y);
}

/* Copies n samples: by one call where both layouts are alike; nothing if the memory is the same. */
static void copy_samples(size_t n, const struct cdl_tensor *x, const float *from,
                         const struct cdl_tensor *y, float *to) {
    if (to == from) return;
    if (lie_alike(x, y)) {
        memcpy(to, from, n * y->lines * y->ld * sizeof(float));
        return;
    }
    for (size_t i = 0; i < n; i++, from += x->lines * x->ld, to += y->lines * y->ld)
        copy_sample(x, from, y, to);
}

static void forward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    copy_samples(last - first, x, cdl_rows(x, first), y, cdl_rows(y, first));
}

static void backward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    copy_samples(last - first, y, cdl_grad_rows(y, first), x, cdl_grad_rows(x, first));
}

const struct cdl_op cdl_op_reshape = {
    .check = check,
    .forward = forward,
    .backward = backward,
    .reads_back = cdl_reads_none,
    .bf16 = CDL_BF16_THROUGH_FLOATS,
    .parts = CDL_BY_MICRO_BATCHES,
};
