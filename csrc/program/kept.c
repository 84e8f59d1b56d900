/* kept.c - updates that need whole gradients: parameters used by several instructions, and those of
 * optimizers, clips and constraints that need a norm.
 *
 * The blocks of all parameters lie end to end, and a thread takes those that begin in its share of
 * the floats, so a few large kernels between many small biases are shared evenly. A block's update
 * depends on other blocks only through sums of squares, which each thread adds up for itself, block
 * by block in order: the same bits for any number of threads.
 */
#include <math.h>

#include "learn/learn.h"
#include "learn/tensorwise.h"
#include "program/steps.h"

/* Position in a walk over the parameters: floats passed, and floats of all. */
struct param_walk {
    size_t passed, all;
};

static size_t floats_of(const struct cdl_trained *trained) {
    return cdl_param_floats(trained->param);
}

static size_t share_begin(const struct param_walk *walk, int thread, int threads) {
    return walk->all / (size_t)threads * (size_t)thread;
}
static size_t share_end(const struct param_walk *walk, int thread, int threads) {
    return thread + 1 < threads ? share_begin(walk, thread + 1, threads) : walk->all;
}

static size_t beyond(size_t a, size_t b) { return a > b ? a - b : 0; }

static struct cdl_range next_blocks(struct param_walk *walk, const struct cdl_trained *trained,
                                    const struct cdl_context *ctx) {
    const size_t first = beyond(share_begin(walk, ctx->thread, ctx->threads), walk->passed);
    const size_t last = beyond(share_end(walk, ctx->thread, ctx->threads), walk->passed);
    walk->passed += floats_of(trained);
    return (struct cdl_range){cdl_blocks_before(trained->param, first),
                              cdl_blocks_before(trained->param, last)};
}

/* Does the thread take the next parameter as a whole? Its middle must lie in the share. */
static bool next_tensor(struct param_walk *walk, const struct cdl_trained *trained,
                        const struct cdl_context *ctx) {
    const size_t middle = walk->passed + floats_of(trained) / 2;
    walk->passed += floats_of(trained);
    return middle >= share_begin(walk, ctx->thread, ctx->threads) &&
           middle < share_end(walk, ctx->thread, ctx->threads);
}

/* ---- parts ----------------------------------------------------------------------------------- */

static bool has_parts(const struct cdl_trained *trained) {
    return trained->parts || trained->gradientless;
}

void cdl_learn_sums(struct cdl_program *program, const struct cdl_context *ctx,
                    struct cdl_team *team) {
    if (!program->n_parts && !program->n_gradientless) return;
    struct param_walk walk = {0};
    for (int i = 0; i < program->n_trained; i++)
        walk.all += has_parts(&program->trained[i]) ? floats_of(&program->trained[i]) : 0;
    cdl_barrier_wait(team, ctx->thread);
    CDL_EACH_TRAINED(trained, program) {
        if (!has_parts(trained)) continue;
        const struct cdl_range mine = next_blocks(&walk, trained, ctx);
        for (size_t b = mine.first; b < mine.last; b++)
            cdl_learn_parts(trained, ctx, cdl_block_at(trained->param, b), ctx->scratch);
    }
}

/* ---- kept gradients -------------------------------------------------------------------------- */

static struct cdl_squares squares_of(const struct cdl_trained *trained) {
    struct cdl_squares sum = {0};
    for (size_t b = 0; trained->squares && b < cdl_blocks(trained->param); b++) {
        sum.w += trained->squares[b].w;
        sum.d += trained->squares[b].d;
    }
    return sum;
}

/* Sums of the gradient's squares alone: threads that are ahead may be writing the others. */
static double gradient_squares_of(const struct cdl_trained *trained) {
    double sum = 0.0;
    for (size_t b = 0; trained->squares && b < cdl_blocks(trained->param); b++)
        sum += trained->squares[b].g;
    return sum;
}

/* Factor that brings a gradient of that norm within the limit; NaN if the norm is not finite. */
static float clip_factor(double squares, double limit) {
    const double norm = sqrt(squares);
    return (float)(limit / (norm > limit ? norm : limit) + (norm - norm));
}

static float factor_of(const struct cdl_trained *trained, const struct cdl_step *step,
                       double all_squares) {
    const struct cdl_rules *rules = step->rules;
    if (rules->clip_norm > 0.0f)
        return clip_factor(gradient_squares_of(trained), (double)rules->clip_norm);
    if (rules->global_clip_norm > 0.0f)
        return clip_factor(all_squares, (double)rules->global_clip_norm);
    return 1.0f;
}

static const struct cdl_tensorwise *rule_of(const struct cdl_trained *trained,
                                            const struct cdl_context *ctx) {
    return ctx->optimizer.groups[trained->group].tensorwise;
}

static bool reaches(const struct cdl_trained *trained, const struct cdl_context *ctx) {
    return rule_of(trained, ctx) && rule_of(trained, ctx)->reach;
}

/* Update from whole gradients; where the step depends on the norms of weights and direction, only
 * the direction is made. `takes_long` selects the parameters whose rules say so, or all others. */
