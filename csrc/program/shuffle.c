/* shuffle.c - Fisher and Yates's shuffle with NumPy's draws, at half its time.
 *
 * For i from n - 1 down to 1 element i is swapped with element j, drawn from [0, i]: the lowest
 * bits of a draw, as many as i has; a draw above i is rejected. On average a quarter of the draws
 * is rejected, unpredictably: a branch would cost more than all the rest. Here a rejected draw
 * swaps i with itself.
 */
#include "program/shuffle.h"

#include <string.h>

#include "base/memory.h"

static uint64_t mask_of(uint64_t i) { return ~(uint64_t)0 >> __builtin_clzll(i); }

static void swap(int64_t *order, size_t i, size_t j) {
    const int64_t kept = order[i];
    order[i] = order[j];
    order[j] = kept;
}

/* ---- the Mersenne Twister (Matsumoto and Nishimura, 1998) ------------------------------------ */

enum { FAR = 397 }; /* from a word to one that it is mixed with */

void cdl_twister_seed(struct cdl_twister *twister, uint32_t seed) {
    for (uint32_t i = 0; i < CDL_TWISTER_WORDS; i++) {
        twister->words[i] = seed;
        seed = 1812433253u * (seed ^ (seed >> 30)) + i + 1;
    }
    twister->next = CDL_TWISTER_WORDS;
}

static uint32_t mixed(uint32_t word, uint32_t following, uint32_t far) {
    const uint32_t both = (word & 0x80000000u) | (following & 0x7fffffffu);
    return far ^ (both >> 1) ^ (-(both & 1u) & 0x9908b0dfu);
}

static void draw_block(struct cdl_twister *twister) {
    enum { N = CDL_TWISTER_WORDS };
    uint32_t *words = twister->words;
    for (size_t i = 0; i < N - FAR; i++) words[i] = mixed(words[i], words[i + 1], words[i + FAR]);
    for (size_t i = N - FAR; i < N - 1; i++)
        words[i] = mixed(words[i], words[i + 1], words[i + FAR - N]);
    words[N - 1] = mixed(words[N - 1], words[0], words[FAR - 1]);
    for (size_t i = 0; i < N; i++) {
        uint32_t y = words[i];
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c5680u;
        y ^= (y << 15) & 0xefc60000u;
        twister->drawn[i] = y ^ (y >> 18);
    }
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

void cdl_twister_shuffle(size_t n, int64_t *order, struct cdl_twister *twister) {
    const struct cdl_bits bits = {twister, next_uint64, next_uint32};
    cdl_shuffle(n, order, &bits);
}

/* The next numbers, those of a twister block by block. */
static void draw(const struct cdl_bits *bits, uint32_t *to, size_t n) {
    struct cdl_twister *twister = bits->next_uint32 == next_uint32 ? bits->state : NULL;
    for (size_t some; n > 0; to += some, n -= some) {
        some = 1;
        *to = bits->next_uint32(bits->state);
        if (!twister) continue;
        const size_t more = cdl_min(n - 1, CDL_TWISTER_WORDS - twister->next);
        memcpy(to + 1, twister->drawn + twister->next, more * sizeof *to);
        twister->next += more, some += more;
    }
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
        draw(bits, drawn, draws);
        for (size_t d = 0; d < draws; d++) {
            const size_t j = drawn[d] & mask;
            const size_t fits = j <= i;
            swap(order, i, fits ? j : i);
            i -= fits;
        }
    }
}
