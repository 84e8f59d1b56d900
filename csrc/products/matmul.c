/* matmul.c - cache blocking around the kernels: which block is computed when. */
#include "products/matmul.h"

#include "base/param.h"

/* Blocks of samples between two polls of the watch: they take at most 1 ms. */
enum { LOOK_BLOCKS = 64 };

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

/* Product of m rows with some rows of a panel of b, some rows of c at a time; p, but for m, moves
 * on with them. epilogue: of the last rows of all b, or NULL. */
static void add_rows(const struct cdl_kernels *kernels, struct cdl_product *p, size_t m,
                     const struct cdl_epilogue *epilogue, size_t column, bool uncached) {
    const size_t width = p->b.ld;
    const float *prefetch = p->prefetch;
    p->cuts = epilogue && cdl_cuts(epilogue);
    for (size_t row = 0; row < m; row += p->m) {
        const size_t left = m - row;
        p->m = uncached ? cdl_min(left, UNCACHED_GROUP) : cdl_rows_together(kernels, left);
        if (uncached) fetch(p->m, p->k, p->a.at + UNCACHED_AHEAD * p->a.ld, p->a.ld);
        const size_t prefetched = row / PREFETCH_TILE * CDL_LINE;
        if (prefetch && prefetched < width) {
            p->prefetch = prefetch + prefetched * p->k;
            kernels->gemm_prefetch(p, prefetch + width * p->k);
        } else {
            kernels->gemm(p);
        }
        if (epilogue && !p->cuts)
            cdl_finish(kernels, epilogue, p->m, width, row * epilogue->ldy + column, p->c.at,
                       p->c.ld, epilogue->ldy);
        p->a.at += p->m * p->a.ld, p->init.at += p->m * p->init.ld, p->c.at += p->m * p->c.ld;
    }
}

static void multiply_rows(const struct cdl_context *ctx, const struct cdl_product *all,
                          const struct cdl_epilogue *epilogue, bool uncached) {
    const size_t m = all->m, k = all->k, n = all->n;
    const bool prefetches = m > PREFETCH_TILE && m <= PREFETCH_MOST && k * n >= PREFETCH_FLOATS;
    struct cdl_product p = *all;
    for (size_t column = 0; column < n; column += CDL_PANEL) {
        p.n = cdl_min(n - column, CDL_PANEL);
        p.b = (struct cdl_matrix){all->b.at + column * k, cdl_round_up(p.n, CDL_LINE)};
        p.init = (struct cdl_matrix){all->init.at ? all->init.at + column : cdl_zeros, 0};
        for (size_t depth = 0; depth < k; depth += p.k) {
            if (cdl_stopped(ctx)) return;
            p.k = cdl_min(k - depth, ctx->kernels->blocking->depth);
            p.a.at = all->a.at + depth, p.c.at = all->c.at + column;
            p.prefetch = prefetches && column + 2 * CDL_PANEL <= n ? p.b.at + p.k * p.b.ld : NULL;
            add_rows(ctx->kernels, &p, m, depth + p.k == k ? epilogue : NULL, column,
                     uncached && column == 0);
            p.b.at += p.k * p.b.ld;
            p.init = (struct cdl_matrix){all->c.at + column, p.c.ld};
        }
    }
}

/* Rows of k floats that stay in L2 while all panels pass. A step of 64-512-512-512-1 on 8,192 rows
 * took 4 % longer without: each panel read them all again from memory. */
static size_t rows_in_cache(const struct cdl_context *ctx, size_t k) {
    const size_t rows = ctx->kernels->blocking->strip_floats / k;
    return cdl_max(rows / CDL_MOST_ROWS, 1) * CDL_MOST_ROWS;
}

/* Epilogue of the rows behind the next `rows`. */
static void skip_rows(struct cdl_epilogue *epilogue, size_t rows) {
    if (epilogue->y) epilogue->y += rows * epilogue->ldy;
}

