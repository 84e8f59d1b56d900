/* build.c - the build of a program from its description, which finds every error. */
#include <stdlib.h>

#include "isa/isa.h"
#include "learn/learn.h"
#include "learn/tensorwise.h"
#include "program/gate.h"
#include "program/steps.h"
#include "program/program.h"

const struct cdl_op_row cdl_ops[] = {
#define OP(NAME, SIGNATURE, MEANING) {#NAME, SIGNATURE, MEANING, &cdl_op_##NAME},
#include "ops/ops.def"
#undef OP
};
const int cdl_n_ops = sizeof cdl_ops / sizeof cdl_ops[0];

/* Byte code numbers the values of a node in one byte. */
_Static_assert((int)CDL_MAP_INPUT + (int)CDL_MAX_INPUTS == (int)CDL_MAP_DY &&
                   (int)CDL_MAP_OUTPUT + (int)CDL_MAX_INPUTS <= (int)CDL_MAP_CONSTANT &&
                   (int)CDL_MAP_OPERANDS <= UINT8_MAX,
               "operands of byte code");

static cdl_status refuse(const char **to, const char *reason) {
    *to = reason;
    return CDL_ERR_PROGRAM;
}

/* Sizes are products of what the caller states: refused before any of them wraps around.
 * Predictions have rows for each of the threads, whose number is not known yet. */
static cdl_status check_size(const struct cdl_program_def *def, const struct cdl_value_def *shape,
                             const char **reason) {
    const double most = 1e15 / (def->training ? 1 : CDL_MAX_THREADS);
    double floats = CDL_LINE * (double)def->rows; /* even a short line is padded to this */
    bool empty = false;
    if (shape->n_dims < 0 || shape->n_dims > CDL_MAX_DIMS)
        return refuse(reason, "values: expected at most 8 axes");
    for (int d = 0; d < shape->n_dims; d++) {
        floats *= shape->dims[d] ? (double)shape->dims[d] : 1.0;
        empty |= shape->dims[d] == 0;
    }
    if (empty) return refuse(reason, "values: expected axes of at least 1");
    return floats > most ? CDL_ERR_NO_MEMORY : CDL_OK;
}

static cdl_status make_values(struct cdl_program *program, const struct cdl_program_def *def,
                              const char **reason) {
    for (int v = 0; v < def->n_values; v++) {
        struct cdl_tensor *value = &program->values[v];
        const struct cdl_value_def *shape = &def->values[v];
        CDL_TRY(check_size(def, shape, reason));
        value->owner = value->grad_owner = value;
        value->slices = value->grad_slices = 1;
        value->n_dims = shape->n_dims;
        value->lines = value->width = 1;
        for (int d = 0; d < shape->n_dims; d++) {
            value->dims[d] = shape->dims[d];
            if (d + 1 < shape->n_dims) value->lines *= shape->dims[d];
        }
        if (shape->n_dims) value->width = shape->dims[shape->n_dims - 1];
        value->dtype = shape->dtype;
        if (!cdl_is_int(value) && value->dtype != CDL_DTYPE_float32 && !cdl_rounds_to(value->dtype))
            return refuse(reason, "values: expected int32, float32, bfloat16 or float16");
        if (cdl_is_int(value)) { /* class numbers, one a line: all axes are lines */
            value->lines *= value->width;
            value->width = 1;
        }
        value->ld = cdl_is_bf16(value) ? cdl_bf16_stride(value->width) : cdl_stride(value->width);
        value->shared = shape->shared;
        value->rounded = shape->rounded;
        value->row_floats = value->shared ? 0 : cdl_sample_floats(value);
    }
    return CDL_OK;
}

// clang-format off
#define LISTS(X)                                                                                   \
    X(values, def->n_values)           X(nodes, nodes)          X(inputs, inputs)                  \
    X(outputs, def->n_outputs)         X(trained, def->n_trained)                                  \
    X(external_grads, def->n_external_grads)                    X(parts, nodes * CDL_MAX_PARAMS)   \
    X(derived, nodes * (CDL_MAX_PARAMS + 3))                    X(hosts, nodes)                    \
    X(faults, nodes + inputs)          X(reports, nodes)        X(states, nodes)                   \
    X(state_sizes, nodes)
// clang-format on
/* One entry more than asked for: no list is NULL. */
#define MADE(NAME, N) (program->NAME = calloc((size_t)(N) + 1, sizeof *program->NAME)) &&
#define FREED(NAME, N) free(program->NAME);

static cdl_status allocate(struct cdl_program *program, const struct cdl_program_def *def) {
    program->n_values = def->n_values;
    program->n_nodes = def->n_instructions;
    program->n_inputs = def->n_inputs;
    program->n_outputs = def->n_outputs;
    program->n_external_grads = def->n_external_grads;
    program->n_trained = def->n_trained;
    const size_t nodes = (size_t)def->n_instructions, inputs = (size_t)def->n_inputs;
    const bool all = LISTS(MADE) true;
    return all ? CDL_OK : CDL_ERR_NO_MEMORY;
}

