/* matmul.c - cache blocking around the kernels: which block is computed when. */
#include "products/matmul.h"

#include <string.h>

#include "base/param.h"

/* Blocks of samples between two polls of the watch: they take at most 1 ms. */
enum { LOOK_BLOCKS = 64 };

static const float zeros[CDL_PANEL];

/* Prefetch distance for rows of the caller's memory, fetched while the tiles work: 8,192
 * predictions of 100-64-10 took 18 % longer without. A prefetch past the last row does nothing. */
enum { UNCACHED_GROUP = 6, UNCACHED_AHEAD = 36 };

static void fetch(size_t rows, size_t n, const float *a, size_t lda) {
    for (size_t r = 0; r < rows; r++) {
        for (size_t j = 0; j < n; j += CDL_LINE) __builtin_prefetch(a + r * lda + j);
    }
}

/* Prefetch of the next panel, for few rows: fetching large weights then takes as long as
 * multiplying by them. Predictions of 32 rows of 784-512-512-10, whose weights are more than L2
 * holds, took 9 % longer without; with one tile of rows, and with many, prefetching costs more. */
enum { PREFETCH_TILE = 6, PREFETCH_MOST = 128, PREFETCH_FLOATS = 32 * 1024 };

/* Product of the panel of c at `column` with `depth` rows of a panel of b, the first of which is
 * row p of all k. Inlined: a call with so many arguments cost 3 % of a step of 1 us. */
static inline __attribute__((always_inline)) void
add_rows(const struct cdl_kernels *kernels, size_t m, size_t k, size_t p, size_t depth,
         size_t column, size_t width, const float *a, size_t lda, const float *b, const float *bias,
         float *c, size_t ldc, const struct cdl_epilogue *epilogue, bool uncached, bool prefetch) {
    const float *next = b + depth * width;
    const size_t group = uncached ? UNCACHED_GROUP : kernels->blocking->rows;
    for (size_t row = 0; row < m; row += group) {
        const size_t rows = m - row < group ? m - row : group;
        if (uncached) fetch(rows, depth, a + (row + UNCACHED_AHEAD) * lda + p, lda);
        float *block = c + row * ldc + column;
        const float *init = p ? block : (bias ? bias + column : zeros);
        const size_t prefetched = row / PREFETCH_TILE * CDL_LINE;
        if (prefetch && prefetched < width) {
            kernels->gemm_rows_prefetch(rows, depth, a + row * lda + p, lda, b, init, p ? ldc : 0,
                                        block, ldc, next + prefetched * depth,
                                        next + width * depth);
        } else {
            kernels->gemm_rows(rows, width, depth, a + row * lda + p, lda, b, init, p ? ldc : 0,
                               block, ldc);
        }
        if (p + depth == k)
            cdl_finish(kernels, epilogue, rows, width, row * epilogue->ldy + column, block, ldc,
                       epilogue->ldy);
    }
}

void cdl_matmul(const struct cdl_context *ctx, size_t m, size_t k, size_t n, const float *a,
                size_t lda, const float *b, const float *bias, float *c, size_t ldc,
                const struct cdl_epilogue *epilogue, bool uncached) {
    const struct cdl_kernels *kernels = ctx->kernels;
    const bool prefetches = m > PREFETCH_TILE && m <= PREFETCH_MOST && k * n >= PREFETCH_FLOATS;
    for (size_t column = 0; column < n; column += CDL_PANEL) {
        const size_t width = cdl_panel_width(n, column);
        const bool prefetch = prefetches && column + 2 * CDL_PANEL <= n;
        for (size_t p = 0, depth; p < k; p += depth) {
            if (cdl_stopped(ctx)) return;
            depth = cdl_min(k - p, kernels->blocking->depth);
            add_rows(kernels, m, k, p, depth, column, width, a, lda, b + column * k + p * width,
                     bias, c, ldc, epilogue, uncached && column == 0, prefetch);
        }
    }
}

/* Scratch: a transposed part of w; or dz^T, and a block. */
size_t cdl_transposed_floats(size_t n) {
    return (cdl_min(n, CDL_MOST_DEPTH) + CDL_PANEL) * CDL_PANEL;
}

/* Transposes rows [row, row + live) of columns [first, first + depth) of w (k rows, n columns in
 * panels) to columns of a panel `width` wide. */
static void transpose_block(const struct cdl_kernels *kernels, size_t k, size_t n, size_t row,
                            size_t live, size_t first, size_t depth, const float *w, float *to,
                            size_t width) {
    if (live == 1) memset(to, 0, depth * width * sizeof(float)); /* the kernel writes no pads */
    for (size_t q = first; q < first + depth; q += CDL_PANEL) {
        const size_t w_width = cdl_panel_width(n, q);
        const size_t columns = first + depth - q < CDL_PANEL ? first + depth - q : CDL_PANEL;
        kernels->transpose(live, columns, w + q * k + row * w_width, w_width,
                           to + (q - first) * width, width);
    }
}

/* Threshold of small m. By transposing w a row of 784 x 512 took 4 times as long, 4 rows 1.7 times,
 * 16 rows 0.7 times, and 4 rows of 64 x 33 0.6 times. */
bool cdl_is_small_m(size_t m, size_t n) { return m <= 4 && n >= 32 * m; }