void cdl_matmul(const struct cdl_context *ctx, const struct cdl_product *all,
                const struct cdl_epilogue *epilogue, bool uncached) {
    const size_t most = rows_in_cache(ctx, all->k);
    struct cdl_product p = *all;
    struct cdl_epilogue end = *epilogue;
    for (size_t row = 0; row < all->m; row += p.m, skip_rows(&end, p.m)) {
        p.m = cdl_min(all->m - row, most);
        multiply_rows(ctx, &p, &end, uncached);
        p.a.at += p.m * p.a.ld, p.c.at += p.m * p.c.ld;
    }
}

/* Scratch: a transposed part of w; or dz^T, and a block. */
size_t cdl_transposed_floats(size_t n) {
    return (cdl_min(n, CDL_MOST_DEPTH) + CDL_PANEL) * CDL_PANEL;
}

/* Transposes rows [row, row + live) of columns [first, first + depth) of w to columns of a panel
 * `width` wide. */
static void transpose_block(const struct cdl_kernels *kernels, const struct cdl_param *w,
                            size_t row, size_t live, size_t first, size_t depth,
                            struct cdl_output to) {
    if (live == 1) memset(to.at, 0, depth * to.ld * sizeof(float)); /* it writes no pads */
    for (size_t q = first; q < first + depth; q += CDL_PANEL, to.at += CDL_PANEL * to.ld) {
        const size_t width = cdl_panel_width(w->cols, q);
        kernels->transpose(live, cdl_min(first + depth - q, CDL_PANEL),
                           w->w + q * w->rows + row * width, width, to.at, to.ld);
    }
}

/* Threshold of small m. By transposing w a row of 784 x 512 took 4 times as long, 4 rows 1.7 times,
 * 16 rows 0.7 times, and 4 rows of 64 x 33 0.6 times. */
bool cdl_is_small_m(size_t m, size_t n) { return m <= 4 && n >= 32 * m; }

static size_t live_at(const struct cdl_transposed *job, size_t column) {
    return cdl_min(job->w->rows - column, CDL_PANEL);
}

static struct cdl_output dx_at(const struct cdl_transposed *job, size_t column) {
    return (struct cdl_output){job->dx.at + (column - job->first), job->dx.ld};
}

static void finish(const struct cdl_kernels *kernels, const struct cdl_transposed *job,
                   size_t column) {
    const struct cdl_output dx = dx_at(job, column);
    cdl_finish(kernels, job->epilogue, job->m, cdl_panel_width(job->w->rows, column),
               column - job->first, dx.at, dx.ld, job->epilogue->ldy);
}

static void transpose_w(const struct cdl_context *ctx, const struct cdl_transposed *job,
                        size_t column) {
    const struct cdl_param *w = job->w;
    const size_t width = cdl_panel_width(w->rows, column);
    const struct cdl_output dx = dx_at(job, column);
    struct cdl_product p = {.n = live_at(job, column), .a = job->dz, .init = {cdl_zeros, 0}};
    p.b = (struct cdl_matrix){job->scratch, width};
    for (size_t first = 0; first < w->cols; first += p.k) {
        if (cdl_stopped(ctx)) return;
        p.k = cdl_min(w->cols - first, ctx->kernels->blocking->depth);
        p.a.at = job->dz.at + first, p.c = dx;
        transpose_block(ctx->kernels, w, column, p.n, first, p.k,
                        (struct cdl_output){job->scratch, width});
        add_rows(ctx->kernels, &p, job->m, first + p.k == w->cols ? job->epilogue : NULL,
                 column - job->first, false);
        p.init = (struct cdl_matrix){dx.at, dx.ld};
    }
}

/* Panel of dx as w dz^T, transposed back: rows of w are read in place. `dzt`: dz^T; behind it a
 * block. */
