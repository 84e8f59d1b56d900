/* pool.c - the largest, the sum or the mean of each column within a window.
 *
 * The numbers are the window's (windows.h); with size 0 the places share the axis evenly, as in
 * adaptive pooling. Nothing outside the image counts, not even in a mean. The gradient of a maximum
 * goes to the first number that is equal to it. A maximum may be of bfloat16 where windows do not
 * overlap: fields then count floats' worth of memory, two numbers.
 */
#include "ops/windows.h"

enum { KIND, WINDOW }; /* numbers: a row of kernels/reduce.h, but for min and prod */

/* True if a number may lie in several windows. */
static bool overlap(const struct cdl_window *window) {
    bool any = false;
    for (int d = 0; d < CDL_AXES; d++) {
        const struct cdl_window_axis *axis = &window->axis[d];
        if (axis->taps == 0)
            any |= axis->image % axis->map != 0;
        else
            any |= axis->stride < (axis->taps - 1) * axis->dilation + 1;
    }
    return any;
}

/* True unless windows tile the image: a number may lie in none. */
static bool leave_gaps(const struct cdl_window *window) {
    bool any = false;
    for (int d = 0; d < CDL_AXES; d++) {
        const struct cdl_window_axis *axis = &window->axis[d];
        const bool fits = axis->before == 0 && axis->map * axis->stride == axis->image;
        any |= axis->taps > 0 && !(fits && axis->taps == axis->stride && axis->dilation == 1);
    }
    return any;
}

static const char *check(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const int kind = (int)node->numbers[KIND];
    CDL_EXPECT(kind != CDL_REDUCTION_min && kind != CDL_REDUCTION_prod,
               "kind: expected sum, mean or max");
    CDL_EXPECT(x->width == y->width, "output: expected as many columns as x");
    CDL_EXPECT(cdl_is_bf16(x) == cdl_is_bf16(y),
               "x, output: expected both to be of bfloat16, or none");
    CDL_CHECK(cdl_check_window(node, WINDOW));
    if (!cdl_is_bf16(x)) return NULL;
    const struct cdl_window window = cdl_window_of(node);
    CDL_EXPECT(kind == CDL_REDUCTION_max && !overlap(&window),
               "kind, window: expected max, and none that overlap, of bfloat16");
    return NULL;
}

/* Some 2 flops a number in a window, which may overlap. */
static double flops(const struct cdl_node *node) {
    const struct cdl_tensor *y = node->out[0];
    const struct cdl_window window = cdl_window_of(node);
    double numbers = 2.0 * (double)(y->lines * y->width);
    for (int d = 0; d < CDL_AXES; d++) {
        const struct cdl_window_axis *axis = &window.axis[d];
        numbers *= axis->taps ? (double)axis->taps : (double)axis->image / (double)axis->map;
    }
    return numbers;
}

/* Floats of small images that are walked together, so that a row of them is worth a call. */
enum { AT_A_TIME = 32768 };

struct pool_job {
    const struct cdl_node *node;
    const struct cdl_kernels *kernels;
    bool adds; /* windows overlap */
};

static float factor_of(const struct cdl_node *node, const struct cdl_taps *taps) {
    const size_t n = taps->n[0] * taps->n[1] * taps->n[2];
    return (int)node->numbers[KIND] == CDL_REDUCTION_mean && n ? 1.0f / (float)n : 1.0f;
}

static void reduce(void *who, const struct cdl_places *row) {
    const struct pool_job *job = who;
    const struct cdl_tensor *x = job->node->in[0];
    const size_t n = x->width;
    if (cdl_is_bf16(x))
        job->kernels->bf16_window_max(row->n, cdl_bf16_padded(n) / 2, &row->taps, row->from,
                                      row->from_step, row->to, row->to_step);
    else
        job->kernels->window_reduce((enum cdl_reduction)job->node->numbers[KIND], row->n, n,
                                    &row->taps, (struct cdl_matrix){row->from, row->from_step},
                                    (struct cdl_output){row->to, row->to_step});
}

/* The other way: a row is as in forward, of the values; gradients lie as far from their beginning
 * as values do. */
