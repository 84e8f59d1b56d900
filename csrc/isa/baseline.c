/* baseline.c - the kernels for any machine that the compiler aims at (SSE2 on x86-64). */
#define CDL_ISA baseline
#define CDL_VLEN 4
#define CDL_GEMM_NV 2
#define CDL_GEMM_ROWS(nv) ((nv) == 1 ? 8 : 6)
#include "isa/instantiate.h"
