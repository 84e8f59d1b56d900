/* unroll.c - im2col in two steps: the rows of an image that a box of places sees, column by column
 * with zeros around; then the lines. */
#include "products/unroll.h"

/* With more columns the runs of a window are long enough. */
enum { MOST_COLUMNS = 4 };

bool cdl_unrolls(const struct cdl_convolution *job) {
    const size_t columns = job->image.columns;
    return job->groups == 1 && columns <= MOST_COLUMNS &&
           cdl_window_taps(job->window) <= CDL_MOST_UNROLLED / columns;
}

/* Elements of an axis that a number of neighbouring places see. */
static size_t reach(const struct cdl_window_axis *axis, size_t places) {
    return (places - 1) * axis->stride + (axis->taps - 1) * axis->dilation + 1;
}

/* Size of one column of a row in floats, with room for reads of whole registers. */
static size_t line_floats(const struct cdl_window *window, size_t places) {
    return cdl_round_up(reach(&window->axis[2], places), CDL_LINE) + CDL_LINE;
}

static size_t rows_floats(const struct cdl_window *window, size_t columns) {
    const struct cdl_box box = cdl_largest_box(window, 1);
    return reach(&window->axis[0], box.n[1]) * reach(&window->axis[1], box.n[2]) * columns *
           line_floats(window, box.n[3]);
}

size_t cdl_unrolled_floats(const struct cdl_convolution *job) {
    const size_t columns = job->image.columns;
    if (!cdl_unrolls(job)) return 0;
    return (cdl_window_taps(job->window) * columns + 1) * CDL_UNROLLED_LINE +
           rows_floats(job->window, columns);
}

/* Copies numbers [first, first + n) of the last axis, each column by itself; zeros outside the
 * image. */
static void copy_row(const struct cdl_kernels *kernels, const struct cdl_field *image,
                     const struct cdl_window_axis *axis, const float *row, ptrdiff_t first,
                     size_t n, float *to, size_t ld) {
    const ptrdiff_t size = (ptrdiff_t)axis->image, end = first + (ptrdiff_t)n;
    const ptrdiff_t low = first < 0 ? 0 : first, high = end < size ? end : size;
    memset(to, 0, image->columns * ld * sizeof(float));
    if (low < high)
        kernels->transpose((size_t)(high - low), image->columns, row + (size_t)low * image->ld,
                           image->ld, to + (low - first), ld);
}

/* Position in the image, along an axis, of a box's first window. */
static ptrdiff_t first_of(const struct cdl_window_axis *axis, size_t place) {
    return (ptrdiff_t)(place * axis->stride) - axis->before;
}

/* Copies all rows that a box of one sample sees: those of axis 1 within those of axis 0. */
static void copy_rows(const struct cdl_window *window, const struct cdl_kernels *kernels,
                      const struct cdl_field *image, const struct cdl_box *box, size_t sample,
                      float *to) {
    const struct cdl_window_axis *axis = window->axis;
    ptrdiff_t first[CDL_AXES];
    size_t n[CDL_AXES];
    for (int d = 0; d < CDL_AXES; d++) {
        first[d] = first_of(&axis[d], box->first[d + 1]);
        n[d] = reach(&axis[d], box->n[d + 1]);
    }
    const size_t ld = line_floats(window, box->n[3]);
    for (size_t u = 0; u < n[0]; u++) {
        for (size_t v = 0; v < n[1]; v++, to += image->columns * ld) {
            const ptrdiff_t at_u = first[0] + (ptrdiff_t)u, at_v = first[1] + (ptrdiff_t)v;
            if (at_u < 0 || at_u >= (ptrdiff_t)axis[0].image || at_v < 0 ||
                at_v >= (ptrdiff_t)axis[1].image) {
                memset(to, 0, image->columns * ld * sizeof(float));
                continue;
            }
            const float *row = image->lines + sample * image->sample +
                               (size_t)at_u * image->pitch[0] + (size_t)at_v * image->pitch[1];
            copy_row(kernels, image, &axis[2], row, first[2], n[2], to, ld);
        }
    }
}

