/* shuffle.h - a random order of rows, bit for bit as NumPy's legacy generator draws it. */
#pragma once

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
void cdl_twister_seed(struct cdl_twister *twister, uint32_t seed);

/* cdl_shuffle with the draws of that one. */
void cdl_twister_shuffle(size_t n, int64_t first, int64_t *order, struct cdl_twister *twister);

/* order[0 .. n) becomes what np.random.permutation(n) returns, plus `first`; as many draws are
 * taken. The caller holds the generator's lock. */
void cdl_shuffle(size_t n, int64_t first, int64_t *order, const struct cdl_bits *bits);
