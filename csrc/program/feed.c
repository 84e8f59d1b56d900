/* feed.c - rows of the caller's arrays, of any type and strides, into the program's inputs.
 *
 * A sample is walked in C order: runs along its last axes, as far as these are evenly spaced, are
 * converted and cut into the lines of the input. Only the rows of the batch are copied.
 */
#include <math.h>

#include "isa/isa.h"
#include "program/program.h"

/* Write position within a sample. */
struct cursor {
    const struct cdl_tensor *to;
    char *line;
    size_t column;
};

enum { SWAP_RUN = 64 };

#define SIZE_OF(NAME, TYPE, HOW) [CDL_DTYPE_##NAME] = sizeof(TYPE),
static const size_t item_sizes[CDL_N_DTYPES] = {CDL_DTYPES(SIZE_OF)};

/* Swaps n elements into the machine's byte order, contiguous in `to`. */
static void swap_bytes(size_t n, size_t size, const char *from, ptrdiff_t step, char *to) {
    for (size_t i = 0; i < n; i++, from += step, to += size) {
        for (size_t b = 0; b < size; b++) to[b] = from[size - 1 - b];
    }
}

static void convert(const struct cdl_kernels *kernels, const struct cdl_array *array, bool to_int,
                    size_t n, const char *from, ptrdiff_t step, void *to) {
    if (to_int)
        kernels->convert_int[array->dtype](n, from, step, to);
    else
        kernels->convert[array->dtype](n, from, step, to);
}

/* A run: the axes of a sample from `axis` on, n elements, `step` bytes apart. */
struct element_run {
    int axis;
    size_t n;
    ptrdiff_t step;
};

static struct element_run run_of(const struct cdl_array *array) {
    struct element_run run = {.axis = array->n_dims, .n = 1};
    for (; run.axis > 1; run.axis--) {
        const size_t size = array->shape[run.axis - 1];
        const ptrdiff_t stride = array->strides[run.axis - 1];
        if (size == 1) continue; /* the stride of a single element does not matter */
        if (run.n > 1 && stride != run.step * (ptrdiff_t)run.n) break;
        if (run.n == 1) run.step = stride;
        run.n *= size;
    }
    return run;
}

/* Are the lines of a sample contiguous? */
static bool is_solid(const struct cdl_tensor *to) { return to->lines == 1 || to->width == to->ld; }

/* Short lines are converted several at a time and spread, since a call for each costs more. On a
 * Zen 4 core it is 1.3 times as fast at 47 floats a line, and 0.6 times at 63. */
enum { SHORT = 48, TOGETHER = 256 };

static void spread(const struct cdl_kernels *kernels, const struct cdl_array *array, size_t lines,
                   const char *from, ptrdiff_t step, const struct cdl_tensor *to, char *line) {
    float numbers[TOGETHER];
    const size_t together = TOGETHER / to->width;
    for (size_t n; lines > 0; lines -= n) {
        n = cdl_min(lines, together);
        convert(kernels, array, false, n * to->width, from, step, numbers);
        kernels->copy_columns(n, to->width, numbers, to->width, (float *)(void *)line, to->ld);
        from += (ptrdiff_t)(n * to->width) * step;
        line += n * to->ld * sizeof(float);
    }
}

/* Writes n elements at the cursor, over as many lines as they fill. */
static void put(const struct cdl_kernels *kernels, const struct cdl_array *array, size_t n,
                const char *from, ptrdiff_t step, struct cursor *at) {
    const size_t size = item_sizes[array->dtype], width = at->to->width;
    const bool swaps = array->swapped && size > 1, solid = is_solid(at->to);
    _Alignas(16) char swapped[SWAP_RUN * sizeof(long double)];
    for (size_t run; n > 0; n -= run, from += (ptrdiff_t)run * step) {
        run = solid ? n : cdl_min(n, width - at->column);
        char *to = at->line + at->column * sizeof(float);
        if (swaps) {
            run = cdl_min(run, SWAP_RUN);
            swap_bytes(run, size, from, step, swapped);
            convert(kernels, array, cdl_is_int(at->to), run, swapped, (ptrdiff_t)size, to);
        } else if (!solid && width < SHORT && at->column == 0 && n > width) {
            run = n / width * width;
            spread(kernels, array, n / width, from, step, at->to, to);
        } else {
            convert(kernels, array, cdl_is_int(at->to), run, from, step, to);
        }
        at->column += run;
        if (at->column >= width && !solid) {
            at->line += at->column / width * at->to->ld * sizeof(float);
            at->column %= width;
        }
    }
}

