/* avx512.c - the kernels for x86-64 with AVX-512 F, DQ, BW, VL. */
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(                                                                      \
    __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma,prefer-vector-width=512")
#endif
#define CDL_ISA avx512
#define CDL_VLEN 16
#define CDL_FUSED 1
#define CDL_GEMM_NV 4
#define CDL_GEMM_ROWS(nv) ((nv) == 1 ? 14 : (nv) == 2 ? 12 : (nv) == 3 ? 8 : 6)
#include "isa/instantiate.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int cdl_avx512_not_on_this_machine;
#endif
