/* bf16.c - blocking of products of bfloat16, and the epilogue of their sums.
 *
 * Some panels of sums at a time are added up in scratch. With weights in pairs that goes in runs of
 * DEPTH of k: rows stay in L2, and each part of the weights is read once. Without, rows become
 * floats, some at a time, and the products are those of float32.
 */
#include "products/bf16.h"

#include "base/caches.h"

enum { MOST_ROWS = 512, DEPTH = 512, FINISHED = 64, MOST_PANELS = 8 };
enum { LINE = CDL_BF16_LINE, STEP = DEPTH / 2 * LINE }; /* sizes of a panel of w^T in scratch */

static size_t l2_floats(void) { return cdl_caches()->l2 / 2 / sizeof(float); }

/* Panels of sums, of so many rows, that fill half of the L2 cache. */
static size_t panels_of(size_t m) {
    return cdl_max(cdl_min(l2_floats() / (m * CDL_PANEL), MOST_PANELS), 1);
}

static size_t sums_floats(size_t m) {
    const size_t panel = cdl_min(m, MOST_ROWS) * CDL_PANEL;
    return cdl_max(cdl_min(l2_floats(), MOST_PANELS * panel), panel);
}

/* Transposes columns [column, column + depth) of w to pairs of rows of a panel, whose columns are
 * rows [row, row + CDL_BF16_LINE) of w. */
static void transpose(const struct cdl_kernels *kernels, const struct cdl_param *w, size_t row,
                      size_t column, size_t depth, float *to) {
    for (size_t q = 0; q < depth; q += LINE, to += LINE / 2 * LINE) {
        _Alignas(64) float rows[LINE * LINE / 2];
        kernels->bf16_unpair(LINE / 2, LINE, cdl_param_pairs(w, row, column + q), LINE,
                             (uint16_t *)(void *)rows, LINE);
        kernels->transpose(LINE, LINE / 2, rows, LINE / 2, to, LINE);
    }
}

/* Clears pads: an infinite number in x makes them NaN, which the zeros of the next product would
 * keep. */
static void finish(const struct cdl_kernels *kernels, const struct cdl_bf16_product *product,
                   size_t rows, size_t width, size_t row, size_t column, float *sums, size_t ld) {
    _Alignas(64) float y[FINISHED * CDL_PANEL];
    const size_t offset = row * product->ldc + column;
    const size_t columns = product->transposed ? product->w->rows : product->w->cols;
    const struct cdl_epilogue epilogue = {.activation = product->activation,
                                          .gradient = product->gradient,
                                          .y = y,
                                          .params = product->params};
    if (product->gradient && product->activation != CDL_ACTIVATION_linear)
        kernels->bf16_to_floats(rows, width, product->y + offset, product->ldc, y, CDL_PANEL);
    cdl_finish(kernels, &epilogue, rows, width, 0, sums, ld, CDL_PANEL);
    kernels->bf16_from_floats(rows, cdl_min(width, columns - column), sums, ld, product->c + offset,
                              product->ldc);
}

/* Product of rows [row, row + m) of columns [column, last). */
static void strip(const struct cdl_context *ctx, const struct cdl_bf16_product *product, size_t row,
                  size_t m, size_t column, size_t last, float *sums, float *b) {
    const struct cdl_kernels *kernels = ctx->kernels;
    const struct cdl_param *w = product->w;
    const bool back = product->transposed;
    const size_t k = cdl_bf16_padded(back ? w->cols : w->rows);
    const size_t step = back ? STEP : cdl_bf16_padded(w->rows) / 2 * LINE;
    for (size_t p = 0; p < k; p += DEPTH) {
        if (cdl_stopped(ctx)) return;
        const size_t depth = cdl_min(k - p, DEPTH);
        float *c = sums;
        for (size_t at = column; at < last; at += CDL_PANEL, c += m * CDL_PANEL) {
            const size_t width = cdl_min(cdl_round_up(last - at, CDL_LINE), CDL_PANEL);
            const uint32_t *pairs = back ? (uint32_t *)(void *)b : cdl_param_pairs(w, p, at);
            for (size_t j = 0; j < width && back; j += LINE)
                transpose(kernels, w, at + j, p, depth, b + j / LINE * STEP);
            const float *init = p ? c : product->bias ? product->bias + at : cdl_zeros;
            struct cdl_bf16_gemm some = {.m = m, .n = width, .k = depth, .lda = product->lda};
            some.a = product->a + row * product->lda + p, some.b = pairs, some.step = step;
            some.init = (struct cdl_matrix){init, p ? CDL_PANEL : 0};
            some.c = (struct cdl_output){c, CDL_PANEL};
            kernels->gemm_bf16(&some);
            for (size_t r = 0; r < m && p + depth == k; r += FINISHED)
                finish(kernels, product, cdl_min(m - r, FINISHED), width, row + r, at,
                       c + r * CDL_PANEL, CDL_PANEL);
        }
    }
}

