/* isa.h - the ISAs that were compiled in, and the choice among them. */
#pragma once

#include <stdbool.h>

#include "base/caches.h"
#include "kernels/kernels.h"

/* Row i of isa.def: its name, or NULL past the end; whether this machine runs it; its kernels. */
const char *cdl_isa_name(int i);
bool cdl_isa_runs(int i);
const struct cdl_kernels *cdl_isa_kernels(int i);

/* The first ISA that runs here; with a name, that one; NULL if it is unknown or cannot run. */
const struct cdl_kernels *cdl_isa_choose(const char *name);

/* True if this process may use AMX's tiles; it asks the system once. */
bool cdl_amx_runs(void);

/* Asks, and makes AMX's kernels: those of AVX-512, and its own products. Once, at import. */
void cdl_amx_make(void);

/* Variants of the kernels of AVX2 and of NEON for machines that multiply four bytes in a lane. */
bool cdl_avxvnni_runs(void);
void cdl_avxvnni_make(void);
bool cdl_dotprod_runs(void);
void cdl_dotprod_make(void);

/* Sets the blocks of all of them. Once, at import. */
void cdl_isa_block(const struct cdl_caches *caches);
