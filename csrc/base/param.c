/* param.c - weights: creation, and the way between panels and row-major arrays. */
#include "base/param.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const float cdl_zeros[CDL_PANEL];

static cdl_status create(struct cdl_param like, bool pairs, struct cdl_param **out) {
    if (pairs)
        like.pairs = (void *)cdl_alloc(cdl_bf16_padded(like.rows) / 2 * cdl_bf16_padded(like.cols));
    else
        like.w = cdl_alloc(cdl_param_floats(&like));
    *out = like.pairs || like.w ? malloc(sizeof like) : NULL;
    if (*out)
        **out = like;
    else
        cdl_free(pairs ? (void *)like.pairs : like.w);
    return *out ? CDL_OK : CDL_ERR_NO_MEMORY;
}

cdl_status cdl_param_create(size_t rows, size_t cols, bool matrix, struct cdl_param **out) {
    return create((struct cdl_param){.rows = rows, .cols = cols, .matrix = matrix, .version = 1},
                  false, out);
}

cdl_status cdl_param_create_pairs(size_t rows, size_t cols, struct cdl_param **out) {
    return create((struct cdl_param){.rows = rows, .cols = cols, .matrix = true, .version = 1},
                  true, out);
}

void cdl_param_destroy(struct cdl_param *param) {
    if (!param) return;
    cdl_free(param->pairs);
    cdl_free(param->w);
    free(param);
}

/* Copies a matrix to an array of rows ld apart, or (back) from there, with pads of 0. */
static void copy_matrix(const struct cdl_param *param, float *array, size_t ld, bool back) {
    for (size_t first = 0; first < param->cols; first += CDL_PANEL) {
        const size_t width = cdl_panel_width(param->cols, first);
        const size_t live = cdl_min(param->cols - first, width);
        float *w = param->w + first * param->rows, *row = array + first;
        for (size_t r = 0; r < param->rows; r++, w += width, row += ld) {
            memcpy(back ? w : row, back ? row : w, live * sizeof(float));
            for (size_t c = live; back && c < width; c++) w[c] = 0.0f;
        }
    }
}

void cdl_param_read(const struct cdl_param *param, size_t width, float *to, size_t ld) {
    if (param->matrix) {
        copy_matrix(param, to, ld, false);
        return;
    }
    for (size_t at = 0; at < param->cols; at += width, to += ld)
        memcpy(to, param->w + at, width * sizeof(float));
}

void cdl_param_write(struct cdl_param *param, size_t width, const float *from, size_t ld) {
    if (param->matrix) {
        copy_matrix(param, (float *)(uintptr_t)from, ld, true);
    } else {
        for (size_t at = 0; at < param->cols; at += width, from += ld)
            memcpy(param->w + at, from, width * sizeof(float));
        /* Optimizers that need norms sum the pads too, which are NaN after a step with NaN. */
        for (size_t at = param->cols; at < cdl_param_floats(param); at++) param->w[at] = 0.0f;
    }
    cdl_param_changes(param);
}

/* Four floats and their bits, by the compiler's vector extension. */
typedef float quad __attribute__((vector_size(16), aligned(4), may_alias));
typedef uint32_t quad_bits __attribute__((vector_size(16)));

/* x - x is 0 where x is finite, and NaN elsewhere. */
static quad_bits lost_of(const float *x) {
    const quad values = *(const quad *)x;
    return (quad_bits)(values - values);
}

bool cdl_param_finite(const struct cdl_param *param) {
    const size_t ragged = param->matrix ? param->cols % CDL_PANEL : 0; /* columns beside pads */
    const size_t n = param->matrix ? (param->cols - ragged) * param->rows : param->cols;
    const size_t width = cdl_panel_width(param->cols, param->cols - ragged);
    quad_bits lost = {0};
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        const float *x = param->w + i;
        lost |= lost_of(x) | lost_of(x + 4) | lost_of(x + 8) | lost_of(x + 12);
    }
    for (; i < n; i++)
        if (!isfinite(param->w[i])) return false;
    for (size_t r = 0; ragged && r < param->rows; r++) {
        for (size_t c = 0; c < ragged; c++)
            if (!isfinite(param->w[n + r * width + c])) return false;
    }
    return !(lost[0] | lost[1] | lost[2] | lost[3]);
}

void cdl_param_get(const struct cdl_param *param, float *array) {
    cdl_param_read(param, param->cols, array, param->cols);
}

void cdl_param_set(struct cdl_param *param, const float *array) {
    cdl_param_write(param, param->cols, array, param->cols);
}

void cdl_param_clear(struct cdl_param *param) {
    memset(param->w, 0, cdl_param_floats(param) * sizeof(float));
    cdl_param_changes(param);
}
