/* encode.c - numbers of tokens made into lines with a column for each token.
 *
 * one_hot: a line for each number, with a 1 in its column. Otherwise a line for each line of x: a 1
 * in the column of each token that is there, or (counts) how often it is, each time with the weight
 * that the second input has in its place. What is no token's number counts nowhere. No gradient.
 */
#include "ops/op.h"

enum { ONE_HOT, COUNTS }; /* numbers */

static const char *check(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const struct cdl_tensor *weight = node->n_in > 1 ? node->in[1] : NULL;
    const size_t lines = node->numbers[ONE_HOT] != 0 ? x->lines * x->width : x->lines;
    CDL_EXPECT(!cdl_is_int(x), "x: expected floats");
    CDL_EXPECT(y->lines == lines,
               "output: expected a line for each line of x, or (one_hot) number");
    CDL_EXPECT(!weight || (cdl_same_shape(weight, x) && !cdl_is_int(weight)),
               "weights: expected floats of the shape of x");
    CDL_EXPECT(y->width <= CDL_EXACT, "output: expected at most 2^24 columns");
    return NULL;
}

/* Column j of y for a number, or y's width if there is none. */
static size_t token_of(float number, size_t width) {
    return number >= 0.0f && number < (float)width ? (size_t)number : width;
}

static void forward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const bool one_hot = node->numbers[ONE_HOT] != 0;
    const bool counts = node->numbers[COUNTS] != 0;
    const float *from = cdl_rows(x, first);
    const float *weight = node->n_in > 1 ? cdl_rows(node->in[1], first) : NULL;
    float *to = cdl_rows(y, first);
    memset(to, 0, (last - first) * y->lines * y->ld * sizeof(float));
    for (size_t l = first * x->lines; l < last * x->lines; l++) {
        for (size_t j = 0; j < x->width; j++) {
            const size_t token = token_of(from[j], y->width);
            const float one = weight ? weight[j] : 1.0f;
            if (token < y->width) to[token] = counts ? to[token] + one : 1.0f;
            if (one_hot) to += y->ld;
        }
        from += x->ld;
        if (weight) weight += node->in[1]->ld;
        if (!one_hot) to += y->ld;
    }
}

const struct cdl_op cdl_op_encode = {
    .check = check,
    .forward = forward,
};
