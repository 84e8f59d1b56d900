/* owed.c - steps that rows of a table owe.
 *
 * Adam also moves rows that no sample reads, and their moments: each step would read and write a
 * table of 100,000 rows for the 256 that a batch reads. So the numbers of each step are saved, and
 * a block of rows makes the steps that it owes when it is read next, one after the other in cache:
 * the same bits for less memory. A block that was never read, with slots of 0, has nothing to make.
 * All make theirs before anybody else may read the table: behind the last batch of a run, before
 * the watch is polled, and when CDL_MOST_OWED are saved.
 */
#include <stdlib.h>

#include "learn/learn.h"
#include "program/program.h"

/* The most arithmetic of a pass, some 30 ms, for a batch within which the caller is never asked. */
#define UNWATCHED_FLOPS 3e9

/* May nothing but nodes read weights within a step, which learn block by block? */
static bool may_any_owe(const struct cdl_program *program) {
    return program->training && !program->ranks.all && !program->n_hosts && !program->after &&
           !program->keeps_grads && program->row_flops * (double)program->rows <= UNWATCHED_FLOPS;
}

static bool is_read_elsewhere(const struct cdl_program *program, const struct cdl_node *node) {
    const struct cdl_param *param = node->param[0];
    bool is = false;
    for (int i = 0; i < program->n_derived; i++)
        for (int k = 0; k < CDL_MAX_PARAMS; k++) is |= program->derived[i].from[k] == param;
    for (int i = 0; i < program->n_nodes; i++)
        for (int k = 0; k < CDL_MAX_PARAMS; k++)
            is |= &program->nodes[i] != node && program->nodes[i].param[k] == param;
    return is;
}

cdl_status cdl_link_owed(struct cdl_program *program) {
    bool any = false;
    for (int i = 0; i < program->n_nodes && may_any_owe(program); i++) {
        struct cdl_node *node = &program->nodes[i];
        if (!node->op->may_owe || node->loop || node->shared) continue;
        if (!node->op->may_owe(node, program->rows) || is_read_elsewhere(program, node)) continue;
        struct cdl_trained *trained = node->trained[0];
        if (trained->rounded || !cdl_learn_is_plain(trained)) continue;
        trained->rests = program->kernels->rest[program->groups[trained->group].optimizer];
        node->owes = trained->rests != NULL;
        any |= node->owes;
    }
    if (any) program->owed = calloc(CDL_MOST_OWED, sizeof *program->owed);
    return any && !program->owed ? CDL_ERR_NO_MEMORY : CDL_OK;
}

void cdl_make_owed(const struct cdl_program *program, const struct cdl_context *ctx) {
    for (int i = 0; i < program->n_nodes && ctx->n_owed; i++)
        if (program->nodes[i].owes) program->nodes[i].op->make_owed(&program->nodes[i], ctx);
}
