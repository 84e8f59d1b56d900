/* tally.c - a metric that counts: a state of sums to which each batch adds.
 *
 * Inputs: prediction, target, and (optionally) weights, one a sample, a line or a prediction.
 * forward() writes to scratch, for the lines of its thread, the index of the sum that each
 * prediction adds to (its cell, or -1 for none), or its count; report() adds up, in the order of
 * the lines.
 */
#include "ops/tally.h"

#include <math.h>

#include "kernels/math.h"
#include "ops/scoring.h"

enum { KIND };                                      /* numbers */
enum { THRESHOLDS, LABEL_WEIGHTS };                 /* params, of the confusions only */
enum { TOP_K, CLASS_ID, BY_LABEL, FROM_LOGITS };    /* of their rows */
enum { CLASSES, IGNORED, WHOLE, MATRIX_THRESHOLD }; /* of the matrices' rows */

static int32_t *notes_of(const struct cdl_node *node, size_t line) {
    return (int32_t *)(void *)node->scratch + line * node->in[0]->width;
}

static double weight_of(const struct cdl_node *node, size_t line, size_t j) {
    const struct cdl_tensor *y = node->in[0], *w = node->in[2];
    if (node->n_in < 3) return 1.0;
    const size_t at = w->lines == 1 ? line / y->lines : line;
    return (double)w->data[at * w->ld + (w->width == 1 ? 0 : j)];
}

/* ---- confusion: how many of T ascending thresholds the predictions exceed ---------------------
 *
 * State: for each label (or for all together) T + 1 sums of the weights of negative targets, then
 * T + 1 of positive ones; sum b is that of predictions which exceed b thresholds. */

static size_t n_thresholds(const struct cdl_node *node) { return node->param[THRESHOLDS]->cols; }

static size_t confusion_doubles(const struct cdl_node *node) {
    const size_t labels = node->row_param[BY_LABEL] != 0.0f ? node->in[0]->width : 1;
    return 2 * labels * (n_thresholds(node) + 1);
}

static const char *check_confusion(const struct cdl_node *node) {
    const struct cdl_param *thresholds = node->param[THRESHOLDS];
    const size_t n = node->in[0]->width;
    CDL_EXPECT(thresholds && !thresholds->matrix && thresholds->cols >= 1,
               "thresholds: expected at least one");
    CDL_CHECK(cdl_check_row(node->param[LABEL_WEIGHTS], n,
                            "label_weights: expected a number for each label"));
    CDL_EXPECT(node->row_param[CLASS_ID] >= -1.0f && node->row_param[CLASS_ID] < (float)n,
               "class_id: expected a column of the predictions, or -1");
    CDL_EXPECT(node->row_param[TOP_K] >= 0.0f, "top_k: expected at least 0");
    CDL_EXPECT(confusion_doubles(node) < INT32_MAX, "thresholds: expected fewer, or fewer labels");
    return NULL;
}

/* With thresholds i / (n - 1): ceil(p (n - 1)), p clipped to [0, 1] and NaN as 0; this is how Keras
 * rounds. A first threshold below 0 is always exceeded. */
static size_t even_bucket(size_t n, const float *thresholds, float p) {
    const float low = p > 0.0f ? p : 0.0f;
    const float scaled = (low < 1.0f ? low : 1.0f) * (float)(n - 1);
    const size_t whole = (size_t)scaled;
    const size_t above = whole + ((float)whole < scaled ? 1 : 0);
    return thresholds[0] < 0.0f && above == 0 ? 1 : above;
}

/* Sets the notes of the k largest of a line to 1 and the others to 0: of equals the first are in,
 * and NaN never is. */
static void note_top(size_t n, size_t k, const float *y, int32_t *notes) {
    for (size_t j = 0; j < n; j++) notes[j] = 0;
    size_t last = n;
    for (size_t taken = 0; taken < k && taken < n; taken++) {
        size_t best = n;
        for (size_t j = 0; j < n; j++) {
            const bool left =
                last == n ? y[j] == y[j] : y[j] < y[last] || (y[j] == y[last] && j > last);
            if (left && (best == n || y[j] > y[best])) best = j;
        }
        if (best == n) return;
        notes[best] = 1;
        last = best;
    }
}

