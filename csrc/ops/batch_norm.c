/* batch_norm.c - y = gamma (x - mean) / sqrt(variance + epsilon) + beta on the last axis
 * (Ioffe and Szegedy, 2015).
 *
 * In training mean and variance (population) are those of the batch, over samples and lines, and
 * the moving ones follow: moving = momentum moving + (1 - momentum) batch. Otherwise, and if the
 * layer is frozen, they are the moving ones. A second input is a mask, one number a line: lines
 * with a 0 are left out of the statistics of the batch, and mapped like the others.
 *
 * With the last three params it is batch renormalization (Ioffe, 2017): with u = (x - mean) / s,
 * s = sqrt(variance + epsilon), and the renorm mean m and deviation t of the batches before,
 * y = gamma (r u + d) + beta for r = s / t and d = (mean - m) / t, both clipped, both constants
 * to the gradient. Then the moving deviation follows, and the moving variance is made from it.
 */
#include "ops/lanes.h"
#include "ops/op.h"
#include "products/blocks.h"

#include <math.h>

enum { FROZEN };                                            /* numbers */
enum { MOMENTUM, EPSILON };                                 /* attributes */
enum { RENORM_MOMENTUM, R_MIN, R_MAX, D_MAX, N_OF_RENORM }; /* data */
enum { GAMMA, BETA, MEAN, VARIANCE, DEVIATION, RENORM_MEAN, RENORM_DEVIATION, N_PARAMS };
/* params */

/* Scratch: columns of statistics, then the sums of blocks of samples. */
enum {
    MU,
    BATCH_VARIANCE,
    FACTOR,
    SHIFT,
    INVERSE,
    SUM_DY,
    SUM_PRODUCT,
    DX_A,
    DX_B,
    DX_C,
    R,
    D,
    N_COLUMNS
};

static size_t column_floats(const struct cdl_node *node) {
    return cdl_round_up(node->in[0]->width, CDL_LINE);
}

static float *column(const struct cdl_node *node, int which) {
    return node->scratch + (size_t)which * column_floats(node);
}

static bool uses_batch(const struct cdl_node *node, const struct cdl_context *ctx) {
    return ctx->training && node->numbers[FROZEN] == 0;
}

/* The blocks whose sums are added up: those of all processes, if statistics are of the batch. */
static struct cdl_joined_blocks blocks_of(const struct cdl_node *node,
                                          const struct cdl_context *ctx) {
    const size_t own = cdl_row_blocks(ctx->rows);
    if (cdl_joins(node, ctx) && uses_batch(node, ctx)) return cdl_joined_blocks(ctx);
    return (struct cdl_joined_blocks){own, 0, own};
}

/* Sums of block b of those, and behind them the number of lines that count; backward needs two
 * kinds at a time. */
static size_t sums_floats(const struct cdl_node *node) { return column_floats(node) + CDL_LINE; }

static float *block_sums(const struct cdl_node *node, const struct cdl_context *ctx, int kind,
                         size_t b) {
    const size_t blocks = blocks_of(node, ctx).all;
    return column(node, N_COLUMNS) + ((size_t)kind * blocks + b) * sums_floats(node);
}

static size_t scratch_floats(const struct cdl_node *node, size_t rows) {
    return N_COLUMNS * column_floats(node) + 2 * cdl_row_blocks(rows) * sums_floats(node);
}

static bool renormalizes(const struct cdl_node *node) { return node->n_data > 0; }