/* Offsets of the places of the largest box, and of the taps' columns. */
static void find_offsets(const struct cdl_convolution *job, size_t samples,
                         struct cdl_offsets *to) {
    const struct cdl_window_axis *axis = job->window->axis;
    const size_t *pitch = job->image.pitch;
    struct cdl_box box = cdl_largest_box(job->window, samples);
    if (job->band) {
        size_t *n = &box.n[job->band->axis + 1];
        *n = cdl_min(*n, job->band->end - job->band->first);
    }
    size_t step[CDL_AXES], tap_step[CDL_AXES];
    for (int d = 0; d < CDL_AXES; d++) {
        step[d] = axis[d].stride * pitch[d];
        tap_step[d] = axis[d].dilation * pitch[d];
    }
    ptrdiff_t *place = to->places, *line = to->lines;
    for (size_t s = 0; s < box.n[0]; s++) {
        for (size_t u = 0; u < box.n[1]; u++) {
            for (size_t v = 0; v < box.n[2]; v++) {
                const size_t row = s * job->image.sample + u * step[0] + v * step[1];
                for (size_t w = 0; w < box.n[3]; w++) *place++ = (ptrdiff_t)(row + w * step[2]);
            }
        }
    }
    for (size_t u = 0; u < axis[0].taps; u++) {
        for (size_t v = 0; v < axis[1].taps; v++) {
            for (size_t w = 0; w < axis[2].taps; w++) {
                const size_t tap = u * tap_step[0] + v * tap_step[1] + w * tap_step[2];
                for (size_t c = 0; c < job->image.columns; c++) *line++ = (ptrdiff_t)(tap + c);
            }
        }
    }
    to->span = (size_t)place[-1] + 1;
}

const float *cdl_seen_in_place(const struct cdl_convolution *job, size_t samples,
                               const struct cdl_box *box, struct cdl_offsets *offsets) {
    const struct cdl_field *image = &job->image;
    ptrdiff_t at = (ptrdiff_t)(box->first[0] * image->sample);
    for (int d = 0; d < CDL_AXES; d++) {
        const struct cdl_window_axis *axis = &job->window->axis[d];
        const ptrdiff_t first = first_of(axis, box->first[d + 1]);
        const ptrdiff_t end = first + (ptrdiff_t)reach(axis, box->n[d + 1]);
        if (first < 0 || end > (ptrdiff_t)axis->image) return NULL;
        at += first * (ptrdiff_t)image->pitch[d];
    }
    if (!offsets->span) find_offsets(job, samples, offsets);
    return image->lines + at;
}

void cdl_unroll(const struct cdl_convolution *job, const struct cdl_kernels *kernels,
                const struct cdl_box *box, float *room) {
    const struct cdl_window *window = job->window;
    const struct cdl_field *image = &job->image;
    const struct cdl_window_axis *axis = window->axis;
    float *copy = room + (cdl_window_taps(window) * image->columns + 1) * CDL_UNROLLED_LINE;
    const size_t ld = line_floats(window, box->n[3]), row = image->columns * ld;
    const size_t pitch[2] = {reach(&axis[1], box->n[2]) * row, row};
    for (size_t s = 0; s < box->n[0]; s++) {
        copy_rows(window, kernels, image, box, box->first[0] + s, copy);
        for (size_t u = 0; u < box->n[1]; u++) {
            const size_t places = ((s * box->n[1] + u) * box->n[2]) * box->n[3];
            for (size_t tap = 0; tap < axis[0].taps; tap++) {
                const struct cdl_unrolling unrolling = {
                    .x = copy + (u * axis[0].stride + tap * axis[0].dilation) * pitch[0],
                    .rows = box->n[2],
                    .row_step = axis[1].stride * pitch[1],
                    .places = box->n[3],
                    .place_step = axis[2].stride,
                    .taps = {axis[1].taps, axis[2].taps, image->columns},
                    .tap_step = {axis[1].dilation * pitch[1], axis[2].dilation, ld},
                    .y = room + places +
                         tap * axis[1].taps * axis[2].taps * image->columns * CDL_UNROLLED_LINE,
                    .ldy = CDL_UNROLLED_LINE};
                kernels->unroll(&unrolling);
            }
        }
    }
}