static void note_confusion(const struct cdl_node *node, const float *y, const float *t,
                           int32_t *notes) {
    const bool even = (int)node->numbers[KIND] == CDL_TALLY_even_confusion;
    const bool by_label = node->row_param[BY_LABEL] != 0.0f;
    const bool from_logits = node->row_param[FROM_LOGITS] != 0.0f;
    const size_t top_k = (size_t)node->row_param[TOP_K], n = node->in[0]->width;
    const size_t n_sums = n_thresholds(node) + 1;
    const float *thresholds = node->param[THRESHOLDS]->w;
    const int class_id = (int)node->row_param[CLASS_ID];
    if (top_k > 0) note_top(n, top_k, y, notes);
    for (size_t j = 0; j < n; j++) {
        const float score = from_logits ? 1.0f / (1.0f + exp_f(-y[j])) : y[j];
        const float p =
            top_k > 0 && !notes[j] ? -1e10f : score; /* below all thresholds, as Keras */
        const size_t exceeded = even ? even_bucket(n_sums - 1, thresholds, p)
                                     : cdl_count_below(n_sums - 1, thresholds, p, false);
        const size_t group = 2 * (by_label ? j : 0) + (t[j] != 0.0f ? 1 : 0);
        notes[j] = (int32_t)(group * n_sums + exceeded);
        if (class_id >= 0 && j != (size_t)class_id) notes[j] = -1;
    }
}

static void add_confusion(const struct cdl_node *node, size_t line, double *state) {
    const struct cdl_param *of_label = node->param[LABEL_WEIGHTS];
    const int32_t *cells = notes_of(node, line);
    for (size_t j = 0; j < node->in[0]->width; j++) {
        if (cells[j] < 0) continue;
        state[cells[j]] += weight_of(node, line, j) * (of_label ? (double)of_label->w[j] : 1.0);
    }
}

/* ---- matrices: weights by target class (row) and predicted class (column) -------------------- */

static size_t matrix_doubles(const struct cdl_node *node) {
    const size_t n = (size_t)node->row_param[CLASSES];
    return n * n;
}

static const char *check_matrix(const struct cdl_node *node) {
    CDL_EXPECT(node->row_param[CLASSES] >= 1.0f && node->row_param[CLASSES] < 32768.0f,
               "classes: expected 1 to 32767");
    return NULL;
}

/* True if a number is a class; if `whole`, it is first truncated, as by a cast. */
static bool is_class(const struct cdl_node *node, float number) {
    const bool whole = node->row_param[WHOLE] != 0.0f;
    return (whole ? number > -1.0f : number >= 0.0f) && number < node->row_param[CLASSES];
}

static int32_t cell_of(const struct cdl_node *node, float target, float predicted) {
    if (!is_class(node, target) || !is_class(node, predicted)) return -1;
    if (truncf(target) == node->row_param[IGNORED]) return -1;
    return (int32_t)target * (int32_t)node->row_param[CLASSES] + (int32_t)predicted;
}

static void note_classes(const struct cdl_node *node, const float *y, const float *t,
                         int32_t *notes) {
    const float threshold = node->row_param[MATRIX_THRESHOLD]; /* NaN: predictions are classes */
    for (size_t j = 0; j < node->in[0]->width; j++) {
        const float positive = y[j] >= threshold ? 1.0f : 0.0f;
        notes[j] = cell_of(node, t[j], threshold == threshold ? positive : y[j]);
    }
}

static void note_largest(const struct cdl_node *node, const float *y, const float *t,
                         int32_t *notes) {
    const size_t n = node->in[0]->width;
    const bool one_hot = (int)node->numbers[KIND] == CDL_TALLY_one_hot_matrix;
    notes[0] = cell_of(node, one_hot ? (float)cdl_argmax(n, t) : t[0], (float)cdl_argmax(n, y));
    for (size_t j = 1; j < n; j++) notes[j] = -1;
}

static void add_matrix(const struct cdl_node *node, size_t line, double *state) {
    const int32_t *cells = notes_of(node, line);
    for (size_t j = 0; j < node->in[0]->width; j++) {
        const double w = weight_of(node, line, j);
        if (cells[j] >= 0) state[cells[j]] += node->row_param[WHOLE] != 0.0f ? trunc(w) : w;
    }
}

/* ---- f_score: for each label the weighted sums of predictions (0 or 1), targets, and products --
 *
 * A threshold of 0 means that the largest of a line is 1, unless it is nothing. */

static size_t f_score_doubles(const struct cdl_node *node) { return 3 * node->in[0]->width; }

static void note_positive(const struct cdl_node *node, const float *y, const float *t,
                          int32_t *notes) {
    const size_t n = node->in[0]->width;
    const float threshold = node->row_param[0], top = y[cdl_argmax(n, y)];
    for (size_t j = 0; j < n; j++) {
        notes[j] = threshold > 0.0f ? y[j] > threshold : y[j] >= top && fabsf(y[j]) > 1e-9f;
    }
}

