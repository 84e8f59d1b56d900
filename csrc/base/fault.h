/* fault.h - what an op finds wrong in its inputs while it runs, such as a row number that is none.
 *
 * It must go on without harm; the run ends before the weights of this batch have changed, and the
 * caller is told. Of several the one in the first line counts, whichever thread finds it.
 */
#ifndef CDL_BASE_FAULT_H
#define CDL_BASE_FAULT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct cdl_fault {
    _Atomic uint64_t first; /* the line and the value in it; all bits set: none */
    _Atomic size_t limit;   /* values are to be in [0, limit) */
    int instruction;
};

static inline void cdl_fault_clear(struct cdl_fault *fault) {
    atomic_store_explicit(&fault->first, UINT64_MAX, memory_order_relaxed);
}

static inline bool cdl_fault_is_set(const struct cdl_fault *fault) {
    return atomic_load_explicit(&fault->first, memory_order_relaxed) != UINT64_MAX;
}

static inline void cdl_fault_note(struct cdl_fault *fault, size_t line, float value, size_t limit) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint64_t found = (uint64_t)(line < UINT32_MAX ? line : UINT32_MAX - 1) << 32 | bits;
    uint64_t before = atomic_load_explicit(&fault->first, memory_order_relaxed);
    while (found < before &&
           !atomic_compare_exchange_weak_explicit(&fault->first, &before, found,
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

#endif