static void learn(struct cdl_program *program, const struct cdl_context *ctx,
                  struct param_walk walk, double all_squares, bool takes_long) {
    float *scratch = program->tensorwise_scratch + (size_t)ctx->thread * program->tensorwise_floats;
    CDL_EACH_TRAINED(trained, program) {
        const struct cdl_tensorwise *rule = rule_of(trained, ctx);
        const bool wanted = takes_long == (rule && rule->flops);
        if (rule && !rule->reach) {
            if (next_tensor(&walk, trained, ctx) && wanted)
                cdl_learn_tensor(trained, ctx, factor_of(trained, &ctx->optimizer, all_squares),
                                 scratch);
            continue;
        }
        const struct cdl_range mine = next_blocks(&walk, trained, ctx);
        if (mine.first >= mine.last || !wanted) continue;
        const float factor = factor_of(trained, &ctx->optimizer, all_squares);
        for (size_t b = mine.first; b < mine.last; b++)
            cdl_learn_block(trained, ctx, b, factor, ctx->scratch);
    }
}

size_t cdl_undo_floats(const struct cdl_program *program, const struct cdl_trained *trained) {
    const struct cdl_tensorwise *rule =
        cdl_tensorwise_rules[program->groups[trained->group].optimizer];
    size_t arrays = trained->average ? 2 : 1;
    for (int s = 0; s < CDL_MAX_SLOTS; s++) arrays += trained->slots[s] != NULL;
    return rule && rule->flops ? arrays * floats_of(trained) : 0;
}

/* Saves, or (back) restores, everything that long steps change, of the parameters that the thread
 * takes. */
static void copy_for_undo(struct cdl_program *program, const struct cdl_context *ctx,
                          struct param_walk walk, bool back) {
    float *kept = program->undo;
    CDL_EACH_TRAINED(trained, program) {
        const size_t n = floats_of(trained), all = cdl_undo_floats(program, trained);
        float *const arrays[] = {trained->param->w, trained->average, trained->slots[0],
                                 trained->slots[1], trained->slots[2]};
        float *at = kept;
        kept += all;
        if (!next_tensor(&walk, trained, ctx) || !all) continue;
        for (size_t a = 0; a < sizeof arrays / sizeof *arrays; a++) {
            if (!arrays[a]) continue;
            memcpy(back ? arrays[a] : at, back ? at : arrays[a], n * sizeof *at);
            at += n;
        }
    }
}

static void look(void *ctx) { (void)cdl_stopped(ctx); }

/* Updates that take seconds, before any other parameter learns; false if they were cut short. */
static bool learn_long(struct cdl_program *program, struct cdl_context *ctx, struct cdl_team *team,
                       struct param_walk walk, double all_squares) {
    if (!program->undo_floats) ctx->watch = NULL;
    if (ctx->watch) copy_for_undo(program, ctx, walk, false);
    learn(program, ctx, walk, all_squares, true);
    if (!ctx->watch) return true;
    cdl_barrier_wait_long(team, ctx->thread, look, ctx);
    cdl_barrier_wait(team, ctx->thread); /* behind the last poll */
    ctx->watch = NULL;
    if (!cdl_watch_stopped(&program->watch)) return true;
    copy_for_undo(program, ctx, walk, true);
    return false;
}

static void accumulate(struct cdl_program *program, const struct cdl_context *ctx,
                       struct param_walk walk) {
    CDL_EACH_TRAINED(trained, program) {
        const struct cdl_range mine = next_blocks(&walk, trained, ctx);
        for (size_t b = mine.first; b < mine.last && trained->accumulated; b++)
            cdl_learn_sum(trained, ctx, b);
    }
}

static void move(struct cdl_program *program, const struct cdl_context *ctx,
                 struct param_walk walk) {
    CDL_EACH_TRAINED(trained, program) {
        const struct cdl_range mine = next_blocks(&walk, trained, ctx);
        if (mine.first >= mine.last || !reaches(trained, ctx)) continue;
        const struct cdl_squares squares = squares_of(trained);
        const float reach =
            rule_of(trained, ctx)
                ->reach(trained, ctx->optimizer.groups[trained->group].derived, &squares);
        for (size_t b = mine.first; b < mine.last; b++) cdl_learn_move(trained, ctx, b, reach);
    }
}

/* Norm constraints: panels in turns, since a column's norm needs all its rows. */
static void limit_norms(struct cdl_program *program, const struct cdl_context *ctx) {
    size_t panel = 0;
    CDL_EACH_TRAINED(trained, program) {
        if (trained->constraint != CDL_NORM) continue;
        const size_t columns = trained->param->matrix ? trained->param->cols : 1;
        for (size_t column = 0; column < columns; column += CDL_PANEL) {
            if (panel++ % (size_t)ctx->threads == (size_t)ctx->thread)
                cdl_limit_norms(trained, ctx->kernels, column);
        }
    }
}

bool cdl_learn_kept(struct cdl_program *program, struct cdl_context *ctx, struct cdl_team *team) {
    if (!program->keeps_grads) return true;
    struct param_walk walk = {0};
    double all_squares = 0.0;
    cdl_barrier_wait(team, ctx->thread);
    if (cdl_watch_stopped(&program->watch)) return false;
    for (int i = 0; i < program->n_trained; i++) {
        walk.all += floats_of(&program->trained[i]);
        all_squares += gradient_squares_of(&program->trained[i]);
    }
    if (ctx->optimizer.rules->finite_only && !(all_squares < INFINITY)) return false;
    if (!learn_long(program, ctx, team, walk, all_squares)) return false;
    accumulate(program, ctx, walk);
    learn(program, ctx, walk, all_squares, false);
    if (program->reaches && ctx->optimizer.apply) {
        cdl_barrier_wait(team, ctx->thread);
        move(program, ctx, walk);
    }
    if (program->limits_norms) {
        cdl_barrier_wait(team, ctx->thread);
        limit_norms(program, ctx);
    }
    return true;
}
