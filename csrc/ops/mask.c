/* mask.c - lines in which all numbers equal a given one are masked: y = x, or 0 in such a line; the
 * second output is 1 for each line that counts and 0 for each that is masked. */
#include "ops/op.h"

enum { VALUE };    /* attributes */
enum { KEPT, OF }; /* outputs */

static const char *check(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const struct cdl_tensor *mask = node->out[OF];
    CDL_CHECK(cdl_check_alike(x, y));
    CDL_EXPECT(mask->lines == x->lines && mask->width == 1,
               "second output: expected a number for each line of x");
    return NULL;
}

static bool counts(const float *line, size_t n, float value) {
    bool any = false;
    for (size_t j = 0; j < n; j++) any |= line[j] != value;
    return any;
}

static void keep(bool kept, const float *from, size_t floats, float *to) {
    if (kept)
        memcpy(to, from, floats * sizeof(float));
    else
        memset(to, 0, floats * sizeof(float));
}

static void forward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[KEPT];
    for (size_t l = first * x->lines; l < last * x->lines; l++) {
        const float *line = x->data + l * x->ld;
        const bool kept = counts(line, x->width, node->attribute[VALUE]);
        node->out[OF]->data[l] = kept ? 1.0f : 0.0f;
        keep(kept, line, x->ld, y->data + l * y->ld);
    }
}

static void backward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[KEPT];
    for (size_t l = first * x->lines; l < last * x->lines; l++)
        keep(node->out[OF]->data[l] != 0.0f, y->grad + l * y->ld, x->ld, x->grad + l * x->ld);
}

const struct cdl_op cdl_op_mask = {
    .check = check,
    .forward = forward,
    .backward = backward,
};
