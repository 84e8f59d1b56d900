/* gradient.c - x^T dy of one weight: the walk over its blocks, and copies of operands whose rows
 * lie far apart. */
#include "products/gradient.h"

#include "products/matmul.h"

/* Least bytes from a block's first row to its last for which copies pay: of dy, whose lines are
 * read by vectors, the range of a first-level TLB of some 64 pages; of x, which a tile reads six
 * floats at a time, more. Copies of 256 rows of 128 floats took 8 % longer than none. */
enum { DY_SPAN = 192 << 10, X_SPAN = 1 << 20 };

static size_t in_blocks(size_t n, size_t size) { return (n + size - 1) / size; }

static bool copies(size_t samples, size_t ld, size_t span, size_t readers) {
    return ld > CDL_PANEL && samples * ld * sizeof(float) >= span && readers >= CDL_LEAST_STRIP;
}

static bool copies_x(const struct cdl_param *w, size_t samples, size_t ldx) {
    return copies(samples, ldx, X_SPAN, in_blocks(w->cols, CDL_PANEL));
}

static bool copies_dy(const struct cdl_param *w, size_t samples, size_t ldy) {
    return copies(samples, ldy, DY_SPAN, in_blocks(w->rows, CDL_CHUNK));
}

/* Samples whose sum is one chain from 0, on every machine. The sums of such blocks are added up in
 * order, so the error grows with the root of a large batch, not with the batch. */
enum { CHAIN = 2048 };

/* Samples of which all panels of a group are copied at once: copies of all 8,192 rows of
 * a step of TabM, which each block read again from memory, took 2 to 4 % of it. */
enum { PART = 512, PART_FLOATS = CDL_MOST_STRIP * PART * CDL_PANEL };

static bool in_groups(const struct cdl_param *w, size_t samples, size_t ldx, size_t ldy,
                      bool bf16) {
    return !bf16 && samples > CHAIN && copies_x(w, samples, ldx) && copies_dy(w, samples, ldy);
}

/* Panels whose copies fit into so many floats. */
static size_t strip_of(size_t samples, size_t floats) {
    const size_t fit = samples ? cdl_min(floats / (samples * CDL_PANEL), CDL_MOST_STRIP) : 1;
    return cdl_max(fit, CDL_LEAST_STRIP);
}

/* Most floats of the copies: a batch of fewer samples, the last one, may have more panels in a
 * strip, and more floats. */
static size_t most_strip_floats(size_t samples) {
    const size_t panel = samples * CDL_PANEL;
    return cdl_max(CDL_LEAST_STRIP * panel, cdl_min(CDL_MOST_STRIP * panel, CDL_MOST_STRIP_FLOATS));
}

/* Stride of x^T in bfloat16: rows of samples, an odd number of lines apart. */
static size_t x_stride(size_t samples) { return cdl_bf16_padded(samples) + CDL_BF16_LINE; }

static size_t panel_floats(size_t samples, bool pairs) {
    return pairs ? cdl_bf16_padded(samples) / 2 * CDL_PANEL : samples * CDL_PANEL;
}

size_t cdl_gradient_floats(const struct cdl_param *w, size_t samples, size_t ldx, size_t ldy,
                           bool bf16, bool pairs) {
    if (pairs)
        return CDL_CHUNK * x_stride(samples) / 2 + most_strip_floats(cdl_bf16_padded(samples)) / 2;
    if (in_groups(w, samples, ldx, ldy, bf16))
        return 2 * PART_FLOATS + 2 * CDL_GROUP * CDL_THREAD_SCRATCH;
    const size_t x_floats = bf16 || copies_x(w, samples, ldx) ? samples * CDL_CHUNK : 0;
    return x_floats + (bf16 || copies_dy(w, samples, ldy) ? most_strip_floats(samples) : 0);
}

