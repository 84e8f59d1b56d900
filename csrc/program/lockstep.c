/* lockstep.c - all threads of a team share each node of a program, one node after the other.
 *
 * A barrier stands behind each node and costs some 0.3 us, so it pays where a node takes some 20
 * us. The gain: nodes are split into as many pieces as their ops allow, so a batch of 32 or a
 * single image keeps all cores busy; and since no thread is ahead of another, memory is reused,
 * nodes learn right after their backward pass, and the plan is made as for one thread (plan.c).
 */
#include "program/steps.h"

/* Work per node and thread that is worth a barrier, some 20 us. With 9 us (256-256-256-10, 64
 * samples) a step on two threads took 3 to 7 % longer in lockstep. */
#define NODE_WORK 3e6

/* Least rows of a prediction that is split into blocks for all threads. */
enum { MANY_ROWS = 64 };

static bool is_aligned(const struct cdl_node *node) {
    bool all = true;
    for (int v = 0; v < cdl_values_of(node); v++)
        all &= cdl_value_of(node, v)->row_floats % CDL_LINE == 0;
    return all;
}

bool cdl_takes_any_samples(const struct cdl_node *node) {
    return node->op->any_samples && !node->mixes && is_aligned(node);
}

struct cdl_range cdl_samples_of(const struct cdl_node *node, const struct cdl_context *ctx) {
    const size_t block = cdl_takes_any_samples(node) ? 1 : cdl_row_step(ctx);
    return cdl_own_blocks(ctx, block, ctx->rows);
}

size_t cdl_worth_samples(const struct cdl_program *program) {
    const double work = NODE_WORK * program->threads * program->n_nodes;
    return (size_t)(work / cdl_program_work(program)) + 1;
}

bool cdl_keeps_step(const struct cdl_program *program, enum cdl_lockstep wanted) {
    if (program->threads == 1 || program->n_nodes == 0) return false;
    if (wanted != CDL_LOCKSTEP_WORTH) return wanted == CDL_LOCKSTEP_ALWAYS;
    /* No barrier is needed for predictions of many rows in blocks, or of batches whose places
     * belong to one thread each. */
    const bool many = program->rows >= MANY_ROWS && program->block < program->rows;
    if (!program->training && program->n_reports == 0 && (many || program->keeps_order))
        return false;
    /* A prediction gives each thread so many rows. */
    const double threads = program->training ? program->threads : 1.0;
    return cdl_program_work(program) * (double)program->rows >=
           NODE_WORK * threads * program->n_nodes;
}

void cdl_link_lockstep(struct cdl_program *program) {
    for (int i = 0; i < program->n_nodes && program->lockstep; i++) {
        struct cdl_node *node = &program->nodes[i];
        node->waits_forward = !node->loop;
        node->waits_backward = !node->loop && node->goes_back;
    }
}
