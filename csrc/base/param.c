/* param.c - weights: creation, and the way between panels and row-major arrays. */
#include "base/param.h"

#include <stdlib.h>

cdl_status cdl_param_create(size_t rows, size_t cols, bool matrix, struct cdl_param **out) {
    struct cdl_param *param = calloc(1, sizeof *param);
    if (!param) return CDL_ERR_NO_MEMORY;
    *param = (struct cdl_param){.rows = rows, .cols = cols, .matrix = matrix};
    param->w = cdl_alloc(cdl_param_floats(param));
    if (!param->w) {
        free(param);
        return CDL_ERR_NO_MEMORY;
    }
    *out = param;
    return CDL_OK;
}

void cdl_param_destroy(struct cdl_param *param) {
    if (!param) return;
    cdl_free(param->w);
    cdl_free(param->wt);
    free(param);
}

/* Address of element (row, col) in panels of a matrix of `rows` rows. */
static size_t place(size_t rows, size_t cols, size_t row, size_t col) {
    size_t first = col / CDL_PANEL * CDL_PANEL;
    return first * rows + row * cdl_panel_width(cols, first) + (col - first);
}

static void transpose_all(struct cdl_param *param) {
    for (size_t r = 0; r < param->rows; r++) {
        for (size_t c = 0; c < param->cols; c++) {
            param->wt[place(param->cols, param->rows, c, r)] =
                param->w[place(param->rows, param->cols, r, c)];
        }
    }
}

cdl_status cdl_param_need_transposed(struct cdl_param *param) {
    if (param->wt) return CDL_OK;
    param->wt = cdl_alloc(param->cols * cdl_padded(param->rows));
    if (!param->wt) return CDL_ERR_NO_MEMORY;
    transpose_all(param);
    return CDL_OK;
}

void cdl_param_get(const struct cdl_param *param, float *array) {
    for (size_t first = 0; first < param->cols; first += CDL_PANEL) {
        size_t width = cdl_panel_width(param->cols, first);
        size_t live = param->cols - first < width ? param->cols - first : width;
        const float *panel = param->w + first * param->rows;
        for (size_t r = 0; r < param->rows; r++) {
            for (size_t c = 0; c < live; c++) {
                array[r * param->cols + first + c] = panel[r * width + c];
            }
        }
    }
}

void cdl_param_set(struct cdl_param *param, const float *array) {
    for (size_t first = 0; first < param->cols; first += CDL_PANEL) {
        size_t width = cdl_panel_width(param->cols, first);
        size_t live = param->cols - first < width ? param->cols - first : width;
        float *panel = param->w + first * param->rows;
        for (size_t r = 0; r < param->rows; r++) {
            for (size_t c = 0; c < live; c++) {
                panel[r * width + c] = array[r * param->cols + first + c];
            }
            for (size_t c = live; c < width; c++) panel[r * width + c] = 0.0f;
        }
    }
    if (param->wt) transpose_all(param);
}