static cdl_status make_trained(struct cdl_program *program, const struct cdl_program_def *def,
                               int i) {
    struct cdl_trained *to = &program->trained[i];
    *to = def->trained[i];
    struct cdl_step step = {.rules = &def->rules};
    if (def->n_groups) {
        const struct cdl_tensorwise *rule = cdl_tensorwise_rules[def->groups[to->group].optimizer];
        step.groups[to->group].tensorwise = rule;
        const size_t floats = rule && rule->learn ? rule->scratch_floats(to) : 0;
        if (floats > program->tensorwise_floats) program->tensorwise_floats = floats;
        program->reaches |= rule && rule->reach;
    }
    program->keeps_grads |= cdl_learn_keeps(to, &step);
    program->limits_norms |= to->constraint == CDL_NORM;
    if (cdl_learn_needs_norms(to, &step)) {
        to->squares = calloc(cdl_blocks(to->param), sizeof *to->squares);
        if (!to->squares) return CDL_ERR_NO_MEMORY;
    }
    if (!cdl_is_penalized(to)) return CDL_OK;
    to->penalty = calloc(cdl_param_floats(to->param) / CDL_LINE + 1, sizeof *to->penalty);
    return to->penalty ? CDL_OK : CDL_ERR_NO_MEMORY;
}

static struct cdl_trained **user_at(const struct cdl_program *program, int place) {
    return &program->nodes[place / CDL_MAX_PARAMS].trained[place % CDL_MAX_PARAMS];
}

/* Parts of trained parameters that several instructions use, or several processes train: one for
 * each instruction's gradient. Their list, and so their sum, is in the instructions' order. */
static void make_parts(struct cdl_program *program) {
    const int places = program->n_nodes * CDL_MAX_PARAMS;
    for (int p = 0; p < places; p++) {
        struct cdl_trained *trained = *user_at(program, p);
        if (trained) trained->users++;
    }
    for (int p = places - 1; p >= 0; p--) { /* from the last, which ends the list */
        struct cdl_trained **user = user_at(program, p), *trained = *user;
        if (!trained || (trained->users < 2 && !program->ranks.all)) continue;
        struct cdl_trained *part = &program->parts[program->n_parts++];
        *part =
            (struct cdl_trained){.param = trained->param, .is_part = true, .next = trained->parts};
        *user = trained->parts = part;
    }
}

static cdl_status make_report(struct cdl_program *program, struct cdl_node *node) {
    const size_t size = node->op->state_doubles ? node->op->state_doubles(node) : 2;
    double *state = calloc(size, sizeof *state);
    if (!state) return CDL_ERR_NO_MEMORY;
    program->states[program->n_reports] = state;
    program->state_sizes[program->n_reports] = size;
    program->reports[program->n_reports++] = node;
    return CDL_OK;
}

/* Can it run after the batches of another program? It must have one sample only, and no inputs. */
static bool stands_alone(const struct cdl_program *program) {
    bool alone = program->n_inputs == 0 && program->n_hosts == 0 && !program->training;
    for (int i = 0; i < program->n_nodes; i++) alone &= program->nodes[i].shared;
    return alone;
}

/* ---- the phases of a build, in this order ---------------------------------------------------- */

/* Settings of the whole program, and room for its lists. */
static cdl_status describe(struct cdl_program *program, const struct cdl_program_def *def,
                           struct cdl_misfit *misfit) {
    program->kernels = cdl_isa_choose(def->isa);
    if (!program->kernels)
        return refuse(&misfit->reason, "isa: expected one that this machine runs");
    if (def->after && !(def->training && stands_alone(def->after)))
        return refuse(&misfit->reason, "after: expected training, and a program of shared values");
    program->training = def->training;
    program->ranks = def->ranks;
    program->rows = cdl_most_rows(&program->ranks, def->rows);
    program->n_groups = def->n_groups;
    memcpy(program->groups, def->groups, sizeof program->groups);
    program->rules = def->rules;
    program->watch.poll = def->poll;
    program->watch.who = def->who;
    program->after = def->after;
    program->settles = def->after != NULL;
    return allocate(program, def);
}

static cdl_status make_nodes(struct cdl_program *program, const struct cdl_program_def *def,
                             struct cdl_misfit *misfit) {
    for (int i = 0; i < def->n_instructions; i++) {
        struct cdl_node *node = &program->nodes[i];
        const int op = def->instructions[i].op;
        if (op < 0 || op >= cdl_n_ops)
            return refuse(&misfit->reason, "instructions: expected ops of the table");
        node->index = misfit->instruction = i;
        misfit->op = cdl_ops[op].name;
        CDL_TRY(cdl_make_node(program, &def->instructions[i], node, &misfit->reason));
        if (node->op->report) CDL_TRY(make_report(program, node));
    }
    misfit->instruction = -1;
    misfit->reason = cdl_find_loops(program);
    return misfit->reason ? CDL_ERR_PROGRAM : CDL_OK;
}

