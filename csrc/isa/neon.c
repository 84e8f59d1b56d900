/* neon.c - the kernels for 64-bit ARM, whose baseline has NEON and FMA. */
#if defined(__aarch64__)
#define CDL_ISA neon
#define CDL_VLEN 4
#define CDL_GEMM_NV 4
#define CDL_GEMM_ROWS(nv) ((nv) <= 2 ? 8 : 6)
#include "isa/instantiate.h"
#else
typedef int cdl_neon_not_on_this_machine;
#endif