static void transpose_dz(const struct cdl_context *ctx, const struct cdl_transposed *job,
                         size_t column, struct cdl_matrix dzt, float *block) {
    const struct cdl_param *w = job->w;
    struct cdl_product p = {
        .m = live_at(job, column), .n = dzt.ld, .init = {cdl_zeros, 0}, .c = {block, dzt.ld}};
    for (size_t q = 0; q < w->cols; q += CDL_PANEL) {
        const size_t width = cdl_panel_width(w->cols, q);
        p.k = cdl_min(w->cols - q, CDL_PANEL);
        p.a = (struct cdl_matrix){w->w + q * w->rows + column * width, width};
        p.b = (struct cdl_matrix){dzt.at + q * dzt.ld, dzt.ld};
        ctx->kernels->gemm(&p);
        p.init = (struct cdl_matrix){block, dzt.ld};
    }
    const struct cdl_output dx = dx_at(job, column);
    ctx->kernels->transpose(p.m, job->m, block, dzt.ld, dx.at, dx.ld);
    finish(ctx->kernels, job, column);
}

/* Cost of transposing: w moves n numbers a column of dx; dz and dx move m (n + columns) in all, but
 * all rows must go together, or w is read several times, and dz^T fit into scratch and L2. One
 * AVX-512 core did 32 rows of 512 x 512 by dz in 0.76 of the time, 64 rows in 0.89. */
static bool pays_to_transpose_dz(const struct cdl_context *ctx, const struct cdl_transposed *job) {
    const size_t most = ctx->kernels->blocking->depth * CDL_PANEL, n = job->w->cols;
    return job->m > 1 && job->m <= CDL_PANEL && job->m * (n + job->columns) < n * job->columns &&
           cdl_round_up(job->m, CDL_LINE) * n <= most;
}

static void transposed_rows(const struct cdl_context *ctx, const struct cdl_transposed *job) {
    const size_t ld = cdl_round_up(job->m, CDL_LINE);
    float *block = job->scratch, *dzt = block + CDL_PANEL * CDL_PANEL;
    const bool by_dz = !job->small_m && pays_to_transpose_dz(ctx, job);
    if (by_dz) ctx->kernels->transpose(job->m, job->w->cols, job->dz.at, job->dz.ld, dzt, ld);
    for (size_t column = job->first; column < job->first + job->columns; column += CDL_PANEL) {
        if (cdl_stopped(ctx)) return;
        const size_t live = live_at(job, column);
        if (job->small_m) {
            ctx->kernels->dot_panels(job->w, column, live, job->m, job->dz, dx_at(job, column));
            finish(ctx->kernels, job, column);
        } else if (by_dz && live > 1) { /* of one row the kernel would write no pads */
            transpose_dz(ctx, job, column, (struct cdl_matrix){dzt, ld}, block);
        } else {
            transpose_w(ctx, job, column);
        }
    }
}

/* Rows go twice as many at a time, since each time transposes w. */
void cdl_matmul_transposed(const struct cdl_context *ctx, const struct cdl_transposed *all) {
    const size_t most = 2 * rows_in_cache(ctx, all->w->cols);
    struct cdl_transposed job = *all;
    struct cdl_epilogue end = *all->epilogue;
    job.epilogue = &end;
    for (size_t row = 0; row < all->m; row += job.m, skip_rows(&end, job.m)) {
        job.m = cdl_min(all->m - row, most);
        transposed_rows(ctx, &job);
        job.dz.at += job.m * job.dz.ld, job.dx.at += job.m * job.dx.ld;
    }
}

void cdl_matmul_gradient(const struct cdl_context *ctx, struct cdl_product *p) {
    const size_t block = ctx->kernels->blocking->samples, k = p->k;
    p->transposed = true;
    for (size_t s = 0; s == 0 || s < k; s += block) {
        if (s && s % (LOOK_BLOCKS * block) == 0 && cdl_stopped(ctx)) return;
        p->k = cdl_min(k - s, block);
        ctx->kernels->gemm(p);
        p->a.at += p->k * p->a.ld, p->b.at += p->k * p->b.ld;
        p->init = (struct cdl_matrix){p->c.at, p->c.ld};
    }
}