static void put_axes(const struct cdl_kernels *kernels, const struct cdl_array *array,
                     const struct element_run *run, int axis, const char *from, struct cursor *at) {
    if (axis == run->axis) {
        put(kernels, array, run->n, from, run->step, at);
        return;
    }
    for (size_t i = 0; i < array->shape[axis]; i++) {
        put_axes(kernels, array, run, axis + 1, from + (ptrdiff_t)i * array->strides[axis], at);
    }
}

/* Prefetch distance: about a batch of a small net. The hardware cannot foresee shuffled rows, and
 * loses track of rows in order between two batches. A step of 100-64-10 took 20 % longer without,
 * and 6 % on rows in order; and 6 % longer with rows in L1, where they displace what the step works
 * on, than in L2. */
enum { BYTES_AHEAD = 16384, CACHE_LINE = 64, ITEMS_AHEAD = BYTES_AHEAD / CACHE_LINE };

/* Prefetches n elements, `step` bytes apart. */
static void fetch(const char *row, size_t n, size_t size, ptrdiff_t step) {
    if (step == (ptrdiff_t)size) {
        for (size_t b = 0; b < n * size; b += CACHE_LINE) __builtin_prefetch(row + b, 0, 2);
    } else {
        for (size_t j = 0; j < n; j++) __builtin_prefetch(row + (ptrdiff_t)j * step);
    }
}

/* Copies floats; a call to memcpy costs as much as a short row. */
static inline void copy_floats(size_t n, const char *from, float *to) {
    enum { FEW = 4 };
    if (n > 8 * FEW) {
        memcpy(to, from, n * sizeof *to);
    } else if (n >= FEW) { /* whole fours, the last of them over the one before */
        for (size_t j = 0; j + FEW < n; j += FEW)
            memcpy(to + j, from + j * sizeof *to, FEW * sizeof *to);
        memcpy(to + n - FEW, from + (n - FEW) * sizeof *to, FEW * sizeof *to);
    } else {
        if (n & 2) memcpy(to, from, 2 * sizeof *to);
        if (n & 1) memcpy(to + n - 1, from + (n - 1) * sizeof *to, sizeof *to);
    }
}

/* Gathers an item of `size` bytes from each of n rows, side by side. */
static inline void pick_items(size_t n, size_t size, const char *data, ptrdiff_t stride,
                              const int64_t *order, char *to) {
    for (size_t i = 0; i < n; i++) memcpy(to + i * size, data + order[i] * stride, size);
}

/* Shuffled rows of one number, gathered together: a call for each would cost more than that. */
static void gather_items(const struct cdl_kernels *kernels, const struct cdl_array *array,
                         struct cdl_picked rows, size_t first, size_t last,
                         const struct cdl_tensor *to) {
    const size_t size = item_sizes[array->dtype];
    const ptrdiff_t stride = array->strides[0];
    _Alignas(16) char items[SWAP_RUN * sizeof(long double)];
    for (size_t i = first, n; i < last; i += n) {
        n = cdl_min(last - i, SWAP_RUN);
        const int64_t *at = rows.order + rows.start + i;
        for (size_t k = 0; k < n && rows.start + i + k + ITEMS_AHEAD < rows.all; k++)
            __builtin_prefetch(array->data + at[k + ITEMS_AHEAD] * stride);
        if (size == 1) /* a copy of a size that the compiler knows is one instruction */
            pick_items(n, 1, array->data, stride, at, items);
        else if (size == 4)
            pick_items(n, 4, array->data, stride, at, items);
        else if (size == 8)
            pick_items(n, 8, array->data, stride, at, items);
        else
            pick_items(n, size, array->data, stride, at, items);
        convert(kernels, array, cdl_is_int(to), n, items, (ptrdiff_t)size, to->data + i);
    }
}

