/* grid.h - numbering of pieces along two axes: all places of the inner axis for each of the outer
 * one, and the rectangles in a range of them. */
#pragma once

#include <stddef.h>

struct cdl_rectangle {
    size_t outer, outer_end, inner, inner_end;
};

/* Cuts the largest rectangle from the start of pieces [*first, last), of `inner` an outer place. */
static inline struct cdl_rectangle cdl_next_rectangle(size_t *first, size_t last, size_t inner) {
    const size_t outer = *first / inner, at = *first % inner, left = last - *first;
    struct cdl_rectangle part = {outer, outer + 1, at, inner};
    if (at > 0 || left < inner)
        part.inner_end = inner - at < left ? inner : at + left;
    else
        part.outer_end = outer + left / inner;
    *first += (part.outer_end - outer) * (part.inner_end - at);
    return part;
}