void cdl_gradient_begin(struct cdl_gradient *gradient, float *room) {
    const struct cdl_param *w = gradient->w;
    const size_t samples = gradient->most;
    gradient->x_copy = NULL;
    gradient->x_copied = 0;
    gradient->sums = NULL;
    if (in_groups(w, samples, gradient->x.ld, gradient->dy.ld, gradient->bf16)) {
        gradient->x_copy = room, gradient->dy_copy[0] = room + PART_FLOATS;
        gradient->sums = room + 2 * PART_FLOATS;
        gradient->strip = CDL_MOST_STRIP;
        return;
    }
    if (gradient->bf16 || copies_x(w, samples, gradient->x.ld)) {
        gradient->x_copy = room;
        room += gradient->pairs ? CDL_CHUNK * x_stride(samples) / 2 : samples * CDL_CHUNK;
    }
    /* Small products feel a division: 40 ns of a step of 1 us went into the size of the strip. */
    gradient->strip = CDL_LEAST_STRIP;
    gradient->dy_copy[0] = NULL;
    if (!gradient->bf16 && !copies_dy(w, samples, gradient->dy.ld)) return;
    gradient->strip = strip_of(gradient->pairs ? cdl_bf16_padded(samples) : samples,
                               gradient->ctx->kernels->blocking->strip_floats);
    for (size_t s = 0; s < gradient->strip; s++) {
        gradient->dy_copy[s] = room + s * panel_floats(samples, gradient->pairs);
        gradient->dy_copied[s] = 0;
    }
}

struct cdl_block cdl_gradient_at(const struct cdl_gradient *gradient, size_t i) {
    const struct cdl_param *w = gradient->w;
    if (!gradient->x_copy && !gradient->dy_copy[0]) return cdl_block_at(w, i);
    const size_t chunks = in_blocks(w->rows, CDL_CHUNK), panels = in_blocks(w->cols, CDL_PANEL);
    const size_t panel = i / (gradient->strip * chunks) * gradient->strip;
    const size_t across = cdl_min(panels - panel, gradient->strip);
    i -= panel * chunks;
    return cdl_block_at(w, (panel + i % across) * chunks + i / across);
}

static void copy_columns(size_t samples, size_t columns, const float *from, size_t ld, float *to,
                         size_t ld_to) {
    for (size_t s = 0; s < samples; s++)
        memcpy(to + s * ld_to, from + s * ld, columns * sizeof(float));
}

/* Copies `columns` columns, from `column` on, of rows `ld` apart side by side, as floats. */
static void copy(const struct cdl_gradient *gradient, struct cdl_matrix rows, size_t column,
                 size_t columns, float *to, size_t ld_to) {
    if (gradient->bf16) {
        const uint16_t *from = (const uint16_t *)(const void *)rows.at;
        gradient->ctx->kernels->bf16_to_floats(gradient->samples, columns, from + column, rows.ld,
                                               to, ld_to);
        return;
    }
    copy_columns(gradient->samples, columns, rows.at + column, rows.ld, to, ld_to);
}

static const float *dy_copied(struct cdl_gradient *gradient, struct cdl_block block) {
    const size_t slot = block.column / CDL_PANEL % gradient->strip;
    if (gradient->dy_copied[slot] != block.column + 1) {
        copy(gradient, gradient->dy, block.column, block.width, gradient->dy_copy[slot],
             block.width);
        gradient->dy_copied[slot] = block.column + 1;
    }
    return gradient->dy_copy[slot];
}

/* ---- bfloat16 -------------------------------------------------------------------------------- */

/* Transposes the block's columns of x to rows of samples, up to a whole line with zeros. */
static const uint16_t *x_transposed(struct cdl_gradient *gradient, struct cdl_block block) {
    enum { LINE = CDL_BF16_LINE };
    const struct cdl_kernels *kernels = gradient->ctx->kernels;
    const uint16_t *x = (const uint16_t *)(const void *)gradient->x.at + block.row;
    const size_t columns = cdl_bf16_padded(block.rows), ld = x_stride(gradient->most);
    if (gradient->x_copied == block.row + 1) return cdl_bf16(gradient->x_copy);
    gradient->x_copied = block.row + 1;
    for (size_t s = 0; s < gradient->samples; s += LINE) {
        _Alignas(64) float pairs[LINE / 2 * CDL_CHUNK];
        const size_t rows = cdl_min(gradient->samples - s, LINE);
        if (rows < LINE) memset(pairs, 0, sizeof pairs);
        kernels->bf16_pair(rows, columns, x + s * gradient->x.ld, gradient->x.ld,
                           (uint32_t *)(void *)pairs, CDL_CHUNK);
        kernels->transpose(LINE / 2, columns, pairs, CDL_CHUNK, gradient->x_copy + s / 2, ld / 2);
    }
    return cdl_bf16(gradient->x_copy);
}

