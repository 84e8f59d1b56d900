/* transposed.c - weights of windows transposed, panel by panel. */
#include "products/transposed.h"

#include <string.h>

void cdl_transpose_weights(const struct cdl_convolution *job, const struct cdl_kernels *kernels,
                           size_t column, size_t live, size_t width, size_t first, size_t depth,
                           float *to) {
    const struct cdl_param *w = job->w;
    const size_t each = job->image.columns / job->groups, taps = cdl_window_taps(job->window);
    memset(to, 0, taps * depth * width * sizeof(float));
    for (size_t tap = 0; tap < taps; tap++) {
        for (size_t f = first, columns; f < first + depth; f += columns) {
            const size_t panel = f / CDL_PANEL * CDL_PANEL, end = panel + CDL_PANEL;
            const size_t ld = cdl_panel_width(w->cols, panel);
            columns = cdl_min(end, first + depth) - f;
            const float *from =
                w->w + panel * w->rows + (tap * each + column % each) * ld + (f - panel);
            if (f % CDL_LINE == 0) {
                kernels->transpose(live, columns, from, ld, to, width);
            } else { /* no kernel, which reads whole registers: the last may end behind w */
                for (size_t i = 0; i < columns * live; i++)
                    to[i / live * width + i % live] = from[i % live * ld + i / live];
            }
            to += columns * width;
        }
    }
}
