/* learn.c - from a gradient to new weights, in Keras's order: penalty, accumulation, clipping,
 * weight decay, update, moving average, constraint. */
#include "learn/learn.h"
#include "learn/tensorwise.h"

#include <math.h>

static size_t chunks_of(const struct cdl_param *param) {
    return (param->rows + CDL_CHUNK - 1) / CDL_CHUNK;
}

size_t cdl_blocks(const struct cdl_param *param) {
    return chunks_of(param) * ((param->cols + CDL_PANEL - 1) / CDL_PANEL);
}

struct cdl_block cdl_block_at(const struct cdl_param *param, size_t i) {
    const size_t chunks = chunks_of(param);
    const size_t row = i % chunks * CDL_CHUNK;
    const size_t column = i / chunks * CDL_PANEL;
    return (struct cdl_block){
        .column = column,
        .row = row,
        .rows = cdl_min(param->rows - row, CDL_CHUNK),
        .width = cdl_panel_width(param->cols, column),
    };
}

size_t cdl_blocks_before(const struct cdl_param *param, size_t offset) {
    const size_t chunks = chunks_of(param);
    const size_t column = offset / (param->rows * CDL_PANEL) * CDL_PANEL;
    if (column >= param->cols) return cdl_blocks(param);
    const size_t floats = CDL_CHUNK * cdl_panel_width(param->cols, column);
    const size_t behind = (offset - column * param->rows + floats - 1) / floats;
    return column / CDL_PANEL * chunks + (cdl_min(behind, chunks));
}

/* Preparation of the gradient g of n floats at `offset` for the optimizer's step. */
static void prepare(const struct cdl_trained *trained, const struct cdl_context *ctx, size_t offset,
                    size_t n, float *g) {
    const struct cdl_step *step = &ctx->optimizer;
    const float most = step->rules->clip_value;
    if (most > 0.0f) ctx->kernels->clip(n, -most, most, g);
    const float decay = trained->decay * step->rate;
    if (decay != 0.0f) ctx->kernels->shrink(n, decay, trained->param->w + offset);
}

/* Slots of the floats from `offset` on; NULL for those that the optimizer does not have. */
struct slots {
    float *at[CDL_MAX_SLOTS];
};
static struct slots slots_at(const struct cdl_trained *trained, size_t offset) {
    struct slots slots;
    for (int i = 0; i < CDL_MAX_SLOTS; i++)
        slots.at[i] = trained->slots[i] ? trained->slots[i] + offset : NULL;
    return slots;
}

/* The optimizer's row: from g to new slots and the new w, or to a direction. */
static void update(const struct cdl_trained *trained, const struct cdl_context *ctx, size_t offset,
                   size_t n, const float *g, float *w) {
    const struct cdl_group *group = &ctx->optimizer.groups[trained->group];
    const struct slots slots = slots_at(trained, offset);
    group->update(n, w, g, slots.at, group->by_lane ? group->by_lane : group->derived);
}

/* End of each batch, with or without an update: average and constraint. */
static void settle(const struct cdl_trained *trained, const struct cdl_context *ctx, size_t offset,
                   size_t n) {
    const struct cdl_kernels *kernels = ctx->kernels;
    const struct cdl_step *step = &ctx->optimizer;
    float *w = trained->param->w + offset;
    if (trained->average) {
        kernels->blend(n, step->average_momentum, w, trained->average + offset);
        if (step->overwrite) kernels->blend(n, 0.0f, trained->average + offset, w);
    }
    if (trained->constraint == CDL_NON_NEGATIVE) kernels->clip(n, 0.0f, INFINITY, w);
}

/* Adds the penalty's gradient to a block. Pads are left out: as weights of 0 they would get l1. */
static void penalize_block(const struct cdl_trained *trained, const struct cdl_context *ctx,
                           struct cdl_block block, float *g) {
    const float share = ctx->optimizer.share;
    const size_t offset = cdl_block_offset(trained->param, block);
    const size_t left = trained->param->cols - block.column;
    double *penalty = trained->penalty ? trained->penalty + offset / CDL_LINE : NULL;
    ctx->kernels->penalize(block.rows * block.width, trained->param->w + offset, g,
                           share * trained->l1, share * trained->l2, penalty);
    for (size_t r = 0; r < block.rows && left < block.width; r++) {
        for (size_t j = left; j < block.width; j++) g[r * block.width + j] = 0.0f;
    }
}