static const char *check(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const bool renorm = renormalizes(node);
    CDL_CHECK(cdl_check_alike(x, y));
    if (node->n_in > 1)
        CDL_EXPECT(node->in[1]->lines == x->lines && node->in[1]->width == 1,
                   "mask: expected a number for each line of x");
    CDL_EXPECT(!renorm || node->n_data == N_OF_RENORM,
               "renorm: expected none, or momentum and limits of the renormalization");
    for (int i = GAMMA; i < N_PARAMS; i++) {
        const struct cdl_param *param = node->param[i];
        CDL_EXPECT(param || (i > VARIANCE ? !renorm : i < MEAN),
                   "mean, variance: expected both, and what renormalization keeps if it is used");
        CDL_EXPECT(
            !param || i <= VARIANCE || renorm,
            "deviation, renorm_mean, renorm_deviation: expected none without renormalization");
        CDL_CHECK(
            cdl_check_row(param, x->width, "weights: expected a number for each column of x"));
    }
    return NULL;
}

/* The thread's part of the columns; the first takes all where the sums of other processes are to be
 * gathered. */
static struct cdl_range columns_of(const struct cdl_node *node, const struct cdl_context *ctx) {
    const size_t n = column_floats(node);
    if (!cdl_joins(node, ctx)) return cdl_own_blocks(ctx, CDL_LINE, n);
    return (struct cdl_range){0, ctx->thread == 0 ? n : 0};
}

static void gather(const struct cdl_node *node, const struct cdl_context *ctx, int kinds) {
    for (int kind = 0; kind < kinds && cdl_joins(node, ctx) && uses_batch(node, ctx); kind++)
        cdl_gather_blocks(ctx, block_sums(node, ctx, kind, 0), sums_floats(node));
}

/* Part of the columns that are not padding; nothing where all of it is. */
static struct cdl_range live(const struct cdl_node *node, struct cdl_range part) {
    const size_t last = cdl_min(part.last, node->in[0]->width);
    return (struct cdl_range){part.first, last > part.first ? last : part.first};
}

/* Adds up the blocks of one kind, in order; pads are 0, also where those of a block are NaN. */
static void add_blocks(const struct cdl_node *node, const struct cdl_context *ctx,
                       struct cdl_range part, int kind, float factor, float *sum) {
    const size_t blocks = blocks_of(node, ctx).all;
    const size_t n = live(node, part).last - part.first;
    memset(sum + part.first, 0, (part.last - part.first) * sizeof *sum);
    for (size_t b = 0; b < blocks; b++)
        ctx->kernels->add(n, block_sums(node, ctx, kind, b) + part.first, sum + part.first);
    ctx->kernels->scale(n, factor, sum + part.first);
}

/* 1 / the number of lines that count (with a mask + 1e-7, as Keras has it). */
static float per_line(const struct cdl_node *node, const struct cdl_context *ctx) {
    const size_t each = node->in[0]->lines, blocks = blocks_of(node, ctx).all;
    if (node->n_in == 1) return 1.0f / (float)(cdl_samples_joined(node, ctx) * (double)each);
    float count = 0.0f;
    for (size_t b = 0; b < blocks; b++) count += block_sums(node, ctx, 0, b)[column_floats(node)];
    return 1.0f / (count + 1e-7f);
}

/* Map y = (x - mean) factor + shift of some columns from their mean and variance. */
static void set_map(const struct cdl_node *node, struct cdl_range part, const float *mean,
                    const float *variance) {
    for (size_t j = part.first; j < part.last; j++) {
        const float inverse = 1.0f / sqrtf(variance[j] + node->attribute[EPSILON]);
        column(node, MU)[j] = mean[j];
        column(node, INVERSE)[j] = inverse;
        column(node, FACTOR)[j] = node->param[GAMMA] ? node->param[GAMMA]->w[j] * inverse : inverse;
        column(node, SHIFT)[j] = node->param[BETA] ? node->param[BETA]->w[j] : 0.0f;
    }
}

static void apply(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    ctx->kernels->standardize((last - first) * x->lines, x->width, cdl_lines(x, first),
                              column(node, MU), column(node, FACTOR), column(node, SHIFT),
                              cdl_lines_to(y, first));
}

