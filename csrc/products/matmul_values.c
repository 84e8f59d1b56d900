/* matmul_values.c - the kernels of products with weights, on matrices that are not packed.
 *
 * Lines of b of up to 64 columns are a panel in place; of wider ones 64 columns are, rows ldb
 * apart. A transposed b is transposed piece by piece: 64 x 64 floats on the stack. With a
 * transposed a, k is often all lines of a batch, so only as many lines pass at a time as keep those
 * of b in L1.
 */
#include "products/matmul_values.h"

#include <assert.h>

#include "base/param.h"

enum { PIECE = 64 };

/* Product with a single column: b is k numbers in a row, whichever way it is transposed. */
static void column(const struct cdl_kernels *kernels, const struct cdl_values *v) {
    float part[PIECE], *c = v->c.at;
    assert(!v->init.at || v->init.at == c);
    for (size_t i = 0; i < v->m; i += PIECE, c += PIECE) {
        const size_t rows = cdl_min(v->m - i, PIECE);
        if (v->a.transposed)
            kernels->weighted_sum(v->k, rows, v->a.lines + i, v->a.ld, v->b.lines, part);
        else
            kernels->dot_rows(rows, v->k, v->a.lines + i * v->a.ld, v->a.ld, true, v->b.lines, 0.0f,
                              part);
        for (size_t j = 0; j < rows; j++) c[j] = v->init.at ? c[j] + part[j] : part[j];
    }
}

/* Product with the transpose of some lines of b, piece by piece. */
static void by_pieces(const struct cdl_kernels *kernels, struct cdl_product *p,
                      const struct cdl_values *v) {
    float piece[PIECE * CDL_PANEL];
    if (p->n % CDL_LINE) memset(piece, 0, cdl_min(v->k, PIECE) * CDL_PANEL * sizeof(float));
    p->b = (struct cdl_matrix){piece, CDL_PANEL};
    for (size_t first = 0; first < v->k; first += PIECE) {
        p->k = cdl_min(v->k - first, PIECE);
        p->a.at = v->a.lines + first * (p->transposed ? p->a.ld : 1);
        kernels->transpose(p->n, p->k, v->b.lines + first, v->b.ld, piece, CDL_PANEL);
        kernels->gemm(p);
        p->init = (struct cdl_matrix){p->c.at, p->c.ld};
    }
}

static void panel(const struct cdl_kernels *kernels, const struct cdl_values *v) {
    struct cdl_product p = {.m = v->m, .n = v->n, .a = {v->a.lines, v->a.ld}, .init = v->init};
    p.transposed = v->a.transposed, p.b = (struct cdl_matrix){v->b.lines, v->b.ld}, p.c = v->c;
    if (v->b.transposed) {
        by_pieces(kernels, &p, v);
        return;
    }
    const size_t most = p.transposed ? kernels->blocking->samples : v->k;
    for (size_t first = 0; first == 0 || first < v->k; first += p.k) {
        p.k = cdl_min(v->k - first, most);
        kernels->gemm(&p);
        p.a.at += p.k * (p.transposed ? p.a.ld : 1), p.b.at += p.k * p.b.ld;
        p.init = (struct cdl_matrix){p.c.at, p.c.ld};
    }
}

void cdl_matmul_values(const struct cdl_kernels *kernels, const struct cdl_values *product) {
    if (product->n == 1) {
        column(kernels, product);
        return;
    }
    struct cdl_values v = *product;
    for (size_t j = 0; j < product->n; j += CDL_PANEL) {
        v.n = cdl_min(product->n - j, CDL_PANEL);
        v.b.lines = product->b.lines + (v.b.transposed ? j * v.b.ld : j);
        if (product->init.at)
            v.init.at = product->init.at + j;
        else
            v.init = (struct cdl_matrix){cdl_zeros, 0};
        v.c.at = product->c.at + j;
        (v.a.low ? cdl_low_panel : panel)(kernels, &v);
    }
}