static void by_pairs(const struct cdl_context *ctx, const struct cdl_bf16_product *product,
                     float *scratch) {
    const struct cdl_param *w = product->w;
    const size_t k = product->transposed ? w->cols : w->rows;
    float *b = scratch + sums_floats(product->m);
    for (size_t row = 0, m; row < product->m; row += m) {
        m = cdl_min(product->m - row, MOST_ROWS);
        const size_t columns = (k <= DEPTH ? 1 : panels_of(m)) * CDL_PANEL;
        const size_t end = product->first + product->columns;
        for (size_t column = product->first, last; column < end; column = last) {
            last = cdl_min(end, column + columns);
            strip(ctx, product, row, m, column, last, scratch, b);
        }
    }
}

/* ---- without tiles --------------------------------------------------------------------------- */

/* Rows converted to floats at a time: they fill half of L2, and are enough to make up for reading
 * all weights. Beside them lie the sums of two panels. */
enum { LEAST_ROWS = 256, ACROSS = 2 * CDL_PANEL };

static size_t rows_of(size_t m, size_t k) {
    return cdl_min(m, cdl_max(l2_floats() / cdl_stride(k), LEAST_ROWS));
}

static size_t floats_of(size_t m, size_t k) {
    const size_t rows = rows_of(m, k);
    return rows * (cdl_stride(k) + ACROSS) + cdl_transposed_floats(k);
}

size_t cdl_bf16_matmul_floats(const struct cdl_param *w, size_t m) {
    return w->pairs ? sums_floats(m) + 2 * STEP
                    : cdl_max(floats_of(m, w->rows), floats_of(m, w->cols));
}

static void by_floats(const struct cdl_context *ctx, const struct cdl_bf16_product *product,
                      float *scratch) {
    const struct cdl_epilogue none = {.activation = CDL_ACTIVATION_linear};
    const struct cdl_param *w = product->w;
    const size_t k = product->transposed ? w->cols : w->rows, ld = cdl_stride(k);
    const size_t step = rows_of(product->m, k);
    float *a = scratch, *sums = a + step * ld, *more = sums + step * ACROSS;
    for (size_t row = 0, m; row < product->m; row += m) {
        m = cdl_min(product->m - row, step);
        ctx->kernels->bf16_to_floats(m, k, product->a + row * product->lda, product->lda, a, ld);
        const size_t end = product->first + product->columns;
        for (size_t column = product->first, n; column < end; column += n) {
            n = cdl_min(end - column, ACROSS);
            struct cdl_transposed back = {.w = w, .m = m, .first = column, .columns = n};
            back.dz = (struct cdl_matrix){a, ld}, back.dx = (struct cdl_output){sums, n};
            back.epilogue = &none, back.small_m = product->small_m, back.scratch = more;
            struct cdl_product there = {.m = m, .n = n, .k = k, .a = {a, ld}, .c = {sums, n}};
            there.b.at = w->w + column * k;
            there.init.at = product->bias ? product->bias + column : NULL;
            if (product->transposed)
                cdl_matmul_transposed(ctx, &back);
            else
                cdl_matmul(ctx, &there, &none, false);
            for (size_t j = 0; j < n; j += CDL_PANEL) {
                for (size_t r = 0; r < m; r += FINISHED)
                    finish(ctx->kernels, product, cdl_min(m - r, FINISHED),
                           cdl_min(n - j, CDL_PANEL), row + r, column + j, sums + r * n + j, n);
            }
        }
    }
}

void cdl_bf16_matmul(const struct cdl_context *ctx, const struct cdl_bf16_product *product,
                     float *scratch) {
    (product->w->pairs ? by_pairs : by_floats)(ctx, product, scratch);
}
