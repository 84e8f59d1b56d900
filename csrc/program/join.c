/* join.c - processes that train one model, each with its share of the rows of every batch.
 *
 * Losses divide by the rows of the joined batch, so the gradient is the sum of the gradients of the
 * ranks. Every trained parameter has parts (build.c); what they hold is one block, which is summed
 * over all ranks between the backward pass and the first update. From there on every rank does the
 * same. Where gradients are accumulated, parts hold those of several batches, and are joined before
 * an update and at the end of the epoch; for other batches only the header is sent.
 */
#include "program/steps.h"

/* Granularity, in rows, of a rank's share: whole blocks, if there is one for each rank. */
static size_t unit_of(const struct cdl_ranks *ranks, size_t rows) {
    const size_t all = (size_t)ranks->all;
    if (ranks->leaves)
        return cdl_max((cdl_row_blocks(rows) + CDL_LEAVES - 1) / CDL_LEAVES, 1) * CDL_ROW_BLOCK;
    if (all == 0 || rows >= CDL_ROW_BLOCK * all) return CDL_ROW_BLOCK;
    return cdl_max((rows + all - 1) / all, 1);
}

size_t cdl_most_rows(const struct cdl_ranks *ranks, size_t rows) {
    if (ranks->all == 0 || ranks->own) return rows;
    const size_t all = (size_t)ranks->all, unit = unit_of(ranks, rows);
    const size_t units = ranks->leaves ? CDL_LEAVES : (rows + unit - 1) / unit;
    return cdl_min((units + all - 1) / all * unit, rows);
}

/* Number of leaves; this rank's places [place, end) and leaves [first, last). Leaf j has place j
 * CDL_LEAVES / all. */
struct leaves {
    size_t all, place, end, first, last;
};

static struct leaves leaves_of(const struct cdl_ranks *ranks, size_t rows, size_t unit) {
    const size_t n = (size_t)ranks->all, rank = (size_t)ranks->rank, all = (rows + unit - 1) / unit;
    const size_t place = CDL_LEAVES * rank / n, end = CDL_LEAVES * (rank + 1) / n;
    return (struct leaves){all, place, end, (place * all + CDL_LEAVES - 1) / CDL_LEAVES,
                           (end * all + CDL_LEAVES - 1) / CDL_LEAVES};
}

static struct cdl_range share_of_rank(const struct cdl_ranks *ranks, size_t rows, size_t unit) {
    if (!ranks->leaves) return cdl_share(unit, rows, ranks->rank, ranks->all);
    const struct leaves are = leaves_of(ranks, rows, unit);
    return (struct cdl_range){cdl_min(are.first * unit, rows), cdl_min(are.last * unit, rows)};
}

void cdl_take_share(struct cdl_program *program, const struct cdl_epoch *epoch,
                    struct cdl_context *ctx) {
    struct cdl_ranks *ranks = &program->ranks;
    ctx->joined = ctx->rows;
    ctx->unit = CDL_ROW_BLOCK;
    if (ranks->all == 0) return;
    ctx->unit = unit_of(ranks, ctx->rows);
    ctx->ranks = ranks;
    ctx->keeps = program->holds;
    ctx->last = (epoch->next + 1) * epoch->batch >= epoch->rows;
    ctx->watch = NULL; /* all ranks finish a batch, or none */
    if (ranks->own) {
        ctx->joined = ctx->rows * (size_t)ranks->all;
        ctx->first = ctx->rows * (size_t)ranks->rank;
        return;
    }
    const struct cdl_range own = share_of_rank(ranks, ctx->rows, ctx->unit);
    ctx->first = own.first;
    ctx->start += own.first;
    ctx->rows = ctx->batch = own.last > own.first ? own.last - own.first : 0;
}

size_t cdl_own_rows(const struct cdl_program *program, const struct cdl_epoch *epoch,
                    size_t batch) {
    struct cdl_epoch at = *epoch;
    at.next = batch;
    return cdl_context_of((struct cdl_program *)(uintptr_t)program, &at, false, 0, 1).rows;
}

void cdl_join(const struct cdl_context *ctx, float *floats, size_t n) {
    struct cdl_ranks *ranks = ctx->ranks;
    cdl_region_leave();
    if (!ranks->join(ranks->who, floats, n, false)) ranks->ended = true;
    cdl_region_enter();
}

void cdl_gather_blocks(const struct cdl_context *ctx, float *blocks, size_t n) {
    const struct cdl_joined_blocks are = cdl_joined_blocks(ctx);
    const size_t behind = are.first + are.own;
    memset(blocks, 0, are.first * n * sizeof *blocks);
    if (are.all > behind) memset(blocks + behind * n, 0, (are.all - behind) * n * sizeof *blocks);
    cdl_join(ctx, blocks, are.all * n);
}

void cdl_begin_joined(const struct cdl_program *program, const struct cdl_context *ctx) {
    const size_t n = program->ranks.leaf_floats;
    float *gradients = program->joined + CDL_HEADER;
    if (ctx->keeps) return;
    if (!program->ranks.leaves) {
        if (ctx->rows == 0) memset(gradients, 0, n * sizeof *gradients);
        return;
    }
    const struct leaves are = leaves_of(&program->ranks, ctx->joined, ctx->unit);
    for (size_t place = are.place; place < are.end; place++) {
        const size_t leaf = (place * are.all + CDL_LEAVES - 1) / CDL_LEAVES;
        const bool has_one = leaf < are.last && leaf * CDL_LEAVES / are.all == place;
        if (!has_one) memset(gradients + place * n, 0, n * sizeof *gradients);
    }
}

bool cdl_splits_leaves(const struct cdl_node *node) {
    return !node->learns || (!node->shared && node->op->parts >= CDL_BY_ROWS);
}

struct cdl_sink cdl_leaf_of(const struct cdl_context *ctx, size_t first) {
    const struct leaves are = leaves_of(ctx->ranks, ctx->joined, ctx->unit);
    const size_t place = (are.first + first / ctx->unit) * CDL_LEAVES / are.all;
    return (struct cdl_sink){.leaf = place * ctx->ranks->leaf_floats};
}

bool cdl_join_step(struct cdl_program *program, const struct cdl_context *ctx,
                   struct cdl_team *team) {
    struct cdl_ranks *ranks = &program->ranks;
    cdl_barrier_wait(team, ctx->thread);
    if (ctx->thread == 0) {
        const bool joins = cdl_joins_now(ctx);
        const size_t n = joins ? program->joined_floats : CDL_HEADER;
        memset(program->joined, 0, CDL_HEADER * sizeof *program->joined);
        program->joined[CDL_HEADER_FAULTS] = cdl_has_failed(program) ? 1.0f : 0.0f;
        cdl_region_leave();
        if (!ranks->join(ranks->who, program->joined, n, true)) ranks->ended = true;
        cdl_region_enter();
        program->holds = !joins && !ranks->ended;
    }
    cdl_barrier_wait(team, ctx->thread);
    return !ranks->ended;
}
