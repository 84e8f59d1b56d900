/* muon.c - Muon (Jordan et al., 2024): steps along the nearest orthogonal matrix to the momentum.
 *
 * With X the direction, at most as tall as it is wide and of norm 1, each round is
 * X = a X + b (X X^T) X + c (X X^T)^2 X = P X with P = a I + M A, M = b I + c A, A = X X^T. A, M
 * and P are symmetric, so that each product is one of the kind u^T v, which the kernels have; the
 * first needs X^T beside X.
 */
#include <math.h>

#include "learn/tensorwise.h"

/* Matrices in scratch: rows are whole lines with zeros behind the last column. */
struct rounds {
    size_t height, width;     /* of X: height <= width */
    size_t ld, ldt;           /* of X, and of X^T, A, M, P */
    float *x, *next, *xt;     /* X, the next X, X^T */
    float *gram, *m, *p;      /* A, M, P */
    float *zeros;             /* a row */
    float *d;                 /* the direction, laid out as the parameter */
    const float *coefficient; /* a, b, c */
};

static size_t lay_out(const struct cdl_trained *trained, float *scratch, struct rounds *r) {
    r->height = cdl_min(trained->height, trained->width);
    r->width = cdl_max(trained->height, trained->width);
    r->ld = cdl_round_up(r->width, CDL_LINE);
    r->ldt = cdl_round_up(r->height, CDL_LINE);
    const size_t sizes[] = {r->height * r->ld,
                            r->height * r->ld,
                            r->width * r->ldt,
                            r->height * r->ldt,
                            r->height * r->ldt,
                            r->height * r->ldt,
                            r->ld,
                            cdl_param_floats(trained->param)};
    float **const places[] = {&r->x, &r->next, &r->xt, &r->gram, &r->m, &r->p, &r->zeros, &r->d};
    size_t floats = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        *places[i] = scratch ? scratch + floats : NULL;
        floats += cdl_round_up(sizes[i], CDL_LINE);
    }
    return floats;
}

static size_t scratch_floats(const struct cdl_trained *trained) {
    struct rounds r;
    return lay_out(trained, NULL, &r);
}

/* Coefficients for the usual five rounds. */
static double flops(const struct cdl_trained *trained) {
    const double height = (double)cdl_min(trained->height, trained->width);
    const double width = (double)cdl_max(trained->height, trained->width);
    return 5.0 * 2.0 * height * height * (height + 2.0 * width);
}

/* Product c[n, v.ld] = u^T v of `rows` rows, until the watch stops it. */
static void product(const struct cdl_context *ctx, const struct rounds *r, size_t n, size_t rows,
                    struct cdl_matrix u, struct cdl_matrix v, float *c) {
    struct cdl_product p = {.m = n, .k = rows, .a = u, .transposed = true, .b = v, .c = {c, v.ld}};
    p.init = (struct cdl_matrix){r->zeros, 0};
    for (size_t j = 0; j < v.ld && !cdl_stopped(ctx); j += CDL_PANEL) {
        p.n = cdl_min(CDL_PANEL, v.ld - j);
        ctx->kernels->gemm(&p);
        p.b.at += CDL_PANEL, p.c.at += CDL_PANEL;
    }
}

static void round_of(const struct cdl_context *ctx, struct rounds *r) {
    const size_t n = r->height;
    const struct cdl_matrix x = {r->x, r->ld}, xt = {r->xt, r->ldt};
    ctx->kernels->transpose(n, r->width, r->x, r->ld, r->xt, r->ldt);
    product(ctx, r, n, r->width, xt, xt, r->gram);
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++) {
            r->m[i * r->ldt + j] = r->coefficient[2] * r->gram[i * r->ldt + j];
        }
        r->m[i * r->ldt + i] += r->coefficient[1];
    }
    product(ctx, r, n, n, (struct cdl_matrix){r->m, r->ldt}, (struct cdl_matrix){r->gram, r->ldt},
            r->p);
    for (size_t i = 0; i < n; i++) r->p[i * r->ldt + i] += r->coefficient[0];
    product(ctx, r, n, n, (struct cdl_matrix){r->p, r->ldt}, x, r->next);
    float *last = r->x;
    r->x = r->next, r->next = last;
}

/* Copies between the parameter's layout and rows of X: d to x times `factor`, or x to d. */
static void carry(const struct cdl_trained *trained, const struct rounds *r, float factor,
                  bool back) {
    const bool transposed = trained->height > trained->width;
    struct cdl_piece piece;
    for (size_t column = 0; column < trained->width; column += piece.live) {
        piece = cdl_piece_at(trained, 0, column);
        for (size_t i = 0; i < trained->height; i++) {
            for (size_t j = 0; j < piece.live; j++) {
                float *of_d = r->d + piece.offset + i * piece.ld + j;
                float *of_x =
                    transposed ? r->x + (column + j) * r->ld + i : r->x + i * r->ld + column + j;
                if (back)
                    *of_d = *of_x;
                else
                    *of_x = *of_d * factor;
            }
        }
    }
}

static void learn(const struct cdl_trained *trained, const struct cdl_context *ctx,
                  float *scratch) {
    const struct cdl_group *group = &ctx->optimizer.groups[trained->group];
    const struct cdl_kernels *kernels = ctx->kernels;
    const float *s = group->derived;
    const size_t n = cdl_param_floats(trained->param);
    struct rounds r;
    memset(scratch, 0, lay_out(trained, scratch, &r) * sizeof *scratch);
    r.coefficient = s + MUON_A;

    group->update(n, r.d, trained->gradient, trained->slots, s);
    double squares = 0.0;
    kernels->squares(n, r.d, &squares);
    carry(trained, &r, (float)(1.0 / (sqrt(squares) + 1e-7)), false);
    for (int i = 0; i < (int)s[MUON_STEPS] && !cdl_stopped(ctx); i++) round_of(ctx, &r);
    carry(trained, &r, 1.0f, true);

    const float longer = s[MUON_RMS_RATE] < 0.0f ? 1.0f : s[MUON_RMS_RATE] * sqrtf((float)r.width);
    kernels->scale(n, -s[MUON_RATE] * longer, r.d);
    kernels->add(n, r.d, trained->param->w);
}

const struct cdl_tensorwise cdl_tensorwise_muon = {
    .learn = learn, .scratch_floats = scratch_floats, .flops = flops};