static void give(void *who, const struct cdl_places *row) {
    const struct pool_job *job = who;
    const struct cdl_tensor *x = job->node->in[0], *y = job->node->out[0];
    float *dx = x->grad + (row->from - x->data);
    const float *dy = y->grad + (row->to - y->data);
    const struct cdl_matrix from = {row->from, row->from_step}, to = {row->to, row->to_step};
    if (cdl_is_bf16(x))
        job->kernels->bf16_window_max_backward(row->n, cdl_bf16_padded(x->width) / 2, &row->taps,
                                               from, to, dy, dx);
    else if ((int)job->node->numbers[KIND] == CDL_REDUCTION_max)
        job->kernels->window_max_backward(row->n, x->width, &row->taps, from, to, dy, job->adds,
                                          dx);
    else
        job->kernels->window_sum_backward(row->n, x->width, &row->taps,
                                          factor_of(job->node, &row->taps),
                                          (struct cdl_matrix){dy, row->to_step}, job->adds,
                                          (struct cdl_output){dx, row->from_step});
}

/* Gradients of samples [first, last) before that of y is spread: those of a maximum's activation,
 * which are fewer now, and zeros where no window writes. */
static void begin_back(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                       size_t last) {
    const struct cdl_windowing *code = node->code;
    const struct cdl_tensor *x = node->in[0];
    if (node->dx_activation != CDL_ACTIVATION_linear)
        cdl_apply_gradient(node->out[0], node->dx_activation, node->dx_row_param, ctx, first, last);
    if (overlap(&code->window) || leave_gaps(&code->window) || x->width == 1)
        memset(cdl_grad_rows(x, first), 0, (last - first) * cdl_sample_floats(x) * sizeof(float));
}

static void walk(const struct cdl_window_pass *pass, size_t first, size_t last,
                 const struct cdl_band *band) {
    const struct cdl_node *node = pass->node;
    const struct cdl_windowing *code = node->code;
    const struct cdl_field image = cdl_field_of(node->in[0], node->in[0]->data, first);
    const struct cdl_field map = cdl_field_of(node->out[0], node->out[0]->data, first);
    const struct cdl_window_walk walk = {
        .window = &code->window, .spans = &code->to_map, .from = &image, .to = &map, .band = band};
    struct pool_job job = {node, pass->ctx->kernels, overlap(&code->window)};
    /* The order in which windows that overlap add their gradients is that of one sample. */
    const bool some = !job.adds && image.sample < AT_A_TIME;
    const size_t most = some ? AT_A_TIME / image.sample : 1;
    if (pass->back) begin_back(node, pass->ctx, first, last);
    for (size_t i = 0, n; i < last - first && !cdl_stopped(pass->ctx); i += n) {
        n = cdl_min(last - first - i, most);
        cdl_walk(&walk, i, n, pass->back ? give : reduce, &job);
    }
}

/* Backward windows may overlap: pieces are samples. */
static struct cdl_bands bands_of(const struct cdl_window_pass *pass, size_t rows) {
    return pass->back ? (struct cdl_bands){1, 1} : cdl_window_bands(pass, rows);
}

static void derive(const struct cdl_node *node, const struct cdl_kernels *kernels) {
    cdl_derive_windowing(node, walk, bands_of);
}

/* The largest number of a window is y, so a gradient of it is one of y. */
static bool applies_gradient(const struct cdl_node *node) {
    return (int)node->numbers[KIND] == CDL_REDUCTION_max;
}

const struct cdl_op cdl_op_pool = {
    .role = CDL_WINDOWS,
    .table = {"reductions", CDL_N_REDUCTIONS},
    .check = check,
    .code_bytes = cdl_windowing_bytes,
    .derive = derive,
    .flops = flops,
    .forward = cdl_window_forward,
    .backward = cdl_window_backward,
    .pieces = cdl_window_pieces,
    .run_pieces = cdl_run_window_pieces,
    .any_samples = true,
    .applies_gradient = applies_gradient,
    .bf16 = CDL_BF16_READ,
    .parts = CDL_BY_MICRO_BATCHES,
};