/* The map of the moving statistics, where it is not that of the batch. */
static void derive(const struct cdl_node *node, const struct cdl_kernels *kernels) {
    const struct cdl_range all = {0, node->in[0]->width};
    set_map(node, all, node->param[MEAN]->w, node->param[VARIANCE]->w);
}
static bool follows(const struct cdl_node *node, bool training) {
    return !training || node->numbers[FROZEN] != 0;
}
static bool changes_params(const struct cdl_node *node) { return node->numbers[FROZEN] == 0; }

/* Lines [first, last): either all of them count or none. */
struct line_run {
    size_t first, last;
    bool counts;
};

/* The longest run from a line on. */
static struct line_run run_at(const struct cdl_node *node, size_t first, size_t last) {
    if (node->n_in == 1) return (struct line_run){first, last, true};
    const float *mask = node->in[1]->data;
    struct line_run run = {first, first + 1, mask[first] != 0.0f};
    while (run.last < last && (mask[run.last] != 0.0f) == run.counts) run.last++;
    return run;
}

/* Sums of lines about column `mean` or of the plain values. */
static void sum_lines(const struct cdl_node *node, const struct cdl_context *ctx,
                      struct line_run run, const float *mean, float *sums) {
    const struct cdl_tensor *x = node->in[0];
    const float *from = x->data + run.first * x->ld;
    const size_t lines = run.last - run.first;
    if (mean)
        ctx->kernels->column_deviations(lines, x->width, from, x->ld, mean, sums);
    else
        ctx->kernels->column_sums(lines, x->width, from, x->ld, sums);
}

/* Sums of the blocks of this thread's rows. Several runs in a block add up by way of the sums of
 * the second kind, which only backward needs. */
static void sum_blocks(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                       size_t last, const float *mean) {
    const size_t each = node->in[0]->lines;
    CDL_EACH_BLOCK(b, first, last) {
        const size_t begin = b.first * each, end = b.last * each;
        const size_t number = blocks_of(node, ctx).first + b.number;
        float *sums = block_sums(node, ctx, 0, number), *of_run = block_sums(node, ctx, 1, number);
        float *count = sums + column_floats(node);
        struct line_run run = run_at(node, begin, end);
        *count = (float)(run.counts ? run.last - run.first : 0);
        if (run.counts && run.last == end) {
            sum_lines(node, ctx, run, mean, sums);
            continue;
        }
        memset(sums, 0, column_floats(node) * sizeof(float));
        for (; run.first < end; run = run_at(node, run.last, end)) {
            if (run.counts) {
                if (run.first > begin) *count += (float)(run.last - run.first);
                sum_lines(node, ctx, run, mean, of_run);
                ctx->kernels->add(column_floats(node), of_run, sums);
            }
            if (run.last == end) break;
        }
    }
}

static float clip(double low, float x, double high) {
    return fminf(fmaxf(x, (float)low), (float)high);
}

/* The map of the batch with r and d in it. A deviation is at least sqrt(epsilon), as in Keras. */
static void renormalize(const struct cdl_node *node, struct cdl_range part) {
    const double *limits = node->data;
    const float least = sqrtf(node->attribute[EPSILON]);
    for (size_t j = part.first; j < part.last; j++) {
        const float deviation = fmaxf(node->param[RENORM_DEVIATION]->w[j], least);
        const float gamma = node->param[GAMMA] ? node->param[GAMMA]->w[j] : 1.0f;
        const float r = 1.0f / (column(node, INVERSE)[j] * deviation);
        const float d = (column(node, MU)[j] - node->param[RENORM_MEAN]->w[j]) / deviation;
        column(node, R)[j] = clip(limits[R_MIN], r, limits[R_MAX]);
        column(node, D)[j] = clip(-limits[D_MAX], d, limits[D_MAX]);
        column(node, FACTOR)[j] *= column(node, R)[j];
        column(node, SHIFT)[j] += gamma * column(node, D)[j];
    }
}

static void follow(struct cdl_param *param, size_t j, float keep, float to) {
    param->w[j] = param->w[j] * keep + to * (1.0f - keep);
}