/* Product of columns of dz[m, n] w^T, k in all, and its epilogue. */
struct transposed {
    const struct cdl_context *ctx;
    size_t m, n, k, first; /* first column of the product, at the start of dx */
    const float *dz, *w;
    size_t ldz, lddx;
    float *dx, *scratch;
    const struct cdl_epilogue *epilogue;
};

static size_t live_at(const struct transposed *job, size_t column) {
    return cdl_min(job->k - column, CDL_PANEL);
}

/* Panel of dx from a transposed part of w. */
static void transpose_w(const struct transposed *job, size_t column) {
    const struct cdl_kernels *kernels = job->ctx->kernels;
    const size_t width = cdl_panel_width(job->k, column);
    for (size_t p = 0, depth; p < job->n; p += depth) {
        if (cdl_stopped(job->ctx)) return;
        depth = cdl_min(job->n - p, kernels->blocking->depth);
        transpose_block(kernels, job->k, job->n, column, live_at(job, column), p, depth, job->w,
                        job->scratch, width);
        add_rows(kernels, job->m, job->n, p, depth, column - job->first, width, job->dz, job->ldz,
                 job->scratch, NULL, job->dx, job->lddx, job->epilogue, false, false);
    }
}

/* Panel of dx as w dz^T, transposed back: rows of w are read in place. `dzt`: dz^T with lines of
 * `ld`; behind it a block. */
static void transpose_dz(const struct transposed *job, size_t column, const float *dzt, size_t ld,
                         float *block) {
    const struct cdl_kernels *kernels = job->ctx->kernels;
    const size_t live = live_at(job, column);
    for (size_t q = 0; q < job->n; q += CDL_PANEL) {
        const size_t width = cdl_panel_width(job->n, q), depth = cdl_min(job->n - q, CDL_PANEL);
        kernels->gemm_lines(live, ld, depth, job->w + q * job->k + column * width, width,
                            dzt + q * ld, ld, q ? block : zeros, q ? ld : 0, block, ld);
    }
    float *dx = job->dx + (column - job->first);
    kernels->transpose(live, job->m, block, ld, dx, job->lddx);
    cdl_finish(kernels, job->epilogue, job->m, cdl_panel_width(job->k, column), column - job->first,
               dx, job->lddx, job->epilogue->ldy);
}

/* Cost of transposing: w moves n numbers a column of dx; dz and dx move m (n + columns) in all, but
 * all rows must go together, or w is read several times, and dz^T fit into scratch and L2. One
 * AVX-512 core did 32 rows of 512 x 512 by dz in 0.76 of the time, 64 rows in 0.89. */
static bool pays_to_transpose_dz(const struct transposed *job, size_t columns) {
    const size_t most = job->ctx->kernels->blocking->depth * CDL_PANEL;
    return job->m > 1 && job->m <= CDL_PANEL && job->m * (job->n + columns) < job->n * columns &&
           cdl_round_up(job->m, CDL_LINE) * job->n <= most;
}

static void transpose_all(const struct transposed *job, size_t first, size_t last) {
    const size_t ld = cdl_round_up(job->m, CDL_LINE);
    float *block = job->scratch, *dzt = block + CDL_PANEL * CDL_PANEL;
    job->ctx->kernels->transpose(job->m, job->n, job->dz, job->ldz, dzt, ld);
    for (size_t column = first; column < last; column += CDL_PANEL) {
        if (cdl_stopped(job->ctx)) return;
        if (live_at(job, column) > 1)
            transpose_dz(job, column, dzt, ld, block);
        else /* the kernel would write no pads; it is the last panel */
            transpose_w(job, column);
    }
}

void cdl_matmul_transposed(const struct cdl_context *ctx, size_t m, size_t n, size_t k,
                           size_t first, size_t columns, const float *dz, size_t ldz,
                           const float *w, float *dx, size_t lddx,
                           const struct cdl_epilogue *epilogue, bool small_m, float *scratch) {
    const struct transposed job = {.ctx = ctx,
                                   .m = m,
                                   .n = n,
                                   .k = k,
                                   .first = first,
                                   .dz = dz,
                                   .w = w,
                                   .ldz = ldz,
                                   .lddx = lddx,
                                   .dx = dx,
                                   .scratch = scratch,
                                   .epilogue = epilogue};
    const size_t last = first + columns;
    if (!small_m && pays_to_transpose_dz(&job, columns)) {
        transpose_all(&job, first, last);
        return;
    }
    for (size_t column = first; column < last; column += CDL_PANEL) {
        if (!small_m) {
            transpose_w(&job, column);
            continue;
        }
        ctx->kernels->dot_panels(m, column, live_at(&job, column), k, n, dz, ldz, w,
                                 dx + (column - first), lddx);
        cdl_finish(ctx->kernels, epilogue, m, cdl_panel_width(k, column), column - first,
                   dx + (column - first), lddx, epilogue->ldy);
    }
}

void cdl_matmul_gradient(const struct cdl_context *ctx, size_t samples, size_t rows_of_w,
                         size_t width, const float *a, size_t lda, const float *b, size_t ldb,
                         float *g) {
    const size_t block = ctx->kernels->blocking->samples;
    for (size_t s = 0; s == 0 || s < samples; s += block) {
        if (s && s % (LOOK_BLOCKS * block) == 0 && cdl_stopped(ctx)) return;
        const size_t depth = cdl_min(samples - s, block);
        ctx->kernels->gemm_columns(rows_of_w, width, depth, a + s * lda, lda, b + s * ldb, ldb,
                                   s ? g : zeros, s ? width : 0, g, width);
    }
}
