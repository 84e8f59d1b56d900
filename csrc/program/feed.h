/* feed.h - the caller's arrays, and the copy of their rows into the program's inputs. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ops/op.h"

enum { CDL_MAX_ARRAY_DIMS = CDL_MAX_DIMS + 1 };

/* The stored elements of a sparse array of two axes, row by row (CSR). */
struct cdl_sparse {
    const char *values;  /* of the array's dtype */
    const char *columns; /* int32, or int64 if `wide` */
    bool wide;
    size_t stored; /* number of stored elements */
};

/* A strided array; axis 0 are the samples. Rows are converted as they are used, never copied as a
 * whole. */
struct cdl_array {
    const char *data; /* sparse: int64 offsets of the rows, and the end of the last */
    enum cdl_dtype dtype;
    bool swapped; /* byte order is not the machine's */
    int n_dims;
    size_t shape[CDL_MAX_ARRAY_DIMS];
    ptrdiff_t strides[CDL_MAX_ARRAY_DIMS]; /* in bytes */
    const struct cdl_sparse *sparse;       /* or NULL: every element is there */
};

/* Number of the first element (in C order) that is no integer in [0, classes), or -1. */
int64_t cdl_check_classes(const struct cdl_array *array, int64_t classes);

/* Faults of integer inputs: notes a number that no float holds, in samples [first, last), numbered
 * from `start` on; and can an array have such numbers at all? */
void cdl_check_whole(const struct cdl_tensor *x, size_t start, size_t first, size_t last);
bool cdl_may_be_inexact(const struct cdl_array *array);

/* Rows of a batch in an array: of those that an epoch takes, in its order unless that is NULL, all
 * from `start` on. */
struct cdl_picked {
    const int64_t *order;
    size_t all, start;
};

/* Copies and converts samples [first, last) of the batch into the input's rows, and prefetches
 * later ones. An input of bfloat16 wants scratch of cdl_feed_floats. */
void cdl_feed(const struct cdl_kernels *kernels, const struct cdl_array *array,
              struct cdl_picked rows, size_t first, size_t last, const struct cdl_tensor *to,
              float *scratch);
size_t cdl_feed_floats(const struct cdl_tensor *to);

/* Copies n rows of each of CDL_LINE arrays, by their orders, to lines: of each row and element the
 * numbers of all. Of the `more` rows behind them it prefetches the next n if `fetches`, and numbers
 * of those after. False, and nothing is copied, unless the rows are packed floats or one number. */
bool cdl_feed_lanes(const struct cdl_kernels *kernels, const struct cdl_array *const *arrays,
                    const int64_t *const *orders, size_t n, size_t more, bool fetches,
                    const struct cdl_tensor *to);
