/* whole.c - Lamb and Adafactor. */
#include "ops/whole.h"

#include <math.h>

static size_t floats_of(const struct cdl_trained *trained) {
    return cdl_param_floats(trained->param);
}

static float root_of_squares(const struct cdl_kernels *kernels, size_t n, const float *x) {
    double squares = 0.0;
    kernels->line_squares(n, x, &squares);
    return sqrtf((float)squares);
}

/* The direction that the elementwise row gives. */
static void direction(const struct cdl_trained *trained, const struct cdl_context *ctx, float *d) {
    const struct cdl_group *group = &ctx->optimizer.groups[trained->group];
    group->update(floats_of(trained), d, trained->gradient, trained->slots, group->derived);
}

/* w -= rate d, and d is lost. */
static void move(const struct cdl_trained *trained, const struct cdl_kernels *kernels, float rate,
                 float *d) {
    kernels->scale(floats_of(trained), -rate, d);
    kernels->add(floats_of(trained), d, trained->param->w);
}

/* You et al., 2019: a step as long as the weights, times the rate. */
static void lamb(const struct cdl_trained *trained, const struct cdl_context *ctx, float *d) {
    enum { RATE = 5 };
    const float *s = ctx->optimizer.groups[trained->group].derived;
    direction(trained, ctx, d);
    const float w_norm = root_of_squares(ctx->kernels, floats_of(trained), trained->param->w);
    const float d_norm = root_of_squares(ctx->kernels, floats_of(trained), d);
    const float ratio = w_norm > 0.0f && d_norm > 0.0f ? w_norm / d_norm : 1.0f;
    move(trained, ctx->kernels, ratio * s[RATE], d);
}

/* What adafactor_step derives. */
enum { KEEP, TAKE, EPSILON_1, RATE, EPSILON_2, CLIP };

/* The last part of Adafactor: a step in proportion to the weights, and no longer than the clip. */
static void adafactor_move(const struct cdl_trained *trained, const struct cdl_context *ctx,
                           float *d) {
    const float *s = ctx->optimizer.groups[trained->group].derived;
    const float count = (float)(trained->outer * trained->height * trained->width);
    const float root = sqrtf(count);
    const float w_rms = root_of_squares(ctx->kernels, floats_of(trained), trained->param->w) / root;
    const float d_rms = root_of_squares(ctx->kernels, floats_of(trained), d) / root;
    const float alpha = (w_rms > s[EPSILON_2] ? w_rms : s[EPSILON_2]) * s[RATE];
    const float over = d_rms / s[CLIP];
    move(trained, ctx->kernels, alpha / (over > 1.0f ? over : 1.0f), d);
}

static void adafactor(const struct cdl_trained *trained, const struct cdl_context *ctx, float *d) {
    direction(trained, ctx, d);
    adafactor_move(trained, ctx, d);
}

/* Scratch of the factored form: a float for each row, then one for each column. */
static size_t factors_floats(const struct cdl_trained *trained) {
    return cdl_round_up(trained->height, CDL_LINE) + cdl_round_up(trained->width, CDL_LINE);
}

/* mean[i] = keep mean[i] + take (sums[i] / n + epsilon); returns the sum of the means. */
static double blend_means(size_t count, const float *s, const float *sums, size_t n, float *mean) {
    double sum = 0.0;
    for (size_t i = 0; i < count; i++) {
        mean[i] = s[KEEP] * mean[i] + s[TAKE] * (sums[i] / (float)n + s[EPSILON_1]);
        sum += (double)mean[i];
    }
    return sum;
}

/* Shazeer and Stern, 2018: the mean squared gradients of rows and columns stand for those of the
 * elements, v[i, j] = row[i] column[j] / mean(row). */
static void adafactor_factored(const struct cdl_trained *trained, const struct cdl_context *ctx,
                               float *scratch) {
    enum { ROW, COLUMN, VELOCITY };
    const struct cdl_kernels *kernels = ctx->kernels;
    const float *s = ctx->optimizer.groups[trained->group].derived;
    const size_t height = trained->height, width = trained->width;
    float *by_row = scratch, *by_column = scratch + cdl_round_up(height, CDL_LINE);
    struct cdl_piece piece;
    for (size_t o = 0; o < trained->outer; o++) {
        float *row = trained->slots[ROW] + o * height, *column = trained->slots[COLUMN] + o * width;
        kernels->scale(factors_floats(trained), 0.0f, scratch);
        for (size_t j = 0; j < width; j += piece.live) {
            piece = cdl_piece_at(trained, o, j);
            const float *g = trained->gradient + piece.offset;
            kernels->row_squares(height, piece.live, g, piece.ld, by_row);
            kernels->column_squares(height, piece.live, g, piece.ld, by_column + j);
        }
        const double rows = blend_means(height, s, by_row, width, row);
        blend_means(width, s, by_column, height, column);
        const float mean = (float)(rows / (double)height);
        for (size_t i = 0; i < height; i++) by_row[i] = row[i] / mean;
        for (size_t j = 0; j < width; j += piece.live) {
            piece = cdl_piece_at(trained, o, j);
            kernels->divide_by_factors(height, piece.live, by_row, column + j,
                                       trained->slots[VELOCITY] + piece.offset,
                                       trained->gradient + piece.offset, piece.ld);
        }
    }
    adafactor_move(trained, ctx, trained->gradient);
}

static const struct cdl_whole lamb_row = {floats_of, lamb};
static const struct cdl_whole adafactor_row = {floats_of, adafactor};
static const struct cdl_whole adafactor_factored_row = {factors_floats, adafactor_factored};

const struct cdl_whole *const cdl_wholes[CDL_N_OPTIMIZERS] = {
    [CDL_OPTIMIZER_lamb] = &lamb_row,
    [CDL_OPTIMIZER_adafactor] = &adafactor_row,
    [CDL_OPTIMIZER_adafactor_factored] = &adafactor_factored_row,
    [CDL_OPTIMIZER_muon] = &cdl_whole_muon,
};
