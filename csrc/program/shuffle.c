/* shuffle.c - Fisher and Yates's shuffle with NumPy's draws, at half its time.
 *
 * For i from n - 1 down to 1 element i is swapped with element j, drawn from [0, i]: the lowest
 * bits of a draw, as many as i has; a draw above i is rejected. On average a quarter of the draws
 * is rejected, unpredictably: a branch would cost more than all the rest. Here a rejected draw
 * swaps i with itself.
 */
#include "program/shuffle.h"

#include "base/memory.h"

static uint64_t mask_of(uint64_t i) { return ~(uint64_t)0 >> __builtin_clzll(i); }

static void swap(int64_t *order, size_t i, size_t j) {
    const int64_t kept = order[i];
    order[i] = order[j];
    order[j] = kept;
}

void cdl_shuffle(size_t n, int64_t *order, const struct cdl_bits *bits) {
    enum { DRAWS = 256 };
    for (size_t i = 0; i < n; i++) order[i] = (int64_t)i;
    size_t i = n > 0 ? n - 1 : 0;
    for (; i > UINT32_MAX; i--) {
        uint64_t j = bits->next_uint64(bits->state) & mask_of(i);
        while (j > i) j = bits->next_uint64(bits->state) & mask_of(i);
        swap(order, i, (size_t)j);
    }
    while (i > 0) {
        const size_t mask = (size_t)mask_of(i);
        const size_t same = i - mask / 2; /* rows from i down that have this mask */
        const size_t draws = cdl_min(same, DRAWS);
        uint32_t drawn[DRAWS];
        for (size_t d = 0; d < draws; d++) drawn[d] = bits->next_uint32(bits->state);
        for (size_t d = 0; d < draws; d++) {
            const size_t j = drawn[d] & mask;
            const size_t fits = j <= i;
            swap(order, i, fits ? j : i);
            i -= fits;
        }
    }
}
