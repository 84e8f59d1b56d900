/* derived.c - derived weights: a table of {made from, made by, of which version}.
 *
 * A row is stale once a weight that it is made from has another version. Stale rows are made anew
 * before a run, and within it once weights have changed. Some rows are weights themselves (rounded,
 * or with a normalization folded in), which nodes read in place of the original; the ops do not
 * know. The others are memory that a node keeps (derive() of its op). A row comes after the rows
 * that it is made from.
 */
#include <math.h>
#include <stdlib.h>

#include "learn/learn.h"
#include "program/steps.h"

static uint64_t version_of(const struct cdl_derived *row) {
    uint64_t sum = 1; /* versions only grow; 0 is none */
    for (int k = 0; k < CDL_MAX_PARAMS; k++)
        sum += row->from[k] ? cdl_param_version(row->from[k]) : 0;
    return sum;
}

static size_t floats_of(const struct cdl_derived *row) {
    size_t floats = 0;
    for (int k = 0; k < CDL_MAX_PARAMS; k++)
        floats += row->from[k] ? cdl_param_floats(row->from[k]) : 0;
    return floats;
}

/* ---- the rows -------------------------------------------------------------------------------- */

static void round_block(const struct cdl_derived *row, const struct cdl_kernels *kernels,
                        size_t i) {
    cdl_round_block(kernels, row->from[0], row->dtype, row->to, cdl_block_at(row->to, i));
}

cdl_status cdl_round_param(struct cdl_program *program, struct cdl_trained *trained,
                           enum cdl_dtype dtype, bool pairs, struct cdl_param **param) {
    struct cdl_param *from = *param;
    for (int i = 0; i < program->n_derived; i++) {
        const struct cdl_derived *row = &program->derived[i];
        const bool fits = row->from[0] == from && row->dtype == dtype;
        if (row->make == round_block && fits && pairs == (row->to->pairs != NULL)) {
            *param = row->to;
            return CDL_OK;
        }
    }
    CDL_TRY(pairs ? cdl_param_create_pairs(from->rows, from->cols, param)
                  : cdl_param_create(from->rows, from->cols, from->matrix, param));
    program->derived[program->n_derived++] = (struct cdl_derived){
        .from = {from}, .make = round_block, .to = *param, .dtype = dtype, .trained = trained};
    return CDL_OK;
}

enum { KERNEL, BIAS, GAMMA, BETA, MEAN, VARIANCE };

static double factor_of(const struct cdl_derived *row, size_t column) {
    const struct cdl_param *gamma = row->from[GAMMA];
    const double variance =
        (double)row->from[VARIANCE]->w[column] + (double)(float)row->node->data[0]; /* epsilon */
    return (gamma ? (double)gamma->w[column] : 1.0) / sqrt(variance);
}

static void fold_block(const struct cdl_derived *row, const struct cdl_kernels *kernels, size_t i) {
    const struct cdl_block block = cdl_block_at(row->to, i);
    const size_t n = row->from[MEAN]->cols, at = cdl_block_offset(row->to, block);
    const size_t width = cdl_min(row->to->cols - block.column, block.width);
    const float *w = row->from[KERNEL]->w + at;
    float *to = row->to->w + at, factors[CDL_PANEL] = {0};
    if (row->node->op->folds == CDL_FOLDS_COLUMNS) {
        for (size_t j = 0; j < width; j++)
            factors[j] = (float)factor_of(row, (block.column + j) % n);
        kernels->scale_columns(block.rows, block.width, w, block.width, factors, to, block.width);
        return;
    }
    for (size_t r = 0; r < block.rows; r++, w += block.width, to += block.width) {
        const float factor = (float)factor_of(row, (block.row + r) % n);
        for (size_t j = 0; j < width; j++) to[j] = w[j] * factor;
    }
}

static void fold_bias(const struct cdl_derived *row, const struct cdl_kernels *kernels, size_t i) {
    const struct cdl_param *bias = row->from[BIAS], *beta = row->from[BETA];
    const struct cdl_block block = cdl_block_at(row->to, i);
    const size_t end = cdl_min(block.column + block.width, row->to->cols);
    for (size_t j = block.column; j < end; j++) {
        const double x = (bias ? (double)bias->w[j] : 0.0) - (double)row->from[MEAN]->w[j];
        const double y = x * factor_of(row, j);
        row->to->w[j] = (float)(y + (beta ? (double)beta->w[j] : 0.0));
    }
}

const char *cdl_check_folds(const struct cdl_node *node, bool training) {
    const struct cdl_param *const *param = (const struct cdl_param *const *)node->param;
    const bool folds = node->n_data > 0;
    CDL_EXPECT(node->n_data <= 1 && folds == (param[MEAN] != NULL) &&
                   folds == (param[VARIANCE] != NULL) && (folds || (!param[GAMMA] && !param[BETA])),
               "mean, variance, epsilon: expected one each, or nothing to fold");
    CDL_EXPECT(!folds || (!training && param[KERNEL]->w),
               "mean, variance: expected predictions by floats");
    for (int k = GAMMA; k <= VARIANCE; k++)
        CDL_CHECK(cdl_check_row(param[k], node->out[0]->width,
                                "gamma, beta, mean, variance: expected a number for each column"));
    return NULL;
}