/* Packs the block's columns of dy in pairs: two panels, one behind the other. */
static const uint32_t *dy_in_pairs(struct cdl_gradient *gradient, struct cdl_block block) {
    const size_t slot = block.column / CDL_PANEL % gradient->strip;
    const size_t pairs = cdl_bf16_padded(gradient->samples) / 2;
    uint32_t *to = (uint32_t *)(void *)gradient->dy_copy[slot];
    if (gradient->dy_copied[slot] == block.column + 1) return to;
    gradient->dy_copied[slot] = block.column + 1;
    const uint16_t *dy = (const uint16_t *)(const void *)gradient->dy.at + block.column;
    const size_t full = (gradient->samples + 1) / 2;
    for (size_t j = 0; j < block.width; j += CDL_BF16_LINE) {
        uint32_t *panel = to + j * pairs;
        gradient->ctx->kernels->bf16_pair(gradient->samples, CDL_BF16_LINE, dy + j, gradient->dy.ld,
                                          panel, CDL_BF16_LINE);
        memset(panel + full * CDL_BF16_LINE, 0, (pairs - full) * CDL_BF16_LINE * sizeof *panel);
    }
    return to;
}

void cdl_column_sums(const struct cdl_kernels *kernels, size_t samples, size_t n, const float *dy,
                     size_t ld, float *g) {
    _Alignas(64) float part[CDL_PANEL];
    kernels->column_sums(cdl_min(samples, CHAIN), n, dy, ld, g);
    for (size_t s = CHAIN; s < samples; s += CHAIN) {
        kernels->column_sums(cdl_min(samples - s, CHAIN), n, dy + s * ld, ld, part);
        for (size_t j = 0; j < n; j++) g[j] += part[j];
    }
}

void cdl_gradient_sums(struct cdl_gradient *gradient, struct cdl_block block, float *g) {
    const struct cdl_kernels *kernels = gradient->ctx->kernels;
    if (!gradient->pairs) {
        const bool copied = gradient->bf16;
        const float *dy = copied ? dy_copied(gradient, block) : gradient->dy.at + block.column;
        cdl_column_sums(kernels, gradient->samples, block.width, dy,
                        copied ? block.width : gradient->dy.ld, g);
        return;
    }
    const uint32_t *dy = dy_in_pairs(gradient, block);
    const size_t pairs = cdl_bf16_padded(gradient->samples) / 2;
    for (size_t j = 0; j < block.width; j += CDL_BF16_LINE)
        kernels->bf16_pair_sums(pairs, cdl_min(block.width - j, CDL_BF16_LINE), dy + j * pairs,
                                CDL_BF16_LINE, g + j);
}

static void multiply_pairs(struct cdl_gradient *gradient, struct cdl_block block, float *g) {
    const size_t samples = cdl_bf16_padded(gradient->samples), ld = x_stride(gradient->most);
    const uint16_t *x = x_transposed(gradient, block);
    const uint32_t *dy = dy_in_pairs(gradient, block);
    struct cdl_bf16_gemm p = {.m = block.rows, .n = block.width, .k = samples, .a = x, .lda = ld};
    p.b = dy, p.step = samples / 2 * CDL_BF16_LINE, p.init = (struct cdl_matrix){cdl_zeros, 0};
    p.c = (struct cdl_output){g, block.width};
    gradient->ctx->kernels->gemm_bf16(&p);
}

/* Gradient over the next k samples. One column of weights has no copies: a line of x has no second
 * reader, and dy is a vector. */
static void multiply(const struct cdl_gradient *gradient, struct cdl_product *p, size_t k,
                     float *g) {
    p->k = k, p->c.at = g, p->init = (struct cdl_matrix){cdl_zeros, 0};
    if (gradient->w->cols > 1) {
        cdl_matmul_gradient(gradient->ctx, p);
        return;
    }
    gradient->ctx->kernels->weighted_sum(k, p->m, p->a.at, p->a.ld, p->b.at, g);
    p->a.at += k * p->a.ld, p->b.at += k * p->b.ld;
}

