/* depthwise_conv.c - y = f(b + x * W) column by column: each of x is convolved by a kernel of its
 * own.
 *
 * x is (image..., c), y (map..., c) and W any array of window x c numbers, tap by tap: a plain row
 * of memory, no matrix. Kernels for more columns than x has read x with each column repeated. The
 * numbers are the window's (windows.h). Weights are copied to whole lines, a tap each, before they
 * are used; their gradients are sums over boxes of places, as those of conv.c.
 */
#include "ops/windows.h"
#include "products/boxes.h"

enum { ACTIVATION, WINDOW };                        /* numbers */
enum { KERNEL, BIAS, GAMMA, BETA, MEAN, VARIANCE }; /* params, the last four to fold (op.h) */

static const char *check(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const struct cdl_param *w = node->param[KERNEL];
    CDL_CHECK(cdl_check_window(node, WINDOW));
    CDL_EXPECT(x->width == y->width, "output: expected as many columns as x");
    const struct cdl_window window = cdl_window_of(node);
    double numbers = (double)x->width;
    for (int d = 0; d < CDL_AXES; d++) numbers *= (double)window.axis[d].taps;
    CDL_EXPECT(w && !w->matrix && numbers >= 1.0 && (double)w->cols == numbers,
               "kernel: expected a number for each tap and column");
    return cdl_check_row(node->param[BIAS], y->width,
                         "bias: expected a number for each column of the output");
}

static double flops(const struct cdl_node *node) {
    return 2.0 * (double)node->out[0]->lines * (double)node->param[KERNEL]->cols;
}

static size_t taps_of(const struct cdl_node *node) {
    return node->param[KERNEL]->cols / node->in[0]->width;
}

/* The weights, a line a tap, or their sums; and a line beside. */
static size_t thread_floats(const struct cdl_node *node, size_t rows, bool training) {
    const size_t sums = (taps_of(node) + 1) * cdl_padded(node->in[0]->width);
    return CDL_THREAD_SCRATCH + cdl_round_up(sums, CDL_LINE);
}

struct depthwise_job {
    const struct cdl_context *ctx;
    const struct cdl_node *node;
    const float *init;
    float *weights;
    struct cdl_epilogue epilogue;
    const float *to; /* where the first sample is written, and `y` of the epilogue begins */
};

/* `rows` lines of n numbers. */
static void finish(const struct depthwise_job *job, size_t rows, size_t n, float *line, size_t ld) {
    cdl_finish(job->ctx->kernels, &job->epilogue, rows, n, (size_t)(line - job->to), line, ld, ld);
}

static void multiply(void *who, const struct cdl_places *row) {
    const struct depthwise_job *job = who;
    const struct cdl_kernels *kernels = job->ctx->kernels;
    const size_t n = job->node->in[0]->width;
    kernels->window_weighted(row->n, n, &row->taps, (struct cdl_matrix){row->from, row->from_step},
                             job->weights + row->weights, job->init,
                             (struct cdl_output){row->to, row->to_step});
    if (job->epilogue.activation == CDL_ACTIVATION_linear) return;
    if (n > 1 || row->to_step == 1) {
        finish(job, row->n, n, row->to, row->to_step);
        return;
    }
    for (size_t i = 0; i < row->n; i++) finish(job, 1, 1, row->to + i * row->to_step, 1);
}

/* Samples [first, last), or a band of one, from one field to the other. */
static void convolve(const struct cdl_window_pass *pass, size_t first, size_t last,
                     const struct cdl_band *band) {
    const struct cdl_node *node = pass->node;
    const struct cdl_windowing *code = node->code;
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const struct cdl_field image = cdl_field_of(x, pass->back ? x->grad : x->data, first);
    const struct cdl_field map = cdl_field_of(y, pass->back ? y->grad : y->data, first);
    const struct cdl_param *w = node->param[KERNEL], *b = pass->back ? NULL : node->param[BIAS];
    const size_t n = x->width, each = cdl_padded(n), taps = taps_of(node);
    float *scratch = pass->ctx->scratch;
    memset(scratch, 0, (taps + 1) * each * sizeof(float));
    for (size_t t = 0; t < taps; t++) memcpy(scratch + t * each, w->w + t * n, n * sizeof(float));
    if (b) memcpy(scratch + taps * each, b->w, n * sizeof(float));
    struct depthwise_job job = {.ctx = pass->ctx,
                                .node = node,
                                .init = scratch + taps * each,
                                .weights = scratch,
                                .epilogue = pass->back ? cdl_activation_gradient_of(node, first)
                                                       : cdl_activation_of(node),
                                .to = pass->back ? image.lines : map.lines};
    const struct cdl_window_walk walk = {.window = &code->window,
                                         .spans = pass->back ? &code->to_image : &code->to_map,
                                         .from = pass->back ? &map : &image,
                                         .to = pass->back ? &image : &map,
                                         .each = each,
                                         .band = band};
    for (size_t i = 0; i < last - first && !cdl_stopped(pass->ctx); i++)
        cdl_walk(&walk, i, 1, multiply, &job);
}

