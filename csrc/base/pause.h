/* pause.h - what a thread does between two looks at what it waits for. */
#ifndef CDL_BASE_PAUSE_H
#define CDL_BASE_PAUSE_H

static inline void cdl_pause(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory"); /* some 10 ns; yield takes a single cycle */
#endif
}

#endif
