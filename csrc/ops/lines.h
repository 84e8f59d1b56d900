/* lines.h - what ops that move whole values about have in common. */
#ifndef CDL_OPS_LINES_H
#define CDL_OPS_LINES_H

#include <string.h>

#include "ops/op.h"

/* Pads of `n` lines become 0. */
static inline void cdl_clear_pads(const struct cdl_tensor *value, float *lines, size_t n) {
    const size_t pads = cdl_padded(value->width) - value->width;
    for (size_t l = 0; l < n && pads; l++, lines += value->ld)
        memset(lines + value->width, 0, pads * sizeof(float));
}

#endif
