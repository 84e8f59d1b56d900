/* rng.h - counter-based random bits: a pure function of (key, counter), so that a run has no
 * hidden state and any element of any step can be drawn again (backward does).
 *
 * The mixer is the 32-bit xorshift-multiply "lowbias32" (Chris Wellons, "Prospecting for hash
 * functions", 2018), which vectorises on every ISA; the key enters before and between the rounds.
 */
#pragma once

#include <stdint.h>

struct cdl_key {
    uint32_t a, b;
};

static inline uint32_t cdl_mix32(uint32_t x) {
    x ^= x >> 16;
    x *= 0x7feb352dU;
    x ^= x >> 15;
    x *= 0x846ca68bU;
    x ^= x >> 16;
    return x;
}

static inline uint64_t
cdl_mix64(uint64_t x) { /* the finaliser of SplitMix64 (Steele et al., 2014) */
    x += 0x9e3779b97f4a7c15U;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
    return x ^ (x >> 31);
}

/* The key of one instruction in one step. */
static inline struct cdl_key cdl_key_of(uint64_t seed, uint64_t step, uint64_t instruction) {
    uint64_t mixed = cdl_mix64(cdl_mix64(cdl_mix64(seed) ^ step) ^ instruction);
    return (struct cdl_key){(uint32_t)mixed, (uint32_t)(mixed >> 32)};
}

/* The key of one row. Both halves depend on it: rows whose first halves differ by no more than
 * indices do would else have the same numbers in another order. */
static inline struct cdl_key cdl_row_key(struct cdl_key key, uint32_t row) {
    const uint32_t mixed = cdl_mix32(row);
    return (struct cdl_key){key.a ^ mixed, key.b + cdl_mix32(mixed + 0x9e3779b9U)};
}

/* 32 random bits for element `index` of a row, of its key. */
static inline uint32_t cdl_random_bits(struct cdl_key key, uint32_t index) {
    return cdl_mix32(cdl_mix32(index ^ key.a) + key.b);
}

/* Words of a Mersenne Twister, and numbers that it draws at a time. */
enum { CDL_TWISTER_WORDS = 624 };
