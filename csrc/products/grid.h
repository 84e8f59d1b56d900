/* grid.h - pieces of a result that are numbered through: places of an outer axis, each with all
 * places of an inner one, and what a range of them covers.
 */
#ifndef CDL_PRODUCTS_GRID_H
#define CDL_PRODUCTS_GRID_H

#include <stddef.h>

struct cdl_rectangle {
    size_t outer, outer_end, inner, inner_end;
};

/* The largest rectangle at the beginning of pieces [*first, last), of `inner` an outer place: its
 * pieces are taken from the range. */
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

#endif
