/* unpack.c - integers of eight or four bits, packed in words (kernels/integers.h), as floats. */
#include "ops/op.h"

enum { BITS }; /* numbers */

static const char *check(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    CDL_EXPECT(!cdl_is_int(x) && !cdl_is_int(y), "x, output: expected floats");
    CDL_EXPECT(node->numbers[BITS] == 8 || node->numbers[BITS] == 4, "bits: expected 8 or 4");
    CDL_EXPECT(x->lines == y->lines && y->width == x->width * (32 / (size_t)node->numbers[BITS]),
               "output: expected the lines of x, and the integers of its words");
    return NULL;
}

/* Floats, of integers that a word has from its low bits on; of eight halves of bytes the low ones
 * first. */
static void forward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                    size_t last) {
    (void)ctx;
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const int bits = (int)node->numbers[BITS], each = 32 / bits;
    for (size_t line = first * x->lines; line < last * x->lines; line++) {
        const uint32_t *words = (const uint32_t *)(const void *)(x->data + line * x->ld);
        float *to = y->data + line * y->ld;
        for (size_t g = 0; g < x->width; g++) {
            for (int k = 0; k < each; k++) {
                const int low = bits == 8 || k < 4 ? 8 * k : 8 * k - 28;
                *to++ = (float)((int32_t)(words[g] << (32 - bits - low)) >> (32 - bits));
            }
        }
        for (size_t j = y->width; j < cdl_padded(y->width); j++) *to++ = 0.0f;
    }
}

const struct cdl_op cdl_op_unpack = {
    .check = check,
    .forward = forward,
    .splits = true,
    .any_samples = true,
};
