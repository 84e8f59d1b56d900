/* kernels.h - the table of kernels that each ISA fills; its rows stand in kernels.def and in the
 * lists of activations, losses, metrics and optimizers. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/memory.h"
#include "base/param.h"
#include "base/rng.h"
#include "kernels/blocking.h"
#include "kernels/activations.h"
#include "kernels/contracts.h"
#include "kernels/convert.h"
#include "kernels/draw.h"
#include "kernels/elementwise.h"
#include "kernels/losses.h"
#include "kernels/metrics.h"
#include "kernels/optimizers.h"
#include "kernels/reduce.h"
#include "kernels/rowwise.h"
#include "kernels/search.h"

enum { CDL_MAX_ROW_PARAMS = 4 };

/* A matrix to read, and one to write: rows that are ld floats apart. */
struct cdl_matrix {
    const float *at;
    size_t ld;
};
struct cdl_output {
    float *at;
    size_t ld;
};

/* y = f(x); padded rows. */
typedef void cdl_activation_fn(size_t rows, size_t n, const float *x, size_t ldx, float *y,
                               size_t ldy, const float *p);
/* dx = dy * df(x, y); dx may be dy. */
typedef void cdl_activation_gradient_fn(size_t rows, size_t n, struct cdl_matrix x,
                                        struct cdl_matrix y, struct cdl_matrix dy,
                                        struct cdl_output dx, const float *p);

/* The runs that the k of a product comes in, one for each tap of a window: n of each axis, `a` and
 * `b` floats from one to the next in the factors, and k numbers in a run. */
struct cdl_taps {
    size_t n[3];
    ptrdiff_t a[3], b[3];
    size_t k;
    ptrdiff_t ahead; /* pairs: from each row of a to one of the next product's, or 0 */
};

/* A product c[m, n] = init + a b, n at most CDL_PANEL; init.ld 0: one row for all, a bias. */
struct cdl_product {
    size_t m, n, k;
    struct cdl_matrix a;
    bool transposed; /* a lies as its transpose: k rows of m numbers */
    struct cdl_matrix b, init;
    struct cdl_output c;
    const float *prefetch;         /* gemm_prefetch: memory for the next product */
    const struct cdl_taps *taps;   /* in place of k, for products of windows */
    bool cuts;                     /* but of pairs: what is negative becomes 0 (relu) */
    const ptrdiff_t *rows, *steps; /* gemm_offsets: a[i, q] is a.at[rows[i] + steps[q]], a.ld 0 */
};

/* A product c[m, n] = init + a b of bfloat16. a: m rows of k numbers, a multiple of CDL_BF16_LINE;
 * b: one or two panels of as many rows in pairs, `step` from one to the next; n: whole lines, at
 * most CDL_PANEL; init.ld 0: one row for all. c may be init. */
struct cdl_bf16_gemm {
    size_t m, n, k;
    const uint16_t *a;
    size_t lda;
    const uint32_t *b;
    size_t step;
    struct cdl_matrix init;
    struct cdl_output c;
};

/* Places of rows as lines, one for each tap of a row, tap along it, and column: line (t0, t1, t2)
 * has x[t . tap_step + row row_step + place place_step]. A register may be read and written behind
 * the last. */
struct cdl_unrolling {
    const float *x;
    size_t rows, row_step, places, place_step;
    size_t taps[3], tap_step[3];
    float *y;
    size_t ldy;
};

/* Windows of `places` places along one axis, as rows ldy apart: `taps` times a line of `width`
 * numbers of bfloat16, or zeros. Number `first` + place * step + tap * tap_step stands for line 1 /
 * by of it, of `lines` lines from x on, ld apart; x NULL: they see none. Up to CDL_BF16_LINE - 1
 * numbers of pads are written behind each line; they are those of x. */
struct cdl_bf16_seen {
    const uint16_t *x;
    size_t ld, width, places, taps;
    ptrdiff_t first, step, tap_step, by, lines;
    uint16_t *y;
    size_t ldy;
};

/* Kind of a row's target: as many numbers as predictions, a class (an int32) a line, a float a
 * line. */
enum cdl_target { CDL_TARGET_IS_VALUES, CDL_TARGET_IS_CLASSES, CDL_TARGET_IS_NUMBERS };