static inline const char *row_of(const struct cdl_array *array, struct cdl_picked rows, size_t i) {
    const size_t at = rows.start + i;
    return array->data + (rows.order ? rows.order[at] : (int64_t)at) * array->strides[0];
}

/* The usual case: one conversion a row, or one copy. */
static void gather_runs(const struct cdl_kernels *kernels, const struct cdl_array *array,
                        struct element_run run, struct cdl_picked rows, size_t first, size_t last,
                        const struct cdl_tensor *to) {
    const size_t size = item_sizes[array->dtype], n = run.n, sample = to->lines * to->ld;
    const bool packed = run.step == (ptrdiff_t)size || n == 1;
    const ptrdiff_t step = packed ? (ptrdiff_t)size : run.step;
    const size_t bytes = n * (packed ? size : CACHE_LINE);
    const size_t ahead = BYTES_AHEAD / (bytes + CACHE_LINE) + 1;
    const size_t more = rows.start + ahead < rows.all ? rows.all - rows.start - ahead : 0;
    const bool copies = packed && array->dtype == CDL_DTYPE_float32 && !cdl_is_int(to);
    const struct cdl_array own = *array; /* no store changes it, as the compiler knows */
    float *line = to->data + first * sample;
    for (size_t i = first; i < last; i++, line += sample) {
        const char *from = row_of(&own, rows, i);
        if (copies)
            copy_floats(n, from, line);
        else
            convert(kernels, array, cdl_is_int(to), n, from, step, line);
    }
    /* Behind the copies, which need not wait for memory then. */
    for (size_t i = first; i < cdl_min(last, more); i++)
        fetch(row_of(&own, rows, i + ahead), n, size, step);
}

/* Adds n stored elements to their places in a sample of `size` elements, which may be cut into
 * lines. Columns are checked here: they are the caller's memory, which may change at any time. */
static void scatter(const struct cdl_kernels *kernels, const struct cdl_array *array, size_t n,
                    size_t at, const struct cdl_tensor *to, float *sample) {
    const struct cdl_sparse *sparse = array->sparse;
    const size_t item = item_sizes[array->dtype], size = array->shape[1];
    float value[SWAP_RUN];
    for (size_t done = 0, run; done < n; done += run, at += run) {
        run = cdl_min(n - done, SWAP_RUN);
        convert(kernels, array, false, run, sparse->values + at * item, (ptrdiff_t)item, value);
        for (size_t k = 0; k < run; k++) {
            int32_t narrow;
            int64_t column;
            if (sparse->wide) {
                memcpy(&column, sparse->columns + (at + k) * sizeof column, sizeof column);
            } else {
                memcpy(&narrow, sparse->columns + (at + k) * sizeof narrow, sizeof narrow);
                column = narrow;
            }
            const size_t j = (size_t)column;
            if (j >= size) continue;
            sample[to->lines == 1 ? j : j / to->width * to->ld + j % to->width] += value[k];
        }
    }
}

/* Sparse rows: elements that are not stored are 0. */
static void gather_sparse(const struct cdl_kernels *kernels, const struct cdl_array *array,
                          struct cdl_picked rows, size_t first, size_t last,
                          const struct cdl_tensor *to) {
    for (size_t i = first; i < last; i++) {
        float *sample = to->data + i * to->lines * to->ld;
        for (size_t line = 0; line < to->lines; line++)
            memset(sample + line * to->ld, 0, to->width * sizeof *sample);
        int64_t bounds[2];
        memcpy(bounds, row_of(array, rows, i), sizeof bounds);
        const size_t begin = (size_t)bounds[0], end = (size_t)bounds[1];
        if (begin < end && end <= array->sparse->stored)
            scatter(kernels, array, end - begin, begin, to, sample);
    }
}

