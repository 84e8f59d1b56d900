/* memory.h - aligned memory, and the strides that kernels and callers agree on. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Floats in a cache line, and in the widest register of any ISA: every buffer starts on such a
 * boundary and every padded length is a multiple of it. */
enum { CDL_LINE = 16 };

/* `floats` zeros on a 64-byte boundary, or NULL; at least one line. Freed by cdl_free. */
float *cdl_alloc(size_t floats);
void cdl_free(void *memory);

static inline size_t cdl_min(size_t a, size_t b) { return a < b ? a : b; }
static inline size_t cdl_max(size_t a, size_t b) { return a > b ? a : b; }

static inline size_t cdl_round_up(size_t n, size_t multiple) {
    return (n + multiple - 1) / multiple * multiple;
}

/* Columns that a kernel may touch in a row of n: whole lines, except that a single column stays
 * single (a batch of scalars is a plain vector). */
static inline size_t cdl_padded(size_t n) { return n == 1 ? 1 : cdl_round_up(n, CDL_LINE); }

/* Floats from one row of an activation to the next. Beyond four lines the count of lines is made
 * odd, so that a tall block of a few columns spreads over all sets of the L1 cache: with a stride
 * of 1,024 floats a product runs at a seventh of the speed it has with 1,040. */
static inline size_t cdl_stride(size_t n) {
    size_t padded = cdl_padded(n);
    size_t lines = padded / CDL_LINE;
    return lines > 4 && lines % 2 == 0 ? padded + CDL_LINE : padded;
}

/* Numbers of bfloat16 in a cache line, to which rows of such are padded, and from one row to the
 * next. */
enum { CDL_BF16_LINE = 2 * CDL_LINE };
static inline uint16_t *cdl_bf16(float *memory) { return (uint16_t *)(void *)memory; }
static inline size_t cdl_bf16_padded(size_t n) { return cdl_round_up(n, CDL_BF16_LINE); }
static inline size_t cdl_bf16_stride(size_t n) {
    const size_t lines = cdl_bf16_padded(n) / CDL_BF16_LINE;
    return (lines > 4 && lines % 2 == 0 ? lines + 1 : lines) * CDL_BF16_LINE;
}