/* Kernel and bias are each made of all weights of the node. */
cdl_status cdl_fold_params(struct cdl_program *program, struct cdl_node *node) {
    struct cdl_derived row = {.node = node};
    const struct cdl_param *w = node->param[KERNEL];
    memcpy(row.from, node->param, sizeof row.from);
    memset(&node->param[GAMMA], 0, (VARIANCE + 1 - GAMMA) * sizeof node->param[0]);
    for (int k = KERNEL; k <= BIAS; k++) {
        CDL_TRY(k == KERNEL ? cdl_param_create(w->rows, w->cols, w->matrix, &row.to)
                            : cdl_param_create(1, node->out[0]->width, false, &row.to));
        row.make = k == KERNEL ? fold_block : fold_bias;
        program->derived[program->n_derived++] = row;
        node->param[k] = row.to;
    }
    return CDL_OK;
}

/* A loop has a copy of the scratch for each iteration. */
static void derive_node(const struct cdl_derived *row, const struct cdl_kernels *kernels,
                        size_t i) {
    struct cdl_node at = *row->node;
    if (at.op->derive_part) {
        at.op->derive_part(&at, kernels, i);
        return;
    }
    for (size_t k = 0; k < (at.scratch_slice ? at.iterations : 1); k++) {
        at.op->derive(&at, kernels);
        if (at.scratch) at.scratch += at.scratch_slice;
    }
}

/* Parts of a row, which no two threads share. */
static size_t parts_of(const struct cdl_derived *row) {
    if (row->to) return cdl_blocks(row->to);
    return row->node->op->derived_parts ? row->node->op->derived_parts(row->node) : 1;
}

/* Must a row follow the weights in such a run, or are those of its start enough? */
static bool follows(const struct cdl_derived *row, bool training) {
    return row->to || (row->node->op->follows && row->node->op->follows(row->node, training));
}

/* Can the weights of a row change within such a run? By updates, assignments, batches (moving
 * statistics) or a caller's function. The update of a weight may round it, too. */
static bool changes(const struct cdl_program *program, const struct cdl_derived *row,
                    bool training) {
    if (program->settles || program->n_hosts) return true;
    if (!training || row->learned) return false;
    return row->to ? row->trained != NULL
                   : cdl_node_trains(row->node) ||
                         (row->node->op->changes_params && program->follows_batches);
}

/* Rounding during the update, block by block, where blocks learn as they come: to one dtype; copies
 * of other dtypes are made afterwards. */
static void learn_row(const struct cdl_program *program, struct cdl_derived *row) {
    struct cdl_trained *trained = row->trained;
    if (!trained || trained->rounded || program->keeps_grads || program->settles) return;
    row->learned = true;
    trained->rounded = row->to;
    trained->rounds_to = row->dtype;
}

void cdl_link_derived(struct cdl_program *program) {
    for (int i = 0; i < program->n_derived; i++) learn_row(program, &program->derived[i]);
    CDL_EACH_NODE(node, program) {
        if (!node->op->derive && !node->op->derive_part) continue;
        struct cdl_derived *row = &program->derived[program->n_derived++];
        *row = (struct cdl_derived){.make = derive_node, .node = node};
        memcpy(row->from, node->param, sizeof row->from);
    }
    for (int i = 0; i < program->n_derived; i++) {
        const struct cdl_derived *row = &program->derived[i];
        for (int training = 0; training < 2; training++)
            program->derives[training] |= follows(row, training) && changes(program, row, training);
    }
}

/* ---- up to date ------------------------------------------------------------------------------ */

static void is_made(struct cdl_derived *row) {
    row->version = version_of(row);
    if (row->to) cdl_param_changes(row->to);
}

size_t cdl_find_stale(struct cdl_program *program, bool training) {
    size_t floats = 0;
    for (int i = 0; i < program->n_derived; i++) {
        struct cdl_derived *row = &program->derived[i];
        row->stale =
            row->version == 0 || (row->version != version_of(row) && follows(row, training));
        if (!row->stale) continue;
        is_made(row); /* made of this version or a later one, which the next search finds */
        floats += 1 + floats_of(row);
    }
    return floats;
}

void cdl_are_learned(struct cdl_program *program) {
    for (int i = 0; i < program->n_derived; i++)
        if (program->derived[i].learned) is_made(&program->derived[i]);
}

void cdl_make_stale(const struct cdl_program *program, struct cdl_team *team, int thread) {
    const size_t t = (size_t)thread, threads = team ? (size_t)team->size : 1;
    for (int nodes = 0; nodes < 2; nodes++) {
        for (int i = 0; i < program->n_derived; i++) {
            const struct cdl_derived *row = &program->derived[i];
            if (!row->stale || nodes != !row->to) continue;
            const size_t parts = parts_of(row), turn = parts == 1 ? (size_t)i : 0;
            const size_t mine = (t + turn) % threads;
            for (size_t p = parts * mine / threads; p < parts * (mine + 1) / threads; p++)
                row->make(row, program->kernels, p);
        }
        if (team) cdl_barrier_wait(team, thread);
    }
}

static void make_all(void *program, struct cdl_team *team, int thread) {
    cdl_make_stale(program, team, thread);
}

void cdl_derive(struct cdl_program *program, bool training) {
    enum { WORTH = 1 << 20 }; /* least floats worth waking threads for */
    const size_t floats = cdl_find_stale(program, training);
    if (floats) cdl_run_region(program, floats < WORTH, make_all, program);
}
