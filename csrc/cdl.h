/* cdl.h - the whole interface of the core, as the binding sees it.
 *
 * A caller describes a program by value (struct cdl_program_def), creates it, which checks it and
 * allocates all that it will ever need, and runs it. Runs allocate nothing and return no error.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/caches.h"
#include "base/param.h"
#include "base/status.h"
#include "base/threads.h"
#include "base/watch.h"
#include "program/definition.h"
#include "program/feed.h"
#include "program/gate.h"
#include "program/lanes.h"
#include "program/run.h"
#include "program/shuffle.h"

/* ---- tables, by name: rows are numbered from 0; NULL past the end -------------------------- */

struct cdl_row {
    const char *name;
    const char *params;  /* comma-separated names of the row's parameters, or an op's signature */
    const char *more;    /* ops: the meaning; optimizers: slots; losses, metrics, tallies:
                            "values", "classes" or "numbers"; activations: "x" or "y", what the
                            gradient is computed from */
    const char *table;   /* ops: the table that attribute 0 names a row of, or NULL */
    bool gives_gradient; /* ops: whether in[0] gets a gradient from it */
    bool all_inputs;     /* ops: and all its other inputs that are floats too */
    bool effects;        /* ops: does more than give its outputs */
    bool reports;        /* ops: has a state for cdl_report, and needs no output */
    bool loops;          /* ops: a loop can run it */
};

/* table: "ops", "activations", "losses", "metrics", "tallies", "optimizers", "reductions",
 * "draws", "elementwise" (whose params are a primitive's operands) and "dtypes", whose names are
 * NumPy's. */
bool cdl_table_row(const char *table, int row, struct cdl_row *out);

const char *cdl_isa_row(int row, bool *runs);

/* Once, at import. caches: NULL, or what to take for the caches of this machine. */
void cdl_start(const struct cdl_caches *caches);
const char *cdl_compiler(void);
