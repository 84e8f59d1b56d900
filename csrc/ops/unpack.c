/* unpack.c - integers of eight or four bits, packed in words (kernels/integers.h), as floats. */
#include "ops/lines.h"

enum { BITS }; /* numbers */

static const char *check(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    CDL_EXPECT(!cdl_is_int(x) && !cdl_is_int(y), "x, output: expected floats");
    CDL_EXPECT(node->numbers[BITS] == 8 || node->numbers[BITS] == 4, "bits: expected 8 or 4");
    CDL_EXPECT(x->lines == y->lines && y->width == x->width * (32 / (size_t)node->numbers[BITS]),
               "output: expected the lines of x, and the integers of its words");
    return NULL;
}

static void forward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const size_t bits = (size_t)node->numbers[BITS], each = 32 / bits;
    for (size_t line = first * x->lines; line < last * x->lines; line++) {
        const float *words = x->data + line * x->ld;
        float *to = y->data + line * y->ld;
        for (size_t k = 0; k < y->width; k++)
            to[k] = (float)cdl_int_of(words + k / each, bits, k % each);
    }
    cdl_clear_pads(y, cdl_rows(y, first), (last - first) * y->lines);
}

const struct cdl_op cdl_op_unpack = {
    .check = check,
    .forward = forward,
    .any_samples = true,
    .parts = CDL_BY_MICRO_BATCHES,
};
