/* avx2.c - the kernels for x86-64 with AVX2 and FMA, and with AVX-VNNI too. */
#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#define CDL_ISA avx2
#define CDL_VLEN 8
#define CDL_FUSED 1
#define CDL_GEMM_NV 2
#define CDL_GEMM_ROWS(nv) ((nv) == 1 ? 12 : 6)
#define CDL_MADE avxvnni
#include "isa/instantiate.h"

bool cdl_avxvnni_runs(void) {
    enum { AVX_VNNI = 1 << 4 };
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && eax >= 1 &&
           __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && (eax & AVX_VNNI);
}
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int cdl_avx2_not_on_this_machine;
#endif
