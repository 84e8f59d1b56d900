/* shuffle.c - Fisher and Yates's shuffle with NumPy's draws, at half its time.
 *
 * For i from n - 1 down to 1 element i is swapped with element j, drawn from [0, i]: the lowest
 * bits of a draw, as many as i has; a draw above i is rejected. On average a quarter of the draws
 * is rejected, unpredictably: a branch would cost more than all the rest. Here those that are not
 * are found first, without one, since a swap would wait for the memory that the one before wrote.
 */
#include "program/shuffle.h"

#include "base/memory.h"
#include "isa/isa.h"

static uint64_t mask_of(uint64_t i) { return ~(uint64_t)0 >> __builtin_clzll(i); }

static void swap(int64_t *order, size_t i, size_t j) {
    const int64_t kept = order[i];
    order[i] = order[j];
    order[j] = kept;
}

/* ---- the Mersenne Twister (kernels/noise.h) -------------------------------------------------- */

static void plant(struct cdl_twister *twister, uint32_t seed) {
    for (uint32_t i = 0; i < CDL_TWISTER_WORDS; i++) {
        twister->words[i] = seed;
        seed = 1812433253u * (seed ^ (seed >> 30)) + i + 1;
    }
    twister->next = CDL_TWISTER_WORDS;
}

static void draw_block(struct cdl_twister *twister) {
    cdl_isa_choose(NULL)->twist(twister->words, twister->drawn);
    twister->next = 0;
}

static uint32_t next_uint32(void *state) {
    struct cdl_twister *twister = state;
    if (twister->next == CDL_TWISTER_WORDS) draw_block(twister);
    return twister->drawn[twister->next++];
}

static uint64_t next_uint64(void *state) {
    const uint64_t high = next_uint32(state);
    return high << 32 | next_uint32(state);
}

void cdl_row_orders_draw(struct cdl_row_orders *of, size_t n, int64_t first, int64_t *orders,
                         size_t times) {
    const struct cdl_bits bits = {&of->twister, next_uint64, next_uint32};
    if (of->seed >= 0 && !of->begun) {
        plant(&of->twister, (uint32_t)of->seed);
        cdl_shuffle(of->discarded, 0, NULL, &bits);
    }
    of->begun = true;
    for (size_t k = 0; k < times; k++, orders += n) {
        if (of->seed >= 0) cdl_shuffle(n, first, orders, &bits);
        for (size_t i = 0; i < n && of->seed < 0; i++) orders[i] = first + (int64_t)i;
    }
}

/* The next numbers: those that a twister has drawn, where they lie, or one, in `room`. */
static const uint32_t *draw(const struct cdl_bits *bits, uint32_t *room, size_t *n) {
    struct cdl_twister *twister = bits->state;
    if (bits->next_uint32 != next_uint32) {
        *room = bits->next_uint32(bits->state), *n = 1;
        return room;
    }
    if (twister->next == CDL_TWISTER_WORDS) draw_block(twister);
    *n = CDL_TWISTER_WORDS - twister->next;
    return twister->drawn + twister->next;
}
static void take(const struct cdl_bits *bits, size_t n) {
    struct cdl_twister *twister = bits->state;
    if (bits->next_uint32 == next_uint32) twister->next += n;
}

/* Elements that i, i - 1 ... down to `last` are swapped with. */
static void find_below(size_t i, size_t last, uint32_t *below, const struct cdl_bits *bits) {
    size_t left = i;
    while (left >= last) {
        const size_t mask = (size_t)mask_of(left), least = cdl_max(mask / 2 + 1, last);
        uint32_t room;
        size_t n, d = 0;
        const uint32_t *drawn = draw(bits, &room, &n);
        for (; left >= least && d < n; d++) {
            const size_t j = drawn[d] & mask;
            below[i - left] = (uint32_t)j;
            left -= j <= left;
        }
        take(bits, d);
    }
}

void cdl_shuffle(size_t n, int64_t first, int64_t *order, const struct cdl_bits *bits) {
    enum { TOGETHER = 1024 };
    uint32_t below[TOGETHER];
    for (size_t i = 0; i < n && order; i++) order[i] = first + (int64_t)i;
    size_t i = n > 0 ? n - 1 : 0;
    for (; i > UINT32_MAX; i--) {
        uint64_t j = bits->next_uint64(bits->state) & mask_of(i);
        while (j > i) j = bits->next_uint64(bits->state) & mask_of(i);
        if (order) swap(order, i, (size_t)j);
    }
    while (i > 0) {
        const size_t some = cdl_min(i, TOGETHER);
        find_below(i, i - some + 1, below, bits);
        for (size_t k = 0; k < some && order; k++) swap(order, i - k, below[k]);
        i -= some;
    }
}
