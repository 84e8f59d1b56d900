/* contracts.h - preconditions of kernels, for assert(): checked in builds without NDEBUG, such as
 * those with sanitizers (setup.py). kernels.def has them in words. */
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/memory.h"

/* Rows of n floats, ld apart, that do not overlap. */
static inline bool are_rows(size_t rows, size_t n, const float *x, size_t ld) {
    return rows == 0 || (x && n > 0 && (rows == 1 || ld >= n));
}

static inline bool are_padded(size_t rows, size_t n, const float *x, size_t ld) {
    return are_rows(rows, cdl_padded(n), x, ld);
}

/* True unless the rows are single columns that are not contiguous. */
static inline bool are_dense(size_t rows, size_t n, size_t ld) {
    return n > 1 || rows <= 1 || ld == 1;
}

/* True if n_x floats from x on and n_y floats from y on do not overlap. */
static inline bool are_apart(const float *x, size_t n_x, const float *y, size_t n_y) {
    const uintptr_t a = (uintptr_t)x, b = (uintptr_t)y;
    return a + n_x * sizeof *x <= b || b + n_y * sizeof *y <= a;
}

static inline bool is_whole(size_t n) { return n > 0 && n % CDL_LINE == 0; }