/* One call of a loss or metric kernel: `rows` lines of n predictions y against targets t. */
struct cdl_scoring {
    size_t rows, n;
    const float *y;
    size_t ldy;
    const void *t; /* lines of floats ldt apart, or one int32 a line */
    size_t ldt;
    const float *weight; /* line i has weight[i / lines], or 1 if NULL */
    size_t lines;        /* lines a weight */
    float scale;         /* of the gradients, before the weight */
    float *dy, *q;       /* out: gradients and probabilities, laid out as y; not for metrics */
    float *value;        /* out: one a line */
    const float *p;      /* the row's parameters */
    bool across; /* element j of CDL_LINE lines is a line of y, dy, q and t: 1 < n <= CDL_LINE */
};
typedef void cdl_scoring_fn(const struct cdl_scoring *s);

/* The CTC loss of one sample: `steps` lines of n raw scores, `labels` class numbers; dy, laid out
 * as y, gets `scale` times the gradients unless it is NULL. scratch: cdl_ctc_floats. */
struct cdl_ctc {
    size_t steps, n;
    const float *y;
    size_t ldy, labels;
    const int32_t *t;
    float scale, *scratch, *loss, *dy;
};
/* Floats of a row of states, and of the scratch of one sample. */
static inline size_t cdl_ctc_row(size_t labels) { return cdl_round_up(labels + 1, CDL_LINE); }
static inline size_t cdl_ctc_floats(size_t steps, size_t ldy, size_t labels) {
    return cdl_round_up(steps * ldy, CDL_LINE) + (3 * steps + 8) * cdl_ctc_row(labels);
}

/* Dropout of an element: x scale + shift if its random bits are below `keep`, else `dropped`. */
struct cdl_drop {
    uint32_t keep;
    float scale, shift, dropped;
};

/* How a line's factor is made: 1 / sqrt(variance + epsilon), 1 / sqrt(mean square + epsilon), or
 * 1 / max(norm, epsilon). */
enum cdl_measure { CDL_BY_VARIANCE, CDL_BY_MEAN_SQUARE, CDL_BY_NORM };

/* One call of normalize_forward or normalize_backward, over lines of n numbers. */
struct cdl_normalizing {
    size_t n, ldx, ldy;
    enum cdl_measure measure;
    bool subtracts_mean;
    float epsilon;
    const float *x, *gamma, *beta; /* gamma, beta: n and pads */
    float *means, *factors;        /* one a line: written by forward, read by backward */
    float *y;
    const float *dy;
    float *dx;                    /* laid out as x; or NULL */
    float *dgamma, *dbeta;        /* the sums over these lines: n and pads */
    size_t gamma_step, beta_step; /* in lanes: floats to that of the next element, or 0 */
};

/* Lines that a product with integers takes at a time, and columns of a panel (base/param.h). */
enum { CDL_INT_LINES = 48, CDL_INT_PANEL = 64 };

/* y = x W + bias with W of k rows of integers, of eight or four bits, in words (integers.h). An
 * integer q of column c is q / scale[c], or (q - zero[g, c]) scale[g, c] in group g of rows. */
typedef void cdl_int_tiles_fn(size_t rows, size_t words, const float *x, size_t ldx, const float *b,
                              size_t width, float *to);
struct cdl_int_product {
    size_t rows, k, n, ldx, ldy;
    size_t bits, block; /* of an integer; rows of a group, k if there is one */
    size_t words;       /* of a column: cdl_int_depth, and the sum of its bytes, if one group */
    bool dynamic;       /* lines of x become integers first: bytes, one group */
    float low, high, epsilon;                 /* how: within [low, high] */
    const float *x, *w, *scale, *zero, *bias; /* zero, bias: or NULL; with zero no pads */
    cdl_int_tiles_fn
        *tiles;         /* sums of lines of bytes by a panel, in rows of it; NULL: by registers */
    float *y, *scratch; /* cdl_int_floats of each of CDL_INT_LINES lines */
};

/* Words of that many integers of a column; and of all rows, group by group. */
static inline size_t cdl_int_words(size_t rows, size_t bits) { return (rows * bits + 31) / 32; }
static inline size_t cdl_int_depth(size_t k, size_t block, size_t bits) {
    return k / block * cdl_int_words(block, bits) + cdl_int_words(k % block, bits);
}
/* Integer k of a word: its bits are brought so far to the left, and all to the right then. */
static inline int cdl_int_left(size_t bits, size_t k) {
    return (int)(bits == 8 ? 24 - 8 * k : k < 4 ? 28 - 8 * k : 56 - 8 * k);
}
static inline int32_t cdl_int_of(const float *word, size_t bits, size_t k) {
    uint32_t all;
    memcpy(&all, word, sizeof all);
    return (int32_t)(all << cdl_int_left(bits, k)) >> (32 - bits);
}
/* Floats of a line whose groups are filled up; and those, what a register may write behind, and the
 * groups' sums, or the line's bytes. */
