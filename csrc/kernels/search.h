/* search.h - the largest of some numbers, and binary search among ascending ones. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* True if b is above a, the best so far; a NaN is above all numbers but another NaN. */
static inline bool cdl_is_above(float b, float a) { return b > a || (b != b && a == a); }

/* Index of the largest of n, the first of equals, as numpy.argmax; a NaN counts as largest. */
static inline size_t cdl_argmax(size_t n, const float *y) {
    size_t best = 0;
    for (size_t j = 1; j < n; j++) best = cdl_is_above(y[j], y[best]) ? j : best;
    return best;
}

/* Number of the n ascending numbers that are less than x, or at most x; none, or all, for NaN. */
static inline size_t cdl_count_below(size_t n, const float *ascending, float x, bool or_equal) {
    size_t low = 0, high = n; /* those before `low` are, none from `high` on is */
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (or_equal ? !(x < ascending[middle]) : x > ascending[middle])
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}
