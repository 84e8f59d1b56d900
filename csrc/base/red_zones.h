/* red_zones.h - poisoned memory around buffers, in builds with AddressSanitizer.
 *
 * All buffers of a program lie in one allocation, so a write beyond a buffer would change its
 * neighbour unnoticed. Poisoned are a line between two buffers, and the part of a thread's scratch
 * that the running op has not asked for. In other builds nothing of this is compiled.
 */
#pragma once

#include "base/memory.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CDL_HAS_RED_ZONES
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define CDL_HAS_RED_ZONES
#endif

#ifdef CDL_HAS_RED_ZONES
#include <sanitizer/asan_interface.h>

enum { CDL_RED_ZONE = CDL_LINE };
static inline void cdl_poison(const float *from, size_t floats) {
    __asan_poison_memory_region(from, floats * sizeof *from);
}
static inline void cdl_unpoison(const float *from, size_t floats) {
    __asan_unpoison_memory_region(from, floats * sizeof *from);
}
#else
enum { CDL_RED_ZONE = 0 };
static inline void cdl_poison(const float *from, size_t floats) {}
static inline void cdl_unpoison(const float *from, size_t floats) {}
#endif
