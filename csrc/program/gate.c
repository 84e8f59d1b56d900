/* gate.c - number of threads that share a step, by its arithmetic and its number of pieces.
 *
 * A part of n pieces takes as long as the largest share, ceil(n / threads) of them: 8 blocks of 16
 * samples keep 8 threads busy, however many there are. In lockstep the pieces are more, and the
 * barriers too; the sum of both decides.
 */
#include "program/gate.h"

#include <math.h>

#include "learn/learn.h"
#include "program/steps.h"

/* Cost of a barrier for each thread of the team, in the unit of cdl_program_work (some 150 in a
 * nanosecond): 0.3 us for two, each of which adds to the counter of arrivals. */
#define BARRIER_WORK 2.25e4

/* Times the least cost that is as good, with fewer threads. */
#define ENOUGH 1.1

enum step_part { FORWARD, BACKWARD, UPDATE, N_PARTS };

int cdl_worth_threads(struct cdl_program *program, const struct cdl_program_def *def) {
    CDL_EACH_NODE(node, program)
        if (!node->shared) program->row_flops += (double)node->iterations * cdl_node_flops(node);
    /* With two threads a step takes about half its time plus two barriers and 16 ns for each cache
     * line that changes cores: below some 5 MFLOP one thread wins (measured on Sapphire Rapids and
     * Zen 4 cores, see docs/design.md). */
    const double flops = program->row_flops * (def->training ? 3.0 : 1.0) * (double)program->rows;
    const double worth = flops / 2.5e6;
    const int available = def->threads < 0 ? -def->threads : cdl_threads_available();
    if (program->mixes_rows && !def->training) return 1;
    if (program->n_hosts) return 1; /* a function of the caller's wants the whole batch at once */
    program->forced = def->threads > 0;
    if (program->forced) return def->threads < CDL_MAX_THREADS ? def->threads : CDL_MAX_THREADS;
    return worth < 2.0 ? 1 : worth < available ? (int)worth : available;
}

static size_t blocks_of(const struct cdl_node *node) {
    size_t most = 0;
    for (int p = 0; p < CDL_MAX_PARAMS; p++)
        if (node->trained[p]) most = cdl_max(most, cdl_blocks(node->param[p]));
    return most;
}

/* Pieces of a node in a part of a step; 0: it has none to share. */
static size_t pieces_of(const struct cdl_program *program, const struct cdl_node *node,
                        enum step_part part, bool lockstep) {
    const struct cdl_op *op = node->op;
    const bool back = part == BACKWARD;
    if (part == UPDATE) return node->learns && !node->loop ? blocks_of(node) : 0;
    if (node->loop || !(back ? node->goes_back && op->backward[0].run : op->forward[0].run != NULL))
        return 0;
    if (node->shared) return 1;
    if (lockstep && op->run_pieces) {
        /* Windows know theirs once they are derived: those of a sample, at least. */
        return op->code_bytes ? program->rows : op->pieces(node, program->rows, back);
    }
    const size_t block = program->micro ? program->micro : CDL_ROW_BLOCK;
    const bool any = lockstep && cdl_takes_any_samples(node);
    return any ? program->rows : (program->rows + block - 1) / block;
}

/* Largest of so many shares of the work of a part of a step. */
static double share_of(const struct cdl_program *program, const struct cdl_node *node,
                       enum step_part part, int threads, bool lockstep, double *work) {
    const size_t n = pieces_of(program, node, part, lockstep), all = (size_t)threads;
    *work = n ? cdl_node_work(node) * (double)(node->shared ? 1 : program->rows) : 0.0;
    return n ? *work * (double)((n + all - 1) / all) / (double)n : 0.0;
}

static double cost(const struct cdl_program *program, int threads, bool lockstep) {
    const int barriers = lockstep ? N_PARTS * program->n_nodes : 2;
    double sum = BARRIER_WORK * threads * barriers, work;
    for (int i = 0; i < program->n_nodes; i++) {
        for (enum step_part part = FORWARD; part < N_PARTS; part++)
            sum += share_of(program, &program->nodes[i], part, threads, lockstep, &work);
    }
    return sum;
}

void cdl_balance_threads(struct cdl_program *program, const struct cdl_program_def *def) {
    if (program->forced || !program->training || program->threads < 3) return;
    const bool first = program->lockstep, last = def->lockstep != CDL_LOCKSTEP_NEVER;
    const int most = program->threads;
    double least = INFINITY;
    for (int t = 2; t <= most; t++)
        least = fmin(least, fmin(cost(program, t, first), cost(program, t, last)));
    for (int t = most; t > 1; t--) {
        const bool together = cost(program, t, last) < cost(program, t, first) ? last : first;
        if (cost(program, t, together) > ENOUGH * least) continue;
        program->threads = t;
        program->lockstep = together;
    }
}

struct cdl_balance cdl_program_balance(const struct cdl_program *program) {
    struct cdl_balance balance = {program->threads, program->lockstep, 1.0, 1.0};
    double largest[N_PARTS] = {0}, all[N_PARTS] = {0};
    for (int i = 0; i < program->n_nodes; i++) {
        for (enum step_part part = FORWARD; part < N_PARTS; part++) {
            double work;
            largest[part] += balance.threads * share_of(program, &program->nodes[i], part,
                                                        balance.threads, balance.lockstep, &work);
            all[part] += work;
        }
    }
    const double passes = all[FORWARD] + all[BACKWARD],
                 largest_passes = largest[FORWARD] + largest[BACKWARD];
    if (passes > 0.0) balance.passes = largest_passes / passes;
    if (passes > 0.0) balance.step = (largest_passes + largest[UPDATE]) / (passes + all[UPDATE]);
    return balance;
}

void cdl_run_region(struct cdl_program *program, bool alone,
                    void (*work)(void *, struct cdl_team *, int), void *arg) {
    struct cdl_turns *turns = &program->turns;
    const int most = alone ? 1 : program->threads;
    const int threads = program->forced ? most : cdl_threads_now(most);
    if (threads == 1 || program->forced) {
        cdl_region(threads, work, arg);
        return;
    }
    const double begin = cdl_now();
    cdl_region(turns->alone ? 1 : threads, work, arg);
    turns->now.seconds += cdl_now() - begin;
    if (cdl_turn_ends(turns)) cdl_next_turn(turns, cdl_is_crowded());
}