/* Columns of some samples from `column` on, copied side by side unless they are there already:
 * `copied` has 1 + the first column of what each place holds. */
static struct cdl_matrix part_of(struct cdl_matrix rows, size_t samples, size_t column,
                                 size_t columns, float *places, size_t *copied) {
    const size_t place = column / CDL_PANEL % CDL_MOST_STRIP;
    float *to = places + place * PART * CDL_PANEL;
    if (copied[place] != column + 1)
        copy_columns(samples, columns, rows.at + column, rows.ld, to, columns);
    copied[place] = column + 1;
    return (struct cdl_matrix){to, columns};
}

/* Adds the gradients of some samples, from sample s on, to those of blocks [first, last), or makes
 * these, where a chain begins. */
static void add_part(const struct cdl_gradient *gradient, size_t s, size_t samples, size_t first,
                     size_t last, float *g) {
    const struct cdl_matrix x = {gradient->x.at + s * gradient->x.ld, gradient->x.ld},
                            dy = {gradient->dy.at + s * gradient->dy.ld, gradient->dy.ld};
    size_t x_copied[CDL_MOST_STRIP] = {0}, dy_copied[CDL_MOST_STRIP] = {0};
    for (size_t i = first; i < last; i++, g += CDL_THREAD_SCRATCH) {
        const struct cdl_block block = cdl_gradient_at(gradient, i);
        struct cdl_product p = {.m = block.rows, .k = samples, .c = {g, block.width}};
        p.n = cdl_min(gradient->w->cols - block.column, CDL_PANEL);
        p.a = part_of(x, samples, block.row, block.rows, gradient->x_copy, x_copied);
        p.b = part_of(dy, samples, block.column, block.width, gradient->dy_copy[0], dy_copied);
        p.init =
            s % CHAIN ? (struct cdl_matrix){g, block.width} : (struct cdl_matrix){cdl_zeros, 0};
        cdl_matmul_gradient(gradient->ctx, &p);
    }
}

void cdl_gradient_of_group(struct cdl_gradient *gradient, size_t first, size_t last) {
    float *sums = gradient->sums, *chain = sums + CDL_GROUP * CDL_THREAD_SCRATCH;
    const size_t samples = gradient->samples;
    for (size_t s = 0; s < samples && !cdl_stopped(gradient->ctx); s += PART) {
        const size_t some = cdl_min(samples - s, PART);
        add_part(gradient, s, some, first, last, s < CHAIN ? sums : chain);
        const bool ends = s + some == samples || (s + some) % CHAIN == 0;
        if (s >= CHAIN && ends)
            gradient->ctx->kernels->add((last - first) * CDL_THREAD_SCRATCH, chain, sums);
    }
}

void cdl_gradient_of(struct cdl_gradient *gradient, struct cdl_block block, float *g) {
    if (gradient->pairs) {
        multiply_pairs(gradient, block, g);
        return;
    }
    struct cdl_product p = {.m = block.rows, .a = gradient->x, .b = gradient->dy};
    p.n = cdl_min(gradient->w->cols - block.column, CDL_PANEL);
    p.a.at += block.row, p.b.at += block.column, p.c = (struct cdl_output){g, block.width};
    if (gradient->x_copy) {
        const size_t ld = gradient->bf16 ? CDL_CHUNK : block.rows;
        if (gradient->x_copied != block.row + 1) {
            copy(gradient, gradient->x, block.row, block.rows, gradient->x_copy, ld);
            gradient->x_copied = block.row + 1;
        }
        p.a = (struct cdl_matrix){gradient->x_copy, ld};
    }
    if (gradient->dy_copy[0]) p.b = (struct cdl_matrix){dy_copied(gradient, block), block.width};
    const size_t samples = gradient->samples;
    multiply(gradient, &p, cdl_min(samples, CHAIN), g);
    for (size_t s = CHAIN; s < samples && !cdl_stopped(gradient->ctx); s += CHAIN) {
        _Alignas(64) float part[CDL_THREAD_SCRATCH];
        multiply(gradient, &p, cdl_min(samples - s, CHAIN), part);
        gradient->ctx->kernels->add(cdl_padded(block.rows * block.width), part, g);
    }
}
