/* shuffle.h - a random order of rows, bit for bit as NumPy's legacy generator draws it. */
#ifndef CDL_PROGRAM_SHUFFLE_H
#define CDL_PROGRAM_SHUFFLE_H

#include <stddef.h>
#include <stdint.h>

/* The first members of NumPy's bitgen_t (numpy/random/bitgen.h), which stays as it is. */
struct cdl_bits {
    void *state;
    uint64_t (*next_uint64)(void *state);
    uint32_t (*next_uint32)(void *state);
};

/* order[0 .. n) becomes what np.random.permutation(n) returns; as many draws are taken. The caller
 * holds the generator's lock. */
void cdl_shuffle(size_t n, int64_t *order, const struct cdl_bits *bits);

#endif