static void note_squares(const struct cdl_trained *trained, const struct cdl_kernels *kernels,
                         struct cdl_block block, const float *g) {
    const size_t chunks = chunks_of(trained->param);
    const size_t i = block.column / CDL_PANEL * chunks + block.row / CDL_CHUNK;
    trained->squares[i].g = 0.0;
    kernels->squares(block.rows * block.width, g, &trained->squares[i].g);
}

/* Gradient, or accumulated sum: the stored sum stays as it is until the step cannot become void any
 * more (cdl_learn_sum). */
static void keep(const struct cdl_trained *trained, const struct cdl_context *ctx,
                 struct cdl_block block, size_t offset, float *g) {
    const struct cdl_kernels *kernels = ctx->kernels;
    const struct cdl_step *step = &ctx->optimizer;
    const size_t n = block.rows * block.width;
    const bool waits = trained->accumulated && !step->apply;
    if (trained->accumulated) kernels->add(n, trained->accumulated + offset, g);
    if (trained->accumulated && !waits) kernels->scale(n, 1.0f / (float)step->accumulate, g);
    kernels->blend(n, 0.0f, g, trained->gradient + offset);
    if (trained->squares && !waits) note_squares(trained, kernels, block, g);
}

void cdl_round_block(const struct cdl_kernels *kernels, const struct cdl_param *param,
                     enum cdl_dtype dtype, const struct cdl_param *rounded,
                     struct cdl_block block) {
    const size_t offset = cdl_block_offset(param, block);
    const float *w = param->w + offset;
    if (!rounded->pairs)
        kernels->round_numbers(dtype, block.rows * block.width, w, rounded->w + offset);
    for (size_t j = 0; j < block.width && rounded->pairs; j += CDL_BF16_LINE)
        kernels->bf16_pack(block.rows, cdl_min(block.width - j, CDL_BF16_LINE), w + j, block.width,
                           cdl_param_pairs(rounded, block.row, block.column + j), CDL_BF16_LINE);
}

/* Adds a gradient to those of earlier steps; once they are all there g becomes their mean, and the
 * sum 0. */
static bool accumulate(const struct cdl_trained *trained, const struct cdl_context *ctx,
                       size_t offset, size_t n, float *g) {
    const struct cdl_step *step = &ctx->optimizer;
    float *sum = trained->accumulated + offset;
    ctx->kernels->add(n, g, sum);
    if (!step->apply) return false;
    ctx->kernels->blend(n, 0.0f, sum, g);
    ctx->kernels->scale(n, 1.0f / (float)step->accumulate, g);
    memset(sum, 0, n * sizeof *sum); /* memset, as 0 times NaN is NaN */
    return true;
}

const struct cdl_sink cdl_all_here;

void cdl_learn(struct cdl_trained *trained, const struct cdl_context *ctx,
               const struct cdl_sink *to, struct cdl_block block, float *g) {
    const struct cdl_kernels *kernels = ctx->kernels;
    const struct cdl_step *step = &ctx->optimizer;
    const size_t offset = cdl_block_offset(trained->param, block);
    const size_t n = block.rows * block.width;
    if (to->adds) kernels->add(n, trained->sum + offset, g);
    if (to->leaves) {
        const size_t before = to->slot * cdl_param_floats(trained->param);
        kernels->blend(n, 0.0f, g, trained->sum + before + offset);
        return;
    }
    if (trained->dtype == CDL_DTYPE_float16) kernels->round_numbers(trained->dtype, n, g, g);
    if (trained->is_part) {
        float *gradient = trained->gradient + to->leaf + offset;
        if (ctx->keeps) kernels->add(n, gradient, g);
        kernels->blend(n, 0.0f, g, gradient);
        return;
    }
    if (step->unscale != 1.0f) kernels->scale(n, step->unscale, g);
    if (cdl_is_penalized(trained)) penalize_block(trained, ctx, block, g);
    if (trained->added_grad) kernels->add(n, trained->added_grad + offset, g);
    if (trained->gradient) {
        keep(trained, ctx, block, offset, g);
        return;
    }
    if (!trained->accumulated || accumulate(trained, ctx, offset, n, g)) {
        prepare(trained, ctx, offset, n, g);
        update(trained, ctx, offset, n, g, trained->param->w + offset);
    }
    settle(trained, ctx, offset, n);
    if (trained->rounded)
        cdl_round_block(kernels, trained->param, trained->rounds_to, trained->rounded, block);
}

