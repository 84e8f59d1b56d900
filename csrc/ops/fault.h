/* fault.h - invalid numbers in an op's inputs, found in a run, such as an index beyond a table.
 *
 * The op goes on without harm; the run ends before the weights of this batch have changed, and the
 * caller is told. Of several faults that of the first sample counts, whichever thread finds it.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Numbers are floats: up to here each whole number is one. */
enum { CDL_EXACT = 1 << 24 };

struct cdl_fault {
    _Atomic uint64_t first; /* number of the sample, and the value; all bits set: none */
    _Atomic size_t limit;   /* values are to be in [0, limit) */
    int instruction;        /* its number, or -1 - that of an input */
    bool shared;            /* in what all samples share */
};

static inline void cdl_fault_clear(struct cdl_fault *fault) {
    atomic_store_explicit(&fault->first, UINT64_MAX, memory_order_relaxed);
}

/* Number of the first sample with a fault; SIZE_MAX if there is none. */
static inline size_t cdl_fault_sample(const struct cdl_fault *fault) {
    const uint64_t first = atomic_load_explicit(&fault->first, memory_order_relaxed);
    return first == UINT64_MAX ? SIZE_MAX : (size_t)(first >> 32);
}

/* Samples are counted over the whole run; of two faults in one sample the first that is recorded
 * stays. */
static inline void cdl_fault_note(struct cdl_fault *fault, size_t sample, float value,
                                  size_t limit) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint64_t at = sample < UINT32_MAX ? sample : UINT32_MAX - 1;
    uint64_t before = atomic_load_explicit(&fault->first, memory_order_relaxed);
    while (at < before >> 32 &&
           !atomic_compare_exchange_weak_explicit(&fault->first, &before, at << 32 | bits,
                                                  memory_order_relaxed, memory_order_relaxed)) {
    }
    atomic_store_explicit(&fault->limit, limit, memory_order_relaxed);
}

static inline float cdl_fault_value(const struct cdl_fault *fault) {
    const uint32_t bits = (uint32_t)atomic_load_explicit(&fault->first, memory_order_relaxed);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}