static void gather(const struct cdl_kernels *kernels, const struct cdl_array *array,
                   struct cdl_picked rows, size_t first, size_t last, const struct cdl_tensor *to) {
    if (array->sparse) {
        gather_sparse(kernels, array, rows, first, last, to);
        return;
    }
    const struct element_run run = run_of(array);
    const bool is_one = run.axis <= 1 && !array->swapped && is_solid(to); /* and contiguous */
    if (is_one && run.n == 1 && rows.order)
        gather_items(kernels, array, rows, first, last, to);
    else if (is_one)
        gather_runs(kernels, array, run, rows, first, last, to);
    for (size_t i = first; i < last && !is_one; i++) {
        struct cursor at = {.to = to, .line = (char *)(to->data + i * to->lines * to->ld)};
        put_axes(kernels, array, &run, 1, row_of(array, rows, i), &at);
    }
}

size_t cdl_feed_floats(const struct cdl_tensor *to) {
    return cdl_is_bf16(to) ? CDL_ROW_BLOCK * to->lines * cdl_stride(to->width) : 0;
}

void cdl_feed(const struct cdl_kernels *kernels, const struct cdl_array *array,
              struct cdl_picked rows, size_t first, size_t last, const struct cdl_tensor *to,
              float *scratch) {
    if (!cdl_is_bf16(to)) {
        gather(kernels, array, rows, first, last, to);
        if (!cdl_rounds_to(to->dtype) || array->dtype == to->dtype) return;
        float *lines = cdl_rows(to, first);
        kernels->round_numbers(to->dtype, (last - first) * to->lines * to->ld, lines, lines);
        return;
    }
    struct cdl_tensor floats = *to;
    floats.ld = cdl_stride(to->width), floats.data = scratch;
    rows.start += first;
    for (size_t n; first < last; first += n, rows.start += n) {
        n = cdl_min(last - first, CDL_ROW_BLOCK);
        gather(kernels, array, rows, 0, n, &floats);
        kernels->bf16_from_floats(n * to->lines, to->width, scratch, floats.ld,
                                  cdl_bf16(cdl_rows(to, first)), to->ld);
    }
}

/* An item of `size` bytes of each lane, side by side. */
static inline void pick_lanes(const struct cdl_lane_rows *from, size_t r, size_t size, char *to) {
    for (size_t l = 0; l < CDL_LINE; l++)
        memcpy(to + l * size, from->data[l] + from->order[l][r] * from->stride[l], size);
}

bool cdl_feed_lanes(const struct cdl_kernels *kernels, const struct cdl_array *const *arrays,
                    const int64_t *const *orders, size_t n, size_t more, bool fetches,
                    const struct cdl_tensor *to) {
    const enum cdl_dtype dtype = arrays[0]->dtype;
    const size_t size = item_sizes[dtype];
    struct cdl_lane_rows from;
    struct element_run run = {0};
    for (size_t l = 0; l < CDL_LINE; l++) {
        const struct cdl_array *array = arrays[l];
        if (l == 0 || array != arrays[0]) run = run_of(array);
        const bool floats = dtype == CDL_DTYPE_float32 && run.step == sizeof(float);
        if (array->sparse || array->swapped || array->dtype != dtype || run.axis > 1 ||
            (run.n > 1 && (!floats || cdl_is_int(to))))
            return false;
        from.data[l] = array->data, from.stride[l] = array->strides[0], from.order[l] = orders[l];
    }
    if (run.n > 1) {
        kernels->lanes_gather(n, run.n, &from, to->data);
        for (size_t l = 0; l < CDL_LINE; l++) {
            const int64_t *next = from.order[l] + n;
            const size_t some = cdl_min(n, more), then = cdl_min(n, more - some);
            fetch((const char *)(next + some), then, sizeof *next, sizeof *next);
            for (size_t r = 0; r < some && fetches; r++)
                fetch(from.data[l] + next[r] * from.stride[l], run.n, size, (ptrdiff_t)size);
        }
        return true;
    }
    _Alignas(16) char items[CDL_LINE * sizeof(long double)];
    const bool copies = dtype == CDL_DTYPE_float32 && !cdl_is_int(to);
    for (size_t r = 0; r < n; r++) {
        float *line = to->data + r * CDL_LINE;
        if (copies) {
            pick_lanes(&from, r, sizeof *line, (char *)line);
            continue;
        }
        if (size == sizeof(int64_t)) /* as in gather_items */
            pick_lanes(&from, r, sizeof(int64_t), items);
        else
            pick_lanes(&from, r, size, items);
        convert(kernels, arrays[0], cdl_is_int(to), CDL_LINE, items, (ptrdiff_t)size, line);
    }
    return true;
}