static void add_f_score(const struct cdl_node *node, size_t line, double *state) {
    const struct cdl_tensor *t = node->in[1];
    const int32_t *positive = notes_of(node, line);
    const size_t n = t->width;
    for (size_t j = 0; j < n; j++) {
        const double w = weight_of(node, line, j), target = w * (double)t->data[line * t->ld + j];
        state[j] += positive[j] ? w : 0.0;
        state[n + j] += target;
        state[2 * n + j] += positive[j] ? target : 0.0;
    }
}

/* ---- r2_score: for each label the weighted sums of targets, their squares, squared errors, and
 * weights; then the number of targets ---------------------------------------------------------- */

static size_t r2_score_doubles(const struct cdl_node *node) { return 4 * node->in[0]->width + 1; }

static void add_r2_score(const struct cdl_node *node, size_t line, double *state) {
    const struct cdl_tensor *y = node->in[0], *t = node->in[1];
    const size_t n = y->width;
    for (size_t j = 0; j < n; j++) {
        const double w = weight_of(node, line, j), target = (double)t->data[line * t->ld + j];
        const double error = target - (double)y->data[line * y->ld + j];
        state[j] += w * target;
        state[n + j] += w * target * target;
        state[2 * n + j] += w * error * error;
        state[3 * n + j] += w;
    }
    state[4 * n] += (double)n;
}

/* ---- the rows and the op --------------------------------------------------------------------- */

static const struct row {
    const char *(*check)(const struct cdl_node *node); /* or NULL */
    size_t (*doubles)(const struct cdl_node *node);
    void (*note)(const struct cdl_node *node, const float *y, const float *t, int32_t *notes);
    void (*add)(const struct cdl_node *node, size_t line, double *state);
} rows[CDL_N_TALLIES] = {
    [CDL_TALLY_confusion] = {check_confusion, confusion_doubles, note_confusion, add_confusion},
    [CDL_TALLY_even_confusion] = {check_confusion, confusion_doubles, note_confusion,
                                  add_confusion},
    [CDL_TALLY_class_matrix] = {check_matrix, matrix_doubles, note_classes, add_matrix},
    [CDL_TALLY_one_hot_matrix] = {check_matrix, matrix_doubles, note_largest, add_matrix},
    [CDL_TALLY_number_matrix] = {check_matrix, matrix_doubles, note_largest, add_matrix},
    [CDL_TALLY_f_score] = {NULL, f_score_doubles, note_positive, add_f_score},
    [CDL_TALLY_r2_score] = {NULL, r2_score_doubles, NULL, add_r2_score},
};

#define TARGET_OF(NAME, TARGET, PARAMS) [CDL_TALLY_##NAME] = CDL_TARGET_IS_##TARGET,
static const enum cdl_target targets[CDL_N_TALLIES] = {CDL_TALLIES(TARGET_OF)};

static const struct row *row_of(const struct cdl_node *node) {
    return &rows[(int)node->numbers[KIND]];
}

static const char *check(const struct cdl_node *node) {
    const int kind = (int)node->numbers[KIND];
    const struct cdl_tensor *y = node->in[0], *w = node->in[2];
    CDL_CHECK(cdl_check_target(targets[kind], y, node->in[1]));
    if (node->n_in > 2 && !(cdl_same_shape(w, y) && !cdl_is_int(w)))
        CDL_CHECK(cdl_check_weights(y, w));
    return rows[kind].check ? rows[kind].check(node) : NULL;
}

static size_t scratch_floats(const struct cdl_node *node, size_t n_rows) {
    return n_rows * node->in[0]->lines * node->in[0]->width;
}

static void forward(CDL_PASS) {
    const struct cdl_tensor *y = node->in[0], *t = node->in[1];
    if (!row_of(node)->note) return;
    for (size_t line = first * y->lines; line < last * y->lines; line++)
        row_of(node)->note(node, y->data + line * y->ld, t->data + line * t->ld,
                           notes_of(node, line));
}

static void report(const struct cdl_node *node, const struct cdl_context *ctx, double *state) {
    for (size_t line = 0; line < ctx->rows * node->in[0]->lines; line++)
        row_of(node)->add(node, line, state);
}

static size_t state_doubles(const struct cdl_node *node) { return row_of(node)->doubles(node); }

const struct cdl_op cdl_op_tally = {
    .table = {"tallies", CDL_N_TALLIES},
    .check = check,
    .scratch_floats = scratch_floats,
    .forward = forward,
    .report = report,
    .state_doubles = state_doubles,
    .parts = CDL_BY_MICRO_BATCHES,
};
