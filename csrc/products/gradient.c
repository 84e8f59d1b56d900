/* gradient.c - x^T dy of one weight: the walk over its blocks, and copies of what lies far apart.
 */
#include "products/gradient.h"

#include <string.h>

#include "products/matmul.h"

/* Bytes from a block's first row to its last from which on copies pay: of dy, whose lines are read
 * by vectors, what a first-level TLB of some 64 pages covers; of x, which a tile reads six floats
 * at a time, more. Copies of 256 rows of 128 floats took 8 % longer than none. */
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

/* Panels whose copies fit into so many floats. */
static size_t strip_of(size_t samples, size_t floats) {
    const size_t fit = samples ? cdl_min(floats / (samples * CDL_PANEL), CDL_MOST_STRIP) : 1;
    return fit < CDL_LEAST_STRIP ? CDL_LEAST_STRIP : fit;
}

/* A batch of fewer samples, the last one, may have more panels in a strip, and more floats. */
static size_t most_strip_floats(size_t samples) {
    const size_t panel = samples * CDL_PANEL;
    return cdl_max(CDL_LEAST_STRIP * panel, cdl_min(CDL_MOST_STRIP * panel, CDL_MOST_STRIP_FLOATS));
}

size_t cdl_gradient_floats(const struct cdl_param *w, size_t samples, size_t ldx, size_t ldy) {
    const size_t x_floats = copies_x(w, samples, ldx) ? samples * CDL_CHUNK : 0;
    return x_floats + (copies_dy(w, samples, ldy) ? most_strip_floats(samples) : 0);
}

void cdl_gradient_begin(struct cdl_gradient *gradient, float *room) {
    const struct cdl_param *w = gradient->w;
    const size_t samples = gradient->most;
    gradient->x_copy = NULL;
    gradient->x_copied = 0;
    if (copies_x(w, samples, gradient->ldx)) {
        gradient->x_copy = room;
        room += samples * CDL_CHUNK;
    }
    /* Small products feel each division: 40 ns of a step of 1 us went into the size of the strip.
     */
    gradient->strip = CDL_LEAST_STRIP;
    gradient->dy_copy[0] = NULL;
    if (!copies_dy(w, samples, gradient->ldy)) return;
    gradient->strip = strip_of(samples, gradient->ctx->kernels->blocking->strip_floats);
    for (size_t s = 0; s < gradient->strip; s++) {
        gradient->dy_copy[s] = room + s * samples * CDL_PANEL;
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

/* `columns` columns of rows `ld` apart, side by side. */
static void copy(size_t samples, size_t columns, const float *from, size_t ld, float *to) {
    for (size_t s = 0; s < samples; s++) {
        memcpy(to + s * columns, from + s * ld, columns * sizeof(float));
    }
}

void cdl_gradient_of(struct cdl_gradient *gradient, struct cdl_block block, float *g) {
    const float *x = gradient->x + block.row, *dy = gradient->dy + block.column;
    size_t ldx = gradient->ldx, ldy = gradient->ldy;
    if (gradient->x_copy) {
        if (gradient->x_copied != block.row + 1) {
            copy(gradient->samples, block.rows, x, ldx, gradient->x_copy);
            gradient->x_copied = block.row + 1;
        }
        x = gradient->x_copy, ldx = block.rows;
    }
    if (gradient->dy_copy[0]) {
        const size_t slot = block.column / CDL_PANEL % gradient->strip;
        if (gradient->dy_copied[slot] != block.column + 1) {
            copy(gradient->samples, block.width, dy, ldy, gradient->dy_copy[slot]);
            gradient->dy_copied[slot] = block.column + 1;
        }
        dy = gradient->dy_copy[slot], ldy = block.width;
    }
    cdl_matmul_gradient(gradient->ctx, gradient->samples, block.rows, block.width, x, ldx, dy, ldy,
                        g);
}
