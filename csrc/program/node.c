/* node.c - nodes of instructions: what all ops check of them, and the program's lists of what they
 * bring along. */
#include <ctype.h>
#include <stdlib.h>

#include "program/program.h"

static bool names_a_row(const struct cdl_node *node) {
    return node->numbers[0] >= 0 && node->numbers[0] < node->op->table.rows;
}

/* Only ops that say `mixes` may have values of both kinds. */
static bool mixes(const struct cdl_node *node) {
    bool differ = false;
    for (int v = 1; v < cdl_values_of(node); v++)
        differ |= cdl_value_of(node, v)->shared != cdl_value_of(node, 0)->shared;
    return differ;
}

static bool any_bf16(const struct cdl_node *node) {
    bool any = false;
    for (int v = 0; v < cdl_values_of(node); v++) any |= cdl_is_bf16(cdl_value_of(node, v));
    return any;
}

/* Part k of a signature, of those left of `->`. */
static const char *part_of(const char *signature, int k) {
    for (; k > 0 && *signature != '-'; signature++) k -= *signature == ';';
    return signature;
}

/* Does a count fit the names up to `;` or `->` in a signature? */
static bool counts_fit(const char *names, size_t count) {
    size_t least = 0, most = 0;
    bool begins = true;
    for (; *names && *names != ';' && *names != '-'; names++) {
        const bool many = strncmp(names, "...", 3) == 0;
        if (begins && (*names == '[' || isalpha((unsigned char)*names))) {
            least += *names != '[';
            most++;
            begins = false;
        }
        if (many) most = SIZE_MAX;
        begins |= *names == ',';
    }
    return count >= least && count <= most;
}

/* Checks common to all ops, then the op's own. */
static const char *check(const struct cdl_node *node, const char *signature, bool training) {
    const struct cdl_op *op = node->op;
    CDL_EXPECT(counts_fit(signature, (size_t)node->n_in),
               "inputs: expected as many as the op reads");
    CDL_EXPECT(counts_fit(strstr(signature, "->") + 2, (size_t)node->n_out),
               "outputs: expected as many as the op gives");
    CDL_EXPECT(counts_fit(part_of(signature, 2), node->n_numbers),
               "numbers: expected as many as the op takes");
    CDL_EXPECT(!op->table.name || names_a_row(node),
               "kind, activation: expected a row of its table");
    CDL_EXPECT(op->bf16 >= CDL_BF16_READ || node->arithmetic == CDL_THROUGH_FLOATS ||
                   !any_bf16(node),
               "expected no values of bfloat16");
    CDL_EXPECT(op->mixes || !node->mixes, "expected all values to be shared, or none");
    CDL_CHECK(op->check(node));
    return op->folds ? cdl_check_folds(node, training) : NULL;
}

static void *copy_of(const void *from, size_t bytes) {
    void *copy = malloc(bytes + 1);
    if (copy && bytes) memcpy(copy, from, bytes);
    return copy;
}

/* May the output alias the input? Not the caller's memory, which moves, nor an iteration's. */
static bool renames(const struct cdl_program *program, const struct cdl_node *node) {
    return cdl_is_renaming(node) && node->in[0]->owner->producer && !program->loops;
}

struct cdl_fault *cdl_make_fault(struct cdl_program *program, int instruction, bool shared) {
    struct cdl_fault *fault = &program->faults[program->n_faults++];
    fault->instruction = instruction;
    fault->shared = shared;
    cdl_fault_clear(fault);
    return fault;
}

static enum cdl_arithmetic arithmetic_of(const struct cdl_program *program,
                                         const struct cdl_instruction_def *def,
                                         const struct cdl_node *node) {
    if (node->op->bf16 == CDL_BF16_THROUGH_FLOATS && any_bf16(node)) return CDL_THROUGH_FLOATS;
    const bool rounded = def->n_params ? def->param_dtypes[0] == CDL_DTYPE_bfloat16
                                       : node->n_in > 1 && node->in[1]->rounded;
    const bool tiles = program->kernels->tiles && node->n_in && node->in[0]->rounded && rounded;
    return tiles ? CDL_BY_TILES : CDL_DIRECT;
}

cdl_status cdl_make_node(struct cdl_program *program, const struct cdl_instruction_def *def,
                         struct cdl_node *node, const char **reason) {
    node->op = cdl_ops[def->op].op;
    node->n_in = def->n_in;
    node->n_out = def->n_out;
    node->iterations = 1;
    for (int i = 0; i < def->n_in; i++) {
        node->in[i] = &program->values[def->in[i]];
        node->in[i]->users++;
    }
    for (int i = 0; i < def->n_out; i++) {
        node->out[i] = &program->values[def->out[i]];
        node->out[i]->producer = node;
    }
    for (int i = 0; i < def->n_out && node->op->passes_on && node->n_in; i++)
        program->values[def->out[i]].owner = node->in[0]->owner;
    for (int i = 0; i < def->n_params; i++) {
        node->param[i] = def->params[i];
        const enum cdl_dtype dtype = def->param_dtypes[i];
        const bool learns = def->trained[i] >= 0 && program->n_groups;
        struct cdl_trained *trained = learns ? &program->trained[def->trained[i]] : NULL;
        const bool pairs = i == 0 && node->op->bf16 >= CDL_BF16_PAIRS && cdl_is_bf16(node->in[0]) &&
                           (program->kernels->tiles || node->op->bf16 == CDL_BF16_PAIRS);
        if (node->param[i] && cdl_rounds_to(dtype))
            CDL_TRY(cdl_round_param(program, trained, dtype, pairs, &node->param[i]));
        node->trained[i] = node->op->update ? trained : NULL;
    }
    node->arithmetic = arithmetic_of(program, def, node);
    node->numbers = copy_of(def->numbers, def->n_numbers * sizeof *def->numbers);
    node->data = copy_of(def->data, def->n_data * sizeof *def->data);
    if (!node->numbers || !node->data) return CDL_ERR_NO_MEMORY;
    node->n_numbers = def->n_numbers;
    node->n_data = def->n_data;
    memcpy(node->attribute, def->attributes, sizeof def->attributes);
    memcpy(node->row_param, def->row_params, sizeof def->row_params);
    if (def->host.call) {
        node->host = &program->hosts[program->n_hosts++];
        *node->host = def->host;
    }
    program->loops += node->op->role == CDL_LOOP;
    node->mixes = mixes(node);
    *reason = check(node, cdl_ops[def->op].signature, program->training);
    if (*reason) return CDL_ERR_PROGRAM;
    if (node->op->folds && node->n_data) CDL_TRY(cdl_fold_params(program, node));
    if (renames(program, node)) node->out[0]->owner = node->in[0]->owner;
    if (node->op->may_fault)
        node->fault = cdl_make_fault(program, node->index, node->in[0]->shared);
    program->may_fail |= node->host || node->fault;
    program->settles |= node->op->settle != NULL;
    program->follows_batches |= program->training && cdl_follows_batches(node);
    program->n_penalties += node->op->penalty != NULL;
    return CDL_OK;
}