/* The moving statistics follow the batches as they go forward, as Keras's do. */
static void follow_batch(const struct cdl_node *node, struct cdl_range part) {
    const float keep = node->attribute[MOMENTUM];
    const float renorm = renormalizes(node) ? (float)node->data[RENORM_MOMENTUM] : 0.0f;
    struct cdl_param *const *param = node->param;
    for (size_t j = part.first; j < part.last; j++) {
        const float mean = column(node, MU)[j], deviation = 1.0f / column(node, INVERSE)[j];
        follow(param[MEAN], j, keep, mean);
        if (!renormalizes(node)) {
            follow(param[VARIANCE], j, keep, column(node, BATCH_VARIANCE)[j]);
            continue;
        }
        follow(param[RENORM_MEAN], j, renorm, mean);
        follow(param[RENORM_DEVIATION], j, renorm, deviation);
        follow(param[DEVIATION], j, keep, deviation);
        const float moving = param[DEVIATION]->w[j];
        param[VARIANCE]->w[j] = fmaxf(moving * moving - node->attribute[EPSILON], 0.0f);
    }
}

static void sums(CDL_PASS) { sum_blocks(node, ctx, first, last, NULL); }

static void means(CDL_PASS) {
    const struct cdl_range part = columns_of(node, ctx);
    if (part.first >= part.last) return;
    gather(node, ctx, 1);
    add_blocks(node, ctx, part, 0, per_line(node, ctx), column(node, MU));
}

static void deviations(CDL_PASS) { sum_blocks(node, ctx, first, last, column(node, MU)); }

static void map_batch(CDL_PASS) {
    const struct cdl_range part = columns_of(node, ctx);
    if (part.first >= part.last) return;
    gather(node, ctx, 1);
    add_blocks(node, ctx, part, 0, per_line(node, ctx), column(node, BATCH_VARIANCE));
    set_map(node, live(node, part), column(node, MU), column(node, BATCH_VARIANCE));
    if (renormalizes(node)) renormalize(node, live(node, part));
    follow_batch(node, live(node, part));
}

/* With u = (x - mean) / sqrt(variance + epsilon) and N values a column:
 * dbeta = sum dy, dgamma = sum dy u, dx = factor (dy - dbeta / N - u dgamma / N); for a line that
 * does not count, dx = factor dy. With r and d, dgamma is r sum dy u + d dbeta. */
static void set_gradients(CDL_PASS) {
    const struct cdl_range part = columns_of(node, ctx);
    if (part.first >= part.last) return;
    gather(node, ctx, 2);
    add_blocks(node, ctx, part, 0, 1.0f, column(node, SUM_DY));
    add_blocks(node, ctx, part, 1, 1.0f, column(node, SUM_PRODUCT));
    const bool from_batch = uses_batch(node, ctx);
    const float per = from_batch ? per_line(node, ctx) : 0.0f;
    for (size_t j = part.first; j < live(node, part).last; j++) {
        const float factor = column(node, FACTOR)[j], per_row = factor * per;
        column(node, DX_A)[j] = factor;
        column(node, DX_B)[j] = -per_row * column(node, SUM_PRODUCT)[j] * column(node, INVERSE)[j];
        column(node, DX_C)[j] = -per_row * column(node, SUM_DY)[j];
        if (!from_batch || !renormalizes(node)) continue;
        column(node, SUM_PRODUCT)[j] = column(node, R)[j] * column(node, SUM_PRODUCT)[j] +
                                       column(node, D)[j] * column(node, SUM_DY)[j];
    }
}

static void lines_backward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    for (struct line_run run = {.last = first}; run.last < last;) {
        run = run_at(node, run.last, last);
        const size_t lines = run.last - run.first;
        const float *dy = y->grad + run.first * y->ld;
        float *dx = x->grad + run.first * x->ld;
        if (run.counts) {
            const float *const abc[] = {column(node, DX_A), column(node, DX_B), column(node, DX_C)};
            ctx->kernels->standardize_backward(
                lines, x->width, (struct cdl_matrix){x->data + run.first * x->ld, x->ld},
                column(node, MU), abc, (struct cdl_matrix){dy, y->ld},
                (struct cdl_output){dx, x->ld});
        } else {
            ctx->kernels->scale_columns(lines, x->width, dy, y->ld, column(node, DX_A), dx, x->ld);
        }
    }
}