/* Sum in the order of micro-batches that come one after the other. */
void cdl_learn_slots(struct cdl_trained *trained, const struct cdl_context *ctx,
                     const struct cdl_sink *to, size_t slots, float *g) {
    const struct cdl_kernels *kernels = ctx->kernels;
    const size_t floats = cdl_param_floats(trained->param);
    const struct cdl_range own = cdl_own(ctx, cdl_blocks(trained->param));
    const struct cdl_sink all = {.leaves = to->leaves};
    for (size_t i = own.first; i < own.last; i++) {
        const struct cdl_block block = cdl_block_at(trained->param, i);
        const float *sum = trained->sum + cdl_block_offset(trained->param, block);
        const size_t n = block.rows * block.width;
        size_t slot = to->adds ? 0 : 1;
        kernels->blend(n, 0.0f, sum + slot * floats, g);
        while (++slot <= slots) kernels->add(n, sum + slot * floats, g);
        cdl_learn(trained, ctx, &all, block, g);
    }
}

void cdl_learn_given(struct cdl_trained *trained, const struct cdl_context *ctx,
                     const float *gradient, float *g) {
    for (size_t i = 0; i < cdl_blocks(trained->param); i++) {
        const struct cdl_block block = cdl_block_at(trained->param, i);
        ctx->kernels->blend(block.rows * block.width, 0.0f,
                            gradient + cdl_block_offset(trained->param, block), g);
        cdl_learn(trained, ctx, &cdl_all_here, block, g);
    }
}

void cdl_learn_parts(struct cdl_trained *trained, const struct cdl_context *ctx,
                     struct cdl_block block, float *g) {
    const size_t offset = cdl_block_offset(trained->param, block), n = block.rows * block.width;
    const struct cdl_trained *part = cdl_joins_now(ctx) ? trained->parts : NULL;
    if (part)
        ctx->kernels->blend(n, 0.0f, part->gradient + offset, g);
    else
        memset(g, 0, n * sizeof(float));
    for (part = part ? part->next : NULL; part; part = part->next)
        ctx->kernels->add(n, part->gradient + offset, g);
    cdl_learn(trained, ctx, &cdl_all_here, block, g);
}

bool cdl_learn_is_plain(const struct cdl_trained *trained) {
    return !trained->is_part && !trained->gradient && !cdl_is_penalized(trained) &&
           !trained->added_grad && !trained->accumulated && !trained->average &&
           trained->constraint == CDL_FREE;
}

bool cdl_learn_skips_zero(const struct cdl_trained *trained, const struct cdl_context *ctx) {
    const struct cdl_group *group = &ctx->optimizer.groups[trained->group];
    const bool skips = group->update == ctx->kernels->update[CDL_OPTIMIZER_sgd] ||
                       group->update == ctx->kernels->update[CDL_OPTIMIZER_adagrad];
    return skips && cdl_learn_is_plain(trained) && trained->decay == 0.0f;
}

static bool all_zero(float *const *slots, size_t n) {
    bool zero = true;
    for (int s = 0; s < CDL_MAX_SLOTS && slots[s] && zero; s++)
        for (size_t i = 0; i < n && zero; i++) zero = slots[s][i] == 0.0f;
    return zero;
}

static void make_owed(const struct cdl_trained *trained, const struct cdl_context *ctx, size_t n,
                      size_t made, float *w, float *const *slots) {
    const struct cdl_step *steps = ctx->owed + made;
    if (trained->decay == 0.0f && all_zero(slots, n)) return;
    trained->rests(n, w, slots,
                   &(struct cdl_rests){.derived = steps->groups[trained->group].derived,
                                       .rates = &steps->rate,
                                       .stride = sizeof *steps / sizeof(float),
                                       .steps = ctx->n_owed - made,
                                       .decay = trained->decay});
}

void cdl_learn_owed(const struct cdl_trained *trained, const struct cdl_context *ctx, size_t offset,
                    size_t n, size_t made) {
    const struct slots slots = slots_at(trained, offset);
    make_owed(trained, ctx, n, made, trained->param->w + offset, slots.at);
}

void cdl_learn_ahead(const struct cdl_trained *trained, const struct cdl_context *ctx,
                     size_t offset, size_t n, size_t made, float *w) {
    float copies[CDL_MAX_SLOTS][CDL_PANEL];
    struct slots slots = slots_at(trained, offset);
    for (int s = 0; s < CDL_MAX_SLOTS; s++)
        if (slots.at[s]) slots.at[s] = memcpy(copies[s], slots.at[s], n * sizeof(float));
    memcpy(w, trained->param->w + offset, n * sizeof(float));
    make_owed(trained, ctx, n, made, w, slots.at);
}