/* Values that the caller brings and reads. */
static cdl_status connect(struct cdl_program *program, const struct cdl_program_def *def,
                          struct cdl_misfit *misfit) {
    for (int i = 0; i < def->n_inputs; i++) {
        program->inputs[i] = &program->values[def->inputs[i]];
        if (!def->values[def->inputs[i]].whole || cdl_is_bf16(program->inputs[i])) continue;
        program->inputs[i]->fault = cdl_make_fault(program, -1 - i, false);
        program->may_fail = true;
    }
    for (int i = 0; i < def->n_outputs; i++)
        program->outputs[i] = &program->values[def->outputs[i]];
    for (int i = 0; i < def->n_outputs; i++) {
        if (program->outputs[i]->view)
            return refuse(&misfit->reason, "outputs: expected no value from within a loop");
        if (cdl_is_bf16(program->outputs[i]))
            return refuse(&misfit->reason, "outputs: expected none of bfloat16");
    }
    for (int i = 0; i < def->n_external_grads; i++) {
        program->external_grads[i] = &program->values[def->external_grads[i]];
        program->external_grads[i]->external_grad = true;
    }
    return CDL_OK;
}

static cdl_status link(struct cdl_program *program, const struct cdl_program_def *def,
                       struct cdl_misfit *misfit) {
    if (def->training) make_parts(program);
    for (int p = 0; p < program->n_nodes * CDL_MAX_PARAMS; p++) {
        struct cdl_trained *trained = *user_at(program, p);
        if (trained)
            trained->dtype = def->instructions[p / CDL_MAX_PARAMS].param_dtypes[p % CDL_MAX_PARAMS];
    }
    cdl_link(program);
    for (int i = 0; i < program->n_nodes && program->ranks.leaves; i++) {
        if (cdl_splits_leaves(&program->nodes[i])) continue;
        misfit->instruction = i;
        misfit->op = cdl_ops[def->instructions[i].op].name;
        return refuse(&misfit->reason, "reproducible: expected False, since this op adds up what "
                                       "it learns from in an order of its own");
    }
    return CDL_OK;
}

/* Threads, and the samples that are in memory at once: `rows` becomes what buffers are made for. */
static cdl_status schedule(struct cdl_program *program, const struct cdl_program_def *def) {
    program->threads = cdl_worth_threads(program, def);
    program->block = cdl_block_of_rows(program, program->rows);
    program->lockstep = cdl_keeps_step(program, def->lockstep);
    cdl_balance_threads(program, def);
    cdl_link_lockstep(program);
    program->learns_later = (program->threads > 1 && !program->lockstep) || program->n_hosts;
    CDL_TRY(cdl_cut(program));
    if (def->predicts) program->rows = program->block;
    CDL_TRY(cdl_split(program, def));
    if (!def->training && !program->keeps_order) program->rows *= (size_t)program->threads;
    cdl_plan_passes(program);
    return CDL_OK;
}

static cdl_status give_memory(struct cdl_program *program) {
    cdl_link_derived(program);
    CDL_TRY(cdl_link_owed(program));
    CDL_TRY(cdl_plan(program));
    CDL_EACH_NODE(node, program) {
        if (!node->op->code_bytes) continue;
        node->code = calloc(1, node->op->code_bytes(node));
        if (!node->code) return CDL_ERR_NO_MEMORY;
    }
    return CDL_OK;
}

static cdl_status build(struct cdl_program *program, const struct cdl_program_def *def,
                        struct cdl_misfit *misfit) {
    CDL_TRY(describe(program, def, misfit));
    CDL_TRY(make_values(program, def, &misfit->reason));
    for (int i = 0; i < def->n_trained; i++) CDL_TRY(make_trained(program, def, i));
    CDL_TRY(make_nodes(program, def, misfit));
    CDL_TRY(connect(program, def, misfit));
    CDL_TRY(link(program, def, misfit));
    CDL_TRY(schedule(program, def));
    return give_memory(program);
}

cdl_status cdl_program_create(const struct cdl_program_def *def, struct cdl_program **out,
                              struct cdl_misfit *misfit) {
    struct cdl_program *program = calloc(1, sizeof *program);
    if (!program) return CDL_ERR_NO_MEMORY;
    *misfit = (struct cdl_misfit){.instruction = -1};
    cdl_status status = build(program, def, misfit);
    if (status != CDL_OK) {
        cdl_program_destroy(program);
        return status;
    }
    *out = program;
    return CDL_OK;
}

void cdl_program_destroy(struct cdl_program *program) {
    if (!program) return;
    cdl_free(program->arena);
    for (int i = 0; i < program->n_trained && program->trained; i++) {
        free(program->trained[i].penalty);
        free(program->trained[i].squares);
    }
    for (int i = 0; i < program->n_nodes && program->nodes; i++) {
        free((void *)program->nodes[i].numbers);
        free((void *)program->nodes[i].data);
        free(program->nodes[i].code);
    }
    for (int i = 0; i < program->n_derived; i++) cdl_param_destroy(program->derived[i].to);
    for (int i = 0; i < program->n_reports; i++) free(program->states[i]);
    LISTS(FREED)
    free(program->owed);
    free(program->saved_params);
    free(program->saved);
    free(program);
}
