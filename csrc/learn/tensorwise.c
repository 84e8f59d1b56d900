/* tensorwise.c - Lamb and Adafactor. */
#include "learn/tensorwise.h"

#include <math.h>

/* Lamb (You et al., 2019): a step as long as the weights, times the rate. */
static float lamb(const struct cdl_trained *trained, const float *s,
                  const struct cdl_squares *squares) {
    const float w_norm = (float)sqrt(squares->w), d_norm = (float)sqrt(squares->d);
    return (w_norm > 0.0f && d_norm > 0.0f ? w_norm / d_norm : 1.0f) * s[LAMB_RATE];
}

/* Adafactor: a step in proportion to the weights, and no longer than the clip. */
static float adafactor(const struct cdl_trained *trained, const float *s,
                       const struct cdl_squares *squares) {
    const float root = sqrtf((float)(trained->outer * trained->height * trained->width));
    const float w_rms = (float)sqrt(squares->w) / root, d_rms = (float)sqrt(squares->d) / root;
    const float over = d_rms / s[ADAFACTOR_CLIP];
    return (w_rms > s[ADAFACTOR_EPSILON_2] ? w_rms : s[ADAFACTOR_EPSILON_2]) * s[ADAFACTOR_RATE] /
           (over > 1.0f ? over : 1.0f);
}

/* Scratch of the factored form: a float for each row, then one for each column. */
static size_t factors_floats(const struct cdl_trained *trained) {
    return cdl_round_up(trained->height, CDL_LINE) + cdl_round_up(trained->width, CDL_LINE);
}

/* mean[i] = keep mean[i] + take (sums[i] / n + epsilon), at most CDL_MOST_SQUARE, since sums of
 * squares may be infinite where no gradient is; returns the sum of the means. */
static double blend_means(size_t count, const float *s, const float *sums, size_t n, float *mean) {
    double sum = 0.0;
    for (size_t i = 0; i < count; i++) {
        mean[i] = s[ADAFACTOR_KEEP] * mean[i] +
                  s[ADAFACTOR_TAKE] * (sums[i] / (float)n + s[ADAFACTOR_EPSILON_1]);
        if (mean[i] > CDL_MOST_SQUARE) mean[i] = CDL_MOST_SQUARE;
        sum += (double)mean[i];
    }
    return sum;
}

/* Factored form (Shazeer and Stern, 2018): the mean squared gradients of rows and columns stand for
 * those of the elements, v[i, j] = row[i] column[j] / mean(row). */
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
        memset(scratch, 0, factors_floats(trained) * sizeof *scratch);
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
    const size_t n = cdl_param_floats(trained->param);
    struct cdl_squares squares = {0};
    kernels->squares(n, trained->param->w, &squares.w);
    kernels->squares(n, trained->gradient, &squares.d);
    kernels->scale(n, -adafactor(trained, s, &squares), trained->gradient);
    kernels->add(n, trained->gradient, trained->param->w);
}

const struct cdl_tensorwise *const cdl_tensorwise_rules[CDL_N_OPTIMIZERS] = {
    [CDL_OPTIMIZER_lamb] = &(const struct cdl_tensorwise){.reach = lamb},
    [CDL_OPTIMIZER_adafactor] = &(const struct cdl_tensorwise){.reach = adafactor},
    [CDL_OPTIMIZER_adafactor_factored] = &(
        const struct cdl_tensorwise){.learn = adafactor_factored, .scratch_floats = factors_floats},
    [CDL_OPTIMIZER_muon] = &cdl_tensorwise_muon,
};
