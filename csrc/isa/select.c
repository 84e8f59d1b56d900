/* select.c - choosing an ISA by name or by what the machine can run. */
#include "isa/isa.h"

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

bool cdl_isa_runs(int i) {
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
    return i >= 0 && i < N_ISAS && runs[i];
}

const struct cdl_kernels *cdl_isa_choose(const char *name) {
    for (int i = 0; i < N_ISAS; i++) {
        if (name ? strcmp(name, tables[i]->isa) == 0 : cdl_isa_runs(i)) {
            return cdl_isa_runs(i) ? tables[i] : NULL;
        }
    }
    return NULL;
}