static inline size_t cdl_int_spread(const struct cdl_int_product *p) {
    return cdl_int_depth(p->k, p->block, p->bits) * 32 / p->bits + CDL_LINE;
}
static inline size_t cdl_int_floats(const struct cdl_int_product *p) {
    const size_t groups = (p->k + p->block - 1) / p->block;
    return cdl_round_up(p->dynamic ? p->k / 4 + CDL_LINE : cdl_int_spread(p) + groups, CDL_LINE);
}

/* A product c[m, n] = init + a b of CDL_LINE models, of which each has a lane: an element is a
 * line, and strides are in lines. init_column 0: one element for all. */
struct cdl_lanes_product {
    size_t m, n, k;
    const float *a, *b, *init;
    size_t a_row, a_step, b_step, b_column, init_column; /* of a step along k */
    float *c;                                            /* rows of n elements */
    bool rest_is_last; /* dots: what k has behind whole lines is in the last of sixteen chains */
    bool cuts;         /* what is negative becomes 0 (relu) */
    const float *y;    /* or NULL; laid out as c, which becomes 0 where y is (relu's gradient) */
    /* Or NULL; of the same b and n: its columns are made while those of b are in L1. */
    const struct cdl_lanes_product *beside;
};

/* Rows of packed floats of models in lanes: row r of lane l is at data + order[r] * stride. */
struct cdl_lane_rows {
    const char *data[CDL_LINE];
    const int64_t *order[CDL_LINE];
    ptrdiff_t stride[CDL_LINE];
};

/* Keys of models in lanes (base/rng.h). */
struct cdl_lane_keys {
    uint32_t a[CDL_LINE], b[CDL_LINE];
};

/* w, g and slots: n floats, whole lines or a single column; s: what NAME_step derived. */
typedef void cdl_update_fn(size_t n, float *w, const float *g, float *const *slots, const float *s);

/* Steps with a gradient of 0: what NAME_step derived of each, and its rate, `stride` floats apart;
 * the decay of a step is its rate times `decay`. Of n floats, whole lines. */
struct cdl_rests {
    const float *derived, *rates;
    size_t stride, steps;
    float decay;
};
typedef void cdl_rest_fn(size_t n, float *w, float *const *slots, const struct cdl_rests *rests);

/* n elements of a caller's array, `step` bytes apart. */
typedef void cdl_convert_fn(size_t n, const char *from, ptrdiff_t step, float *to);
typedef void cdl_convert_int_fn(size_t n, const char *from, ptrdiff_t step, int32_t *to);

struct cdl_kernels {
    const char *isa;
    size_t tile_rows;      /* of the widest tile */
    size_t line_registers; /* that hold CDL_LINE floats */
    bool tiles;            /* gemm_bf16 is faster than products of floats */
    struct cdl_blocking *blocking;
#define KERNEL(NAME, ARGS) void(*NAME) ARGS;
#include "kernels/kernels.def"
#undef KERNEL
    cdl_activation_fn *activation[CDL_N_ACTIVATIONS];
    cdl_activation_gradient_fn *activation_gradient[CDL_N_ACTIVATIONS];
    cdl_activation_fn *rowwise[CDL_N_ROWWISE];
    cdl_activation_gradient_fn *rowwise_gradient[CDL_N_ROWWISE];
    cdl_scoring_fn *loss[CDL_N_LOSSES];
    cdl_scoring_fn *metric[CDL_N_METRICS];
    cdl_update_fn *update[CDL_N_OPTIMIZERS];
    cdl_update_fn *update_lanes[CDL_N_OPTIMIZERS]; /* of lines, with a line of each of s */
    cdl_rest_fn *rest[CDL_N_OPTIMIZERS];           /* NULL for rows that do not rest */
    cdl_convert_fn *convert[CDL_N_DTYPES];
    cdl_convert_int_fn *convert_int[CDL_N_DTYPES];
};

/* Rows of c to multiply together, of those that are left: a rest of less than a tile joins the rows
 * before it. By itself it is as many waits as a tile: of 32 rows by blocks of 30, two took 12 %. */
static inline size_t cdl_rows_together(const struct cdl_kernels *kernels, size_t left) {
    const size_t rows = kernels->blocking->rows;
    return left < rows + kernels->tile_rows && left <= CDL_MOST_ROWS ? left : cdl_min(left, rows);
}
