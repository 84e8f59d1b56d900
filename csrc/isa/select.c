/* select.c - choosing an ISA by name or by what the machine can run. */
#include "isa/isa.h"

#include <stdatomic.h>
#include <string.h>

#define MADE(NAME, RUNS) extern struct cdl_kernels cdl_kernels_##NAME;
#define ISA(NAME, RUNS) extern const struct cdl_kernels cdl_kernels_##NAME;
#include "isa/isa.def"
#undef ISA
#undef MADE

static const struct cdl_kernels *const tables[] = {
#define MADE ISA
#define ISA(NAME, RUNS) &cdl_kernels_##NAME,
#include "isa/isa.def"
#undef ISA
#undef MADE
};

enum { N_ISAS = sizeof tables / sizeof tables[0] };

const char *cdl_isa_name(int i) { return i >= 0 && i < N_ISAS ? tables[i]->isa : NULL; }

const struct cdl_kernels *cdl_isa_kernels(int i) { return i >= 0 && i < N_ISAS ? tables[i] : NULL; }

/* A bit for each ISA that the machine runs. */
static unsigned runs_here(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
#endif
    const bool runs[] = {
#define MADE ISA
#define ISA(NAME, RUNS) (RUNS) != 0,
#include "isa/isa.def"
#undef ISA
#undef MADE
    };
    unsigned bits = 0;
    for (int i = 0; i < N_ISAS; i++) bits |= (unsigned)runs[i] << i;
    return bits;
}

/* Asked for each program and each check of labels: found once, since in a virtual machine CPUID
 * takes a hundred microseconds. */
bool cdl_isa_runs(int i) {
    static atomic_uint known;
    const unsigned found = 1u << N_ISAS;
    unsigned bits = atomic_load_explicit(&known, memory_order_relaxed);
    if (!bits) {
        bits = runs_here() | found;
        atomic_store_explicit(&known, bits, memory_order_relaxed);
    }
    return i >= 0 && i < N_ISAS && (bits >> i & 1);
}

const struct cdl_kernels *cdl_isa_choose(const char *name) {
    for (int i = 0; i < N_ISAS; i++) {
        if (name ? strcmp(name, tables[i]->isa) == 0 : cdl_isa_runs(i)) {
            return cdl_isa_runs(i) ? tables[i] : NULL;
        }
    }
    return NULL;
}
