/* cdl.c - the roof: the tables by name, and the start of the library. */
#include "cdl.h"

#include <stdlib.h>
#include <string.h>

#include "base/threads.h"
#include "isa/isa.h"
#include "ops/tally.h"
#include "program/program.h"

static const struct cdl_row activations[] = {
#define CDL_READS_X "x"
#define CDL_READS_Y "y"
#define X(NAME, READS, PARAMS) {.name = #NAME, .params = PARAMS, .more = CDL_READS_##READS},
    CDL_ACTIVATIONS(X)
#undef X
        {0}};

static const struct cdl_row losses[] = {
#define CDL_NAME_VALUES "values"
#define CDL_NAME_CLASSES "classes"
#define CDL_NAME_NUMBERS "numbers"
#define X(NAME, PARAMS) {.name = #NAME, .params = PARAMS, .more = "values"},
    CDL_ELEMENT_LOSSES(X)
#undef X
#define X(NAME, TARGET, PARAMS) {.name = #NAME, .params = PARAMS, .more = CDL_NAME_##TARGET},
        CDL_LINE_LOSSES(X)
#undef X
            {0}};

static const struct cdl_row metrics[] = {
#define X(NAME, TARGET, PARAMS) {.name = #NAME, .params = PARAMS, .more = CDL_NAME_##TARGET},
    CDL_METRICS(X)
#undef X
        {0}};

static const struct cdl_row tallies[] = {
#define X(NAME, TARGET, PARAMS) {.name = #NAME, .params = PARAMS, .more = CDL_NAME_##TARGET},
    CDL_TALLIES(X)
#undef X
        {0}};

static const struct cdl_row optimizers[] = {
#define X(NAME, N_SLOTS, HYPERS, SLOTS) {.name = #NAME, .params = HYPERS, .more = SLOTS},
    CDL_OPTIMIZERS(X)
#undef X
        {0}};

static const struct cdl_row dtypes[] = {
#define X(NAME, TYPE, HOW) {.name = #NAME, .params = "", .more = ""},
    CDL_DTYPES(X)
#undef X
        {0}};

static const struct cdl_row reductions[] = {
#define X(NAME) {.name = #NAME, .params = "", .more = ""},
    CDL_REDUCTIONS(X)
#undef X
        {0}};

static const struct cdl_row draws[] = {
#define X(NAME) {.name = #NAME, .params = "", .more = ""},
    CDL_DRAWS(X)
#undef X
        {0}};

static const struct cdl_row elementwise[] = {
#define CDL_OPERANDS_1 "a"
#define CDL_OPERANDS_2 "a,b"
#define CDL_OPERANDS_3 "a,b,c"
#define X(NAME, ARITY) {.name = #NAME, .params = CDL_OPERANDS_##ARITY, .more = ""},
    CDL_ELEMENTWISE(X)
#undef X
        {0}};

static const struct cdl_row linewise[] = {
#define X(NAME, ARITY) {.name = #NAME, .params = CDL_OPERANDS_##ARITY, .more = ""},
    CDL_LINEWISE(X)
#undef X
        {0}};

static const struct cdl_row mixed[] = {
#define X(NAME, COLUMNS) {.name = #NAME, .params = #COLUMNS, .more = ""},
    CDL_MIXED(X)
#undef X
        {0}};

bool cdl_table_row(const char *table, int row, struct cdl_row *out) {
    static const struct {
        const char *name;
        const struct cdl_row *rows;
        int n;
    } tables[] = {{"activations", activations, CDL_N_ACTIVATIONS},
                  {"losses", losses, CDL_N_LOSSES},
                  {"metrics", metrics, CDL_N_METRICS},
                  {"tallies", tallies, CDL_N_TALLIES},
                  {"optimizers", optimizers, CDL_N_OPTIMIZERS},
                  {"reductions", reductions, CDL_N_REDUCTIONS},
                  {"draws", draws, CDL_N_DRAWS},
                  {"elementwise", elementwise, CDL_N_ELEMENTWISE},
                  {"linewise", linewise, CDL_MAP_PRIMITIVES - CDL_N_ELEMENTWISE},
                  {"mixed", mixed, sizeof mixed / sizeof *mixed - 1},
                  {"dtypes", dtypes, CDL_N_DTYPES}};
    if (row < 0) return false;
    if (strcmp(table, "ops") == 0) {
        if (row >= cdl_n_ops) return false;
        const struct cdl_op *op = cdl_ops[row].op;
        *out = (struct cdl_row){.name = cdl_ops[row].name,
                                .params = cdl_ops[row].signature,
                                .more = cdl_ops[row].meaning,
                                .table = op->table,
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
void cdl_find_caches(struct cdl_caches *caches) { *caches = *cdl_caches(); }
const char *cdl_caches_why(void) { return cdl_caches_reason(); }

int cdl_cores(void) { return cdl_threads_cores(); }
int cdl_threads_limit(void) { return cdl_threads_available(); }
int cdl_limit_threads(int most) { return cdl_threads_limit_caller(most); }
const char *cdl_threads_why(void) { return cdl_threads_reason(); }
bool cdl_has_openmp(void) { return cdl_threads_have_openmp(); }

const char *cdl_compiler(void) {
#if defined(__clang__)
    return "clang " __clang_version__;
#elif defined(__GNUC__)
    return "gcc " __VERSION__;
#else
    return "unknown";
#endif
}
