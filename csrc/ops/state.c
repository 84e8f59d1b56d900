/* state.c - states kept between batches, in a weight with a row for each sample of a batch. Sample
 * s reads and then writes row s, which sample s of the next batch reads, in training, evaluation
 * and prediction alike. No gradient goes from batch to batch.
 *
 * Predictions go in batches of the rows that the program was built for then, and a thread has the
 * same places of all of them.
 */
#include "ops/lines.h"

enum { WEIGHT }; /* params */

static const char *check(const struct cdl_node *node) {
    const struct cdl_tensor *value = node->n_in ? node->in[0] : node->out[0];
    const struct cdl_param *w = node->param[WEIGHT];
    CDL_EXPECT(w && !w->matrix, "weight: expected one that is no matrix");
    CDL_EXPECT(!value->shared && !cdl_is_int(value), "x, output: expected floats of each sample");
    CDL_EXPECT(w->cols % (value->lines * value->width) == 0,
               "weight: expected the shape of a sample for each sample of a batch");
    return NULL;
}

static void recall(CDL_PASS) {
    const struct cdl_tensor *y = node->out[0];
    const size_t floats = y->lines * y->width, samples = node->param[WEIGHT]->cols / floats;
    for (size_t s = first; s < last; s++)
        cdl_unpack(y, node->param[WEIGHT]->w + s % samples * floats, y->lines, cdl_rows(y, s));
}

static void retain(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0];
    const size_t floats = x->lines * x->width, samples = node->param[WEIGHT]->cols / floats;
    for (size_t s = first; s < last && s < samples; s++)
        cdl_pack(x, cdl_rows(x, s), x->lines, node->param[WEIGHT]->w + s * floats);
}

const struct cdl_op cdl_op_recall = {.check = check, .forward = recall};

const struct cdl_op cdl_op_retain = {
    .role = CDL_STATE,
    .check = check,
    .forward = retain,
    .changes_params = cdl_always,
};