bool cdl_may_be_inexact(const struct cdl_array *array) {
    return array->dtype > CDL_DTYPE_uint16; /* behind bool and integers of one and two bytes */
}

void cdl_check_whole(const struct cdl_tensor *x, size_t start, size_t first, size_t last) {
    for (size_t i = first; i < last; i++) {
        for (size_t l = 0; l < x->lines; l++) {
            const float *line = cdl_rows(x, i) + l * x->ld;
            float most = 0.0f;
            for (size_t j = 0; j < x->width; j++) {
                const float size = fabsf(line[j]);
                most = size > most ? size : most;
            }
            if (most >= CDL_EXACT) cdl_fault_note(x->fault, start + i, most, CDL_EXACT);
        }
    }
}

struct class_check {
    const struct cdl_kernels *kernels;
    const struct cdl_array *array;
    double classes;
    int64_t seen;
};

#define READ_LABEL(NAME, TYPE, HOW)                                                                \
    if (array->dtype == CDL_DTYPE_##NAME) {                                                        \
        TYPE v;                                                                                    \
        memcpy(&v, value, sizeof v);                                                               \
        label = (double)v;                                                                         \
    }

/* Index of the first wrong element from `from` on, or -1; counts the elements it has seen. */
static int64_t check_axes(struct class_check *check, int axis, const char *from) {
    const struct cdl_array *array = check->array;
    if (axis < array->n_dims) {
        for (size_t i = 0; i < array->shape[axis]; i++) {
            const int64_t bad =
                check_axes(check, axis + 1, from + (ptrdiff_t)i * array->strides[axis]);
            if (bad >= 0) return bad;
        }
        return -1;
    }
    _Alignas(16) char value[sizeof(long double)];
    const size_t size = item_sizes[array->dtype];
    double label = 0.0;
    float rounded;
    if (array->swapped && size > 1)
        swap_bytes(1, size, from, 0, value);
    else
        memcpy(value, from, size);
    CDL_DTYPES(READ_LABEL)
    if (array->dtype == CDL_DTYPE_float16 || array->dtype == CDL_DTYPE_bfloat16) {
        check->kernels->convert[array->dtype](1, value, (ptrdiff_t)size, &rounded);
        label = (double)rounded;
    }
    const bool right = label >= 0.0 && label < check->classes && label == (double)(int64_t)label;
    return right ? (check->seen++, -1) : check->seen;
}

/* Are contiguous labels of int64, as most are, all right? */
static bool are_right(const struct cdl_array *array, int64_t classes) {
    size_t n = 1;
    bool right = array->dtype == CDL_DTYPE_int64 && !array->swapped;
    for (int axis = array->n_dims - 1; axis >= 0; n *= array->shape[axis--])
        right &= array->strides[axis] == (ptrdiff_t)(n * sizeof(int64_t));
    for (size_t i = 0; i < n && right;) { /* some at a time, without a branch */
        for (const size_t last = cdl_min(i + SHORT, n); i < last; i++) {
            int64_t label;
            memcpy(&label, array->data + i * sizeof label, sizeof label);
            right &= label >= 0 && label < classes;
        }
    }
    return right;
}

int64_t cdl_check_classes(const struct cdl_array *array, int64_t classes) {
    if (are_right(array, classes)) return -1;
    struct class_check check = {cdl_isa_choose(NULL), array, (double)classes, 0};
    return check_axes(&check, 0, array->data);
}
