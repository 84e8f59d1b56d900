/* pieces.c - early end of long runs: the samples that a node takes between two polls of the watch,
 * gradients that are kept so that weights change at the very end of a step, and the undo of earlier
 * changes. */
#include <math.h>
#include <stdlib.h>

#include "learn/tensorwise.h"
#include "program/steps.h"

/* Least size of a long batch: smaller ones take a few milliseconds at most, and the watch is polled
 * between batches only. */
#define LONG_FLOPS 3e7
#define LONG_FLOATS 0x1p18

/* Work of a piece, some 2 ms. A number that is moved, drawn or sorted counts as 16 operations. */
#define PIECE_WORK 4e7
#define WORK_OF_A_FLOAT 16.0

/* Least lines of a piece for ops that poll the watch themselves: transposing W for one more piece
 * costs less than a hundredth of it. */
enum { LOOKING_LINES = 4096 };

/* Least arithmetic of a thread's products in a step that is worth keeping gradients for, about 30
 * ms; and least samples, so that writing and reading the gradients once more costs less than a
 * hundredth of the products. */
#define KEEPING_FLOPS 3e9
#define KEEPING_SAMPLES 256.0

static const size_t all_samples = SIZE_MAX / 2 / CDL_ROW_BLOCK * CDL_ROW_BLOCK;

static double floats_of(const struct cdl_tensor *value) {
    return (double)value->lines * (double)value->ld;
}

double cdl_node_flops(const struct cdl_node *node) {
    const struct cdl_op *op = node->op;
    if (op->flops) return op->flops(node);
    if (op->number_flops == 0.0) return 0.0;
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    return op->number_flops * (double)cdl_max(x->lines * x->width, y->lines * y->width);
}

double cdl_node_work(const struct cdl_node *node) {
    double floats = 0.0;
    for (int v = 0; v < cdl_values_of(node); v++) floats += floats_of(cdl_value_of(node, v));
    return (double)node->iterations * (WORK_OF_A_FLOAT * floats + cdl_node_flops(node));
}

/* May the node be given its samples piece by piece? Not if a function of the caller's wants the
 * batch, if values are shared, or if a loop polls between iterations. */
static bool may_be_cut(const struct cdl_node *node) {
    bool shares = node->shared || node->host || node->op->role == CDL_LOOP;
    for (int v = 0; v < cdl_values_of(node); v++) shares |= cdl_value_of(node, v)->shared;
    return !shares;
}

static size_t in_row_blocks(double samples) {
    return cdl_round_up(samples < 1.0 ? 1 : (size_t)samples, CDL_ROW_BLOCK);
}

static size_t piece_of(const struct cdl_node *node) {
    const size_t piece = in_row_blocks(PIECE_WORK / cdl_node_work(node));
    if (!node->op->polls) return piece;
    const size_t many = cdl_round_up(LOOKING_LINES, node->in[0]->lines) / node->in[0]->lines;
    return piece > many ? piece : cdl_round_up(many, CDL_ROW_BLOCK);
}

static bool is_long(const struct cdl_program *program) {
    double floats = 0.0;
    CDL_EACH_VALUE(value, program) {
        const double slices = (double)value->slices;
        floats += slices * floats_of(value) * (value->shared ? 1.0 : (double)program->rows);
    }
    const double passes = program->training ? 3.0 : 1.0;
    return floats >= LONG_FLOATS ||
           program->row_flops * (double)program->rows * passes >= LONG_FLOPS;
}

/* Are gradients kept only because their products take too long to wait for? */
static bool keeps_gradients(const struct cdl_program *program) {
    const double flops = program->row_flops *
                         (double)program->rows; /* products of gradients cost as much as forward */
    double weights = 1.0;
    for (int i = 0; i < program->n_trained; i++)
        weights += (double)cdl_param_floats(program->trained[i].param);
    return program->n_groups && flops >= KEEPING_FLOPS * program->threads &&
           flops >= 2.0 * KEEPING_SAMPLES * weights;
}

double cdl_program_work(const struct cdl_program *program) {
    double work = 0.0;
    for (int i = 0; i < program->n_nodes; i++) work += cdl_node_work(&program->nodes[i]);
    return work;
}

static double update_flops(const struct cdl_program *program) {
    double flops = 0.0;
    for (int i = 0; i < program->n_trained && program->n_groups; i++) {
        const struct cdl_trained *trained = &program->trained[i];
        const struct cdl_tensorwise *rule =
            cdl_tensorwise_rules[program->groups[trained->group].optimizer];
        if (rule && rule->flops) flops += rule->flops(trained);
    }
    return flops;
}

/* Copies each parameter that a forward pass changes to `kept`, unless that is NULL, or (back) from
 * there; the floats of all. */
static size_t copy_changed(const struct cdl_program *program, bool back, float *kept) {
    size_t floats = 0;
    CDL_EACH_NODE(node, program) {
        for (int p = 0; p < CDL_MAX_PARAMS && cdl_follows_batches(node); p++) {
            if (!node->param[p] || node->trained[p]) continue;
            float *w = node->param[p]->w, *at = kept ? kept + floats : w;
            const size_t n = cdl_param_floats(node->param[p]);
            if (kept) memcpy(back ? w : at, back ? at : w, n * sizeof *w);
            floats += n;
        }
    }
    return floats;
}

cdl_status cdl_cut(struct cdl_program *program) {
    const bool updates_long = update_flops(program) >= KEEPING_FLOPS;
    program->is_long = updates_long || is_long(program);
    CDL_EACH_NODE(node, program) {
        node->piece = program->is_long && may_be_cut(node) ? piece_of(node) : all_samples;
    }
    double most = 1.0;
    for (int i = 0; i < program->n_inputs; i++) most = fmax(most, floats_of(program->inputs[i]));
    for (int i = 0; i < program->n_outputs; i++) most = fmax(most, floats_of(program->outputs[i]));
    program->piece =
        program->is_long ? in_row_blocks(PIECE_WORK / WORK_OF_A_FLOAT / most) : all_samples;
    if (!program->training) return CDL_OK;
    program->keeps_grads |= program->is_long && keeps_gradients(program);
    for (int i = 0; i < program->n_trained && updates_long; i++)
        program->undo_floats += cdl_undo_floats(program, &program->trained[i]);
    const size_t floats = copy_changed(program, false, NULL);
    if (!floats || !(program->is_long || program->may_fail || program->ranks.all)) return CDL_OK;
    program->saved_params = calloc(floats, sizeof(float));
    return program->saved_params ? CDL_OK : CDL_ERR_NO_MEMORY;
}

void cdl_save_params(const struct cdl_program *program, bool back) {
    if (program->saved_params) copy_changed(program, back, program->saved_params);
}
