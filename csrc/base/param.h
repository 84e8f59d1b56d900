/* param.h - the memory of one weight, in the layout that the kernels read.
 *
 * A matrix (k rows, n columns) lies in column panels: panel p holds columns 64 p .. 64 p + 63 of
 * all rows, row after row, so that a matrix product reads it from end to end and packs nothing.
 * The last panel is only as wide as whole lines need (n = 10: 16 columns; n = 1: one), its pads
 * are zero. Anything else (`rows` = 1) is a plain row of n floats.
 *
 * The layout is the same for every ISA: an ISA whose tile is narrower reads a part of the panel.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/memory.h"
#include "base/status.h"

enum { CDL_PANEL = 64 };
extern const float cdl_zeros[CDL_PANEL];

struct cdl_param {
    size_t rows, cols;
    bool matrix;
    float *w;
    uint32_t *pairs;  /* in place of w: bfloat16, as products read it (cdl_param_pairs) */
    uint64_t version; /* a larger one after each write, and after each run in which w learns */
};

cdl_status cdl_param_create(size_t rows, size_t cols, bool matrix, struct cdl_param **out);

/* A matrix whose rows lie in pairs (kernels/bf16.h), by panels of CDL_BF16_LINE columns; pads are
 * 0, of rows up to a multiple of CDL_BF16_LINE too. */
cdl_status cdl_param_create_pairs(size_t rows, size_t cols, struct cdl_param **out);

void cdl_param_destroy(struct cdl_param *param);

/* Another thread may ask meanwhile, which sees the new version once what it stands for is there. */
static inline uint64_t cdl_param_version(const struct cdl_param *param) {
    return __atomic_load_n(&param->version, __ATOMIC_ACQUIRE);
}
static inline void cdl_param_changes(struct cdl_param *param) {
    __atomic_add_fetch(&param->version, 1, __ATOMIC_RELEASE);
}

bool cdl_param_finite(const struct cdl_param *param);

/* Between the panels and a row-major array of rows * cols floats. */
void cdl_param_get(const struct cdl_param *param, float *array);
void cdl_param_set(struct cdl_param *param, const float *array);
void cdl_param_clear(struct cdl_param *param); /* all zeros */

/* Copies from and to rows of `width` elements, `ld` apart; for a matrix its number of columns. */
void cdl_param_read(const struct cdl_param *param, size_t width, float *to, size_t ld);
void cdl_param_write(struct cdl_param *param, size_t width, const float *from, size_t ld);

static inline size_t cdl_param_floats(const struct cdl_param *param) {
    return param->rows * cdl_padded(param->cols);
}

/* Address of `row`, the first of a pair, in the panel of pairs that begins with `column`. */
static inline uint32_t *cdl_param_pairs(const struct cdl_param *param, size_t row, size_t column) {
    return param->pairs + column * (cdl_bf16_padded(param->rows) / 2) + row / 2 * CDL_BF16_LINE;
}

/* Columns, pads included, of the panel that starts at column `first`. */
static inline size_t cdl_panel_width(size_t cols, size_t first) {
    return cdl_min(cdl_padded(cols) - first, CDL_PANEL);
}
