/* cdl.c - the roof: the tables by name, and the start of the library. */
#include "cdl.h"

#include <stdlib.h>
#include <string.h>

#include "isa/isa.h"
#include "ops/tally.h"
#include "program/program.h"

#define CDL_READS_X "x"
#define CDL_READS_Y "y"
#define CDL_NAME_VALUES "values"
#define CDL_NAME_CLASSES "classes"
#define CDL_NAME_NUMBERS "numbers"
#define CDL_OPERANDS_1 "a"
#define CDL_OPERANDS_2 "a,b"
#define CDL_OPERANDS_3 "a,b,c"

/* Rows of the lists, by what these say of each. */
#define NAMED(NAME, ...) {.name = #NAME, .params = "", .more = ""},
#define ELEMENT_LOSS(NAME, PARAMS) {.name = #NAME, .params = PARAMS, .more = "values"},
#define SCORE(NAME, TARGET, PARAMS) {.name = #NAME, .params = PARAMS, .more = CDL_NAME_##TARGET},
#define OPTIMIZER(NAME, N_SLOTS, HYPERS, SLOTS) {.name = #NAME, .params = HYPERS, .more = SLOTS},
#define PRIMITIVE(NAME, ARITY) {.name = #NAME, .params = CDL_OPERANDS_##ARITY, .more = ""},
#define MIXED(NAME, COLUMNS) {.name = #NAME, .params = #COLUMNS, .more = ""},

static const struct cdl_row activations[] = {
#define X(NAME, READS, PARAMS) {.name = #NAME, .params = PARAMS, .more = CDL_READS_##READS},
    CDL_ACTIVATIONS(X)
#undef X
};
static const struct cdl_row losses[] = {CDL_ELEMENT_LOSSES(ELEMENT_LOSS) CDL_LINE_LOSSES(SCORE)};
static const struct cdl_row metrics[] = {CDL_METRICS(SCORE)};
static const struct cdl_row tallies[] = {CDL_TALLIES(SCORE)};
static const struct cdl_row optimizers[] = {CDL_OPTIMIZERS(OPTIMIZER)};
static const struct cdl_row dtypes[] = {CDL_DTYPES(NAMED)};
static const struct cdl_row reductions[] = {CDL_REDUCTIONS(NAMED)};
static const struct cdl_row draws[] = {CDL_DRAWS(NAMED)};
static const struct cdl_row elementwise[] = {CDL_ELEMENTWISE(PRIMITIVE)};
static const struct cdl_row linewise[] = {CDL_LINEWISE(PRIMITIVE)};
static const struct cdl_row mixed[] = {CDL_MIXED(MIXED)};

bool cdl_table_row(const char *table, int row, struct cdl_row *out) {
#define TABLE(NAME) {#NAME, NAME, sizeof NAME / sizeof *NAME},
    static const struct {
        const char *name;
        const struct cdl_row *rows;
        int n;
    } tables[] = {TABLE(activations) TABLE(losses) TABLE(metrics) TABLE(tallies) TABLE(optimizers)
                      TABLE(reductions) TABLE(draws) TABLE(elementwise) TABLE(linewise) TABLE(mixed)
                          TABLE(dtypes)};
    if (row < 0) return false;
    if (strcmp(table, "ops") == 0) {
        if (row >= cdl_n_ops) return false;
        const struct cdl_op *op = cdl_ops[row].op;
        *out = (struct cdl_row){.name = cdl_ops[row].name,
                                .params = cdl_ops[row].signature,
                                .more = cdl_ops[row].meaning,
                                .table = op->table.name,
                                .gives_gradient = op->backward->run || op->role == CDL_LOSS,
                                .all_inputs = op->all_inputs,
                                .effects =
                                    op->report || op->settle || op->penalty || op->changes_params,
                                .reports = op->report != NULL,
                                .loops = cdl_can_loop(op)};
        return true;
    }
    for (size_t t = 0; t < sizeof tables / sizeof tables[0]; t++) {
        if (strcmp(table, tables[t].name) != 0 || row >= tables[t].n) continue;
        *out = tables[t].rows[row];
        return true;
    }
    return false;
}

const char *cdl_isa_row(int row, bool *runs) {
    *runs = cdl_isa_runs(row);
    return cdl_isa_name(row);
}

void cdl_start(const struct cdl_caches *caches) {
    cdl_threads_init();
    cdl_caches_init(caches);
    cdl_isa_block(cdl_caches());
}

const char *cdl_compiler(void) {
#if defined(__clang__)
    return "clang " __clang_version__;
#elif defined(__GNUC__)
    return "gcc " __VERSION__;
#else
    return "unknown";
#endif
}
