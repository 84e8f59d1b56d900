/* avx2.c - the kernels for x86-64 with AVX2 and FMA. */
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#define CDL_ISA avx2
#define CDL_VLEN 8
#define CDL_GEMM_NV 2
#define CDL_GEMM_ROWS(nv) ((nv) == 1 ? 12 : 6)
#include "isa/instantiate.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int cdl_avx2_not_on_this_machine;
#endif