bool cdl_learn_needs_norms(const struct cdl_trained *trained, const struct cdl_step *step) {
    const struct cdl_tensorwise *rule = step->groups[trained->group].tensorwise;
    return (rule && rule->reach) || step->rules->clip_norm > 0.0f ||
           step->rules->global_clip_norm > 0.0f || step->rules->finite_only;
}

bool cdl_learn_keeps(const struct cdl_trained *trained, const struct cdl_step *step) {
    return step->groups[trained->group].tensorwise || trained->constraint == CDL_NORM ||
           cdl_learn_needs_norms(trained, step);
}

void cdl_learn_sum(const struct cdl_trained *trained, const struct cdl_context *ctx, size_t i) {
    const struct cdl_block block = cdl_block_at(trained->param, i);
    const size_t offset = cdl_block_offset(trained->param, block), n = block.rows * block.width;
    float *sum = trained->accumulated + offset;
    if (ctx->optimizer.apply)
        memset(sum, 0, n * sizeof *sum);
    else
        ctx->kernels->blend(n, 0.0f, trained->gradient + offset, sum);
}

/* Direction, in the place of the gradient. */
static void to_direction(struct cdl_trained *trained, const struct cdl_context *ctx, size_t i,
                         size_t offset, size_t n, float *d) {
    struct cdl_squares *squares = &trained->squares[i];
    update(trained, ctx, offset, n, trained->gradient + offset, d);
    ctx->kernels->blend(n, 0.0f, d, trained->gradient + offset);
    squares->w = squares->d = 0.0;
    ctx->kernels->squares(n, trained->param->w + offset, &squares->w);
    ctx->kernels->squares(n, d, &squares->d);
}

void cdl_learn_block(struct cdl_trained *trained, const struct cdl_context *ctx, size_t i,
                     float factor, float *g) {
    const struct cdl_block block = cdl_block_at(trained->param, i);
    const size_t offset = cdl_block_offset(trained->param, block), n = block.rows * block.width;
    float *gradient = trained->gradient + offset;
    if (ctx->optimizer.apply) {
        if (factor != 1.0f) ctx->kernels->scale(n, factor, gradient);
        prepare(trained, ctx, offset, n, gradient);
        if (ctx->optimizer.groups[trained->group].tensorwise) {
            to_direction(trained, ctx, i, offset, n, g);
            return;
        }
        update(trained, ctx, offset, n, gradient, trained->param->w + offset);
    }
    settle(trained, ctx, offset, n);
}

void cdl_learn_move(struct cdl_trained *trained, const struct cdl_context *ctx, size_t i,
                    float reach) {
    const struct cdl_block block = cdl_block_at(trained->param, i);
    const size_t offset = cdl_block_offset(trained->param, block), n = block.rows * block.width;
    ctx->kernels->scale(n, -reach, trained->gradient + offset);
    ctx->kernels->add(n, trained->gradient + offset, trained->param->w + offset);
    settle(trained, ctx, offset, n);
}

void cdl_learn_tensor(struct cdl_trained *trained, const struct cdl_context *ctx, float factor,
                      float *scratch) {
    const size_t n = cdl_param_floats(trained->param);
    if (ctx->optimizer.apply) {
        if (factor != 1.0f) ctx->kernels->scale(n, factor, trained->gradient);
        prepare(trained, ctx, 0, n, trained->gradient);
        ctx->optimizer.groups[trained->group].tensorwise->learn(trained, ctx, scratch);
    }
    settle(trained, ctx, 0, n);
}

void cdl_limit_norms(const struct cdl_trained *trained, const struct cdl_kernels *kernels,
                     size_t column) {
    const struct cdl_param *param = trained->param;
    const size_t width = cdl_panel_width(param->cols, column);
    float *w = param->w + column * param->rows;
    float factor[CDL_PANEL] = {0};
    double all = 0.0;
    if (param->matrix)
        kernels->column_squares(param->rows, width, w, width, factor);
    else
        kernels->squares(cdl_param_floats(param), param->w, &all);
    for (size_t j = 0; j < (param->matrix ? width : 1); j++) {
        const float norm = param->matrix ? sqrtf(factor[j]) : (float)sqrt(all);
        const float low = norm < trained->low ? trained->low : norm;
        const float within = low > trained->high ? trained->high : low;
        factor[j] = (trained->rate * within + (1.0f - trained->rate) * norm) / (1e-7f + norm);
    }
    if (!param->matrix) {
        kernels->scale(cdl_param_floats(param), factor[0], param->w);
        return;
    }
    for (size_t r = 0; r < param->rows; r++) {
        for (size_t j = 0; j < width; j++) w[r * width + j] *= factor[j];
    }
}