static void backward(CDL_PASS) {
    const size_t lines = node->in[0]->lines;
    if (node->needs[0]) lines_backward(node, ctx, first * lines, last * lines);
}

static void sum_gradients(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    CDL_EACH_BLOCK(b, first, last) {
        const size_t lines = b.rows * y->lines;
        const size_t number = blocks_of(node, ctx).first + b.number;
        const float *dy = cdl_grad_rows(y, b.first);
        ctx->kernels->column_sums(lines, y->width, dy, y->ld, block_sums(node, ctx, 0, number));
        ctx->kernels->column_products(lines, y->width, (struct cdl_matrix){dy, y->ld},
                                      cdl_lines(x, b.first), column(node, MU),
                                      column(node, INVERSE), block_sums(node, ctx, 1, number));
    }
}

/* Gradient of beta or gamma by column j of the batch, or of a leaf's samples. With the statistics
 * of the batch the sums are those of all processes, and count once. */
static float gradient_at(const struct cdl_node *node, const struct cdl_context *ctx,
                         struct cdl_rows rows, const struct cdl_sink *to, int which, size_t j) {
    if (j >= node->in[0]->width) return 0.0f;
    if (uses_batch(node, ctx) || !(ctx->ranks && ctx->ranks->leaves)) {
        const bool counts = (cdl_counts_shared(ctx) && to->leaf == 0) || !uses_batch(node, ctx);
        return counts ? column(node, which == BETA ? SUM_DY : SUM_PRODUCT)[j] : 0.0f;
    }
    const size_t first = rows.first / CDL_ROW_BLOCK, last = first + cdl_row_blocks(rows.n);
    float sum = 0.0f;
    for (size_t b = first; b < last; b++) sum += block_sums(node, ctx, which != BETA, b)[j];
    return sum;
}

static void learn(const struct cdl_node *node, const struct cdl_context *ctx, struct cdl_rows rows,
                  const struct cdl_sink *to, int which) {
    float *g = ctx->scratch;
    if (!node->trained[which]) return;
    const struct cdl_range own = cdl_own(ctx, cdl_blocks(node->param[which]));
    for (size_t i = own.first; i < own.last; i++) {
        const struct cdl_block block = cdl_block_at(node->param[which], i);
        const size_t first = cdl_block_offset(node->param[which], block);
        for (size_t j = 0; j < block.rows * block.width; j++) /* in lanes there are many rows */
            g[j] = gradient_at(node, ctx, rows, to, which, first + j);
        cdl_learn(node->trained[which], ctx, to, block, g);
    }
}

static void update(CDL_UPDATE) {
    learn(node, ctx, rows, to, GAMMA);
    learn(node, ctx, rows, to, BETA);
}

const struct cdl_op cdl_op_batch_norm = {
    .check = check,
    .scratch_floats = scratch_floats,
    .derive = derive,
    .follows = follows,
    .number_flops = 20.0, /* sums, their deviations and the result: mostly waits for memory */
    .forward = {{sums, .trains = true, .sums = true},
                {means, CDL_THREADS, .trains = true},
                {deviations, .trains = true, .sums = true},
                {map_batch, CDL_THREADS, .trains = true},
                {apply}},
    .backward = {{sum_gradients, .sums = true}, {set_gradients, CDL_THREADS}, {backward}},
    .joins = true,
    .changes_params = changes_params,
    .update = update,
    .lanes = &cdl_lanes_columns,
    .bf16 = CDL_BF16_THROUGH_FLOATS,
    .parts = CDL_BY_ROWS,
};
