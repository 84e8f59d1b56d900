/* neon.c - the kernels for 64-bit ARM, whose baseline has NEON and FMA; some have sums of products
 * of bytes too. */
#if defined(__aarch64__)
#if defined(__linux__)
#include <sys/auxv.h>
#endif
#define CDL_ISA neon
#define CDL_VLEN 4
#define CDL_FUSED 1
#define CDL_GEMM_NV 4
#define CDL_GEMM_ROWS(nv) ((nv) <= 2 ? 8 : 6)
#define CDL_MADE dotprod
#include "isa/instantiate.h"

bool cdl_dotprod_runs(void) {
#if defined(__linux__)
    enum { ASIMDDP = 1 << 20 }; /* of AT_HWCAP */
    return (getauxval(AT_HWCAP) & ASIMDDP) != 0;
#else
    return true; /* all Macs of ARM */
#endif
}
#else
typedef int cdl_neon_not_on_this_machine;
#endif
