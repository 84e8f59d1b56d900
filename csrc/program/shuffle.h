/* shuffle.h - a random order of rows, bit for bit as NumPy's legacy generator draws it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rng.h"

/* The first members of NumPy's bitgen_t (numpy/random/bitgen.h), which stays as it is. */
struct cdl_bits {
    void *state;
    uint64_t (*next_uint64)(void *state);
    uint32_t (*next_uint32)(void *state);
};

/* The Mersenne Twister as NumPy seeds it, with numbers of its own: a block of them is drawn at
 * once. */
struct cdl_twister {
    uint32_t words[CDL_TWISTER_WORDS], drawn[CDL_TWISTER_WORDS];
    size_t next; /* of those drawn */
};

/* Orders of the rows of a model, drawn by a twister of its own. */
struct cdl_row_orders {
    int64_t seed;     /* below 0: rows in turn */
    size_t discarded; /* rows of a permutation that is drawn first and not used */
    bool begun;
    struct cdl_twister twister;
};
/* The next `times` orders of n rows, plus `first`. */
void cdl_row_orders_draw(struct cdl_row_orders *of, size_t n, int64_t first, int64_t *orders,
                         size_t times);

/* order[0 .. n) becomes what np.random.permutation(n) returns, plus `first`; NULL: only as many
 * draws are taken. The caller holds the generator's lock. */
void cdl_shuffle(size_t n, int64_t first, int64_t *order, const struct cdl_bits *bits);