static void derive(const struct cdl_node *node, const struct cdl_kernels *kernels) {
    cdl_derive_windowing(node, convolve, cdl_window_bands);
}

/* Sums of the weights of taps [first, last). */
struct tap_sums {
    const struct cdl_kernels *kernels;
    const struct cdl_window *window;
    struct cdl_field x, dy;
    size_t first, last;
    float *g;
};

/* So few columns and taps at a time that what a box has of them stays in L1. */
enum { COLUMNS = 32, TAPS = 16 };

static void add_taps(const struct tap_sums *sums, const struct cdl_box *box, size_t first,
                     size_t n) {
    const struct cdl_field *x = &sums->x, *dy = &sums->dy;
    const float *from = dy->lines + cdl_box_offset(dy, box);
    struct cdl_pairs pairs[TAPS];
    bool sees[TAPS];
    for (size_t t = 0; t < n; t++)
        sees[t] = cdl_pairs_of(sums->window, box, first + t, x, dy, &pairs[t]);
    for (size_t j = 0; j < x->columns; j += COLUMNS) {
        const size_t columns = cdl_min(x->columns - j, COLUMNS);
        for (size_t t = 0; t < n; t++) {
            if (!sees[t]) continue;
            sums->kernels->window_weights_gradient(
                x->columns == 1 ? 1 : cdl_round_up(columns, CDL_LINE), &pairs[t].taps,
                x->lines + pairs[t].image + (ptrdiff_t)j, pairs[t].image_step,
                from + pairs[t].map + j, pairs[t].map_step,
                sums->g + (first + t - sums->first) * cdl_padded(x->columns) + j);
        }
    }
}

static void add_box(void *who, const struct cdl_box *box) {
    const struct tap_sums *sums = who;
    for (size_t tap = sums->first, n; tap < sums->last; tap += n) {
        n = cdl_min(sums->last - tap, TAPS);
        add_taps(sums, box, tap, n);
    }
}

/* Learning goes by blocks of the row of weights, which taps have parts of. */
static void learn(const struct cdl_node *node, const struct cdl_context *ctx, struct cdl_rows rows,
                  const struct cdl_sink *to, const struct cdl_window *window,
                  const struct cdl_field *dy, struct cdl_range own) {
    float *scratch = ctx->scratch;
    const struct cdl_param *w = node->param[KERNEL];
    const size_t n = node->in[0]->width, each = cdl_padded(n);
    const size_t end = cdl_min(own.last * CDL_PANEL, w->cols);
    struct tap_sums sums = {.kernels = ctx->kernels,
                            .window = window,
                            .x = cdl_field_of(node->in[0], node->in[0]->data, rows.first),
                            .dy = *dy,
                            .first = own.first * CDL_PANEL / n,
                            .last = (end + n - 1) / n,
                            .g = scratch + CDL_THREAD_SCRATCH};
    memset(sums.g, 0, (sums.last - sums.first) * each * sizeof(float));
    cdl_each_box(window, ctx, rows.n, NULL, add_box, &sums);
    if (cdl_stopped(ctx)) return;
    for (size_t i = own.first; i < own.last; i++) {
        const struct cdl_block block = cdl_block_at(w, i);
        for (size_t j = 0; j < block.width; j++) {
            const size_t at = block.column + j, tap = at / n;
            scratch[j] = at < w->cols ? sums.g[(tap - sums.first) * each + at % n] : 0.0f;
        }
        cdl_learn(node->trained[KERNEL], ctx, to, block, scratch);
    }
}

static void update(CDL_UPDATE) {
    const struct cdl_windowing *code = node->code;
    const struct cdl_field dy = cdl_field_of(node->out[0], node->out[0]->grad, rows.first);
    const struct cdl_range own = cdl_own(ctx, cdl_blocks(node->param[KERNEL]));
    if (node->trained[KERNEL] && own.first < own.last)
        learn(node, ctx, rows, to, &code->window, &dy, own);
    cdl_learn_columns(node->trained[BIAS], ctx, rows.n, to, &dy);
}

const struct cdl_op cdl_op_depthwise_conv = {
    .role = CDL_WINDOWS,
    .table = {"activations", CDL_N_ACTIVATIONS},
    .check = check,
    .code_bytes = cdl_windowing_bytes,
    .derive = derive,
    .folds = CDL_FOLDS_COLUMNS,
    .flops = flops,
    .thread_floats = thread_floats,
    .forward = cdl_window_forward,
    .backward = cdl_window_backward,
    .update = update,
    .pieces = cdl_window_pieces,
    .run_pieces = cdl_run_window_pieces,
    .take_gradient = cdl_take_gradient,
    .any_samples = true,
    .absorbs_gradient = true,
    .applies_gradient = cdl_always,
    .parts = CDL_BY_MICRO_BATCHES,
};
