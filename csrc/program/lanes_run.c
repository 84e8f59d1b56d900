/* lanes_run.c - members in lanes: weights in and out, rows, steps, epochs. */
#include "program/lanes.h"

#include <math.h>
#include <string.h>

#include "base/caches.h"
#include "program/steps.h"

/* Fewer members than this train as fast one after the other. */
enum { FEWEST = 4 };

/* A member that is in, or NULL: all others go in step with it. */
static struct cdl_member *leader_of(const struct cdl_member_lanes *lanes) {
    for (size_t l = 0; l < CDL_LINE; l++) {
        if (lanes->members[l]) return lanes->members[l];
    }
    return NULL;
}

bool cdl_lanes_are_in(const struct cdl_member_lanes *lanes) { return leader_of(lanes) != NULL; }

/* The member of a lane; one without any reads what the leader does. */
static struct cdl_member *member_of(const struct cdl_member_lanes *lanes, size_t lane) {
    return lanes->members[lane] ? lanes->members[lane] : leader_of(lanes);
}

/* Copies all samples of a value, or of its gradient, to the other view. */
static void turn(const struct cdl_kernels *kernels, const struct cdl_lanes_value *value,
                 enum cdl_view from, size_t rows, bool gradient) {
    const struct cdl_tensor *elements = &value->in[CDL_BY_ELEMENTS];
    const struct cdl_tensor *members = &value->in[CDL_BY_MEMBERS];
    const size_t n = members->width, ld = members->ld;
    float *e = gradient ? elements->grad : elements->data;
    float *m = gradient ? members->grad : members->data;
    if (n == 1) return;
    if (from == CDL_BY_MEMBERS)
        kernels->lanes_in(rows, n, m, ld, e);
    else
        kernels->lanes_out(rows, n, e, m, ld);
}

/* ---- weights ------------------------------------------------------------------------------------
 */

/* Floats from a member's weight to the next one's, row-major in scratch. */
static size_t stride_of(const struct cdl_param *param) {
    return cdl_round_up(param->rows * param->cols, CDL_LINE);
}

void cdl_lanes_begin(struct cdl_member_lanes *lanes) {
    for (size_t l = 0; l < CDL_LINE; l++) {
        if (lanes->members[l]) cdl_member_draws(lanes->members[l]);
    }
    for (size_t i = 0; i < lanes->host->n_params; i++) {
        const struct cdl_param *param = lanes->host->params[i];
        const size_t ld = stride_of(param);
        for (size_t l = 0; l < CDL_LINE; l++) {
            const struct cdl_member *member = member_of(lanes, l);
            float *to = lanes->scratch + l * ld;
            if (member->params)
                cdl_param_get(member->params[i], to);
            else
                memcpy(to, member->floats[i], param->rows * param->cols * sizeof *to);
        }
        lanes->program->kernels->transpose(CDL_LINE, param->rows * param->cols, lanes->scratch, ld,
                                           lanes->params[i].w, CDL_LINE);
    }
    for (int i = 0; i < lanes->program->n_nodes; i++) {
        const struct cdl_node *node = &lanes->nodes[i];
        if (node->op->derive && node->op->follows) /* what is made of weights that do not learn */
            node->op->derive(node, lanes->program->kernels);
    }
}

static void bring_out(struct cdl_member_lanes *lanes, size_t lane) {
    struct cdl_member *member = lanes->members[lane];
    for (size_t i = 0; i < lanes->host->n_params; i++) {
        const struct cdl_param *param = &lanes->params[i];
        if (!lanes->changes[i]) continue;
        float *to = member->params ? lanes->scratch : member->floats[i];
        for (size_t e = 0; e < param->rows; e++) to[e] = param->w[e * CDL_LINE + lane];
        if (!member->params) continue;
        cdl_param_set(member->params[i], to);
        cdl_param_changes(member->params[i]);
    }
}

static bool go_in_step(const struct cdl_member_lanes *lanes, const struct cdl_member *a,
                       const struct cdl_member *b) {
    return a->epochs == b->epochs && a->done == b->done && a->epoch.rows == b->epoch.rows &&
           a->epoch.batch == b->epoch.batch && a->epoch.iteration == b->epoch.iteration &&
           (!lanes->decays || a->epoch.rates[0] == b->epoch.rates[0]);
}

static void set_state(struct cdl_member *member, enum cdl_member_state state) {
    __atomic_store_n(&member->state, state, __ATOMIC_RELAXED);
}

bool cdl_lanes_enter(struct cdl_member_lanes *lanes, struct cdl_member *const *members, size_t n) {
    struct cdl_member *some[CDL_LINE] = {NULL};
    size_t found = 0;
    for (size_t i = 0; i < n && found < CDL_LINE; i++) {
        if (!cdl_member_waits(members[i]) || members[i]->epoch.n_rates != 1) continue;
        if (members[i]->epoch.shares || members[i]->epoch.batch > lanes->rows) continue;
        if (found == 0 || go_in_step(lanes, some[0], members[i])) some[found++] = members[i];
    }
    if (found < FEWEST) return false;
    memcpy(lanes->members, some, sizeof some);
    for (size_t l = 0; l < found; l++) set_state(some[l], CDL_IS_IN);
    return true;
}

bool cdl_lanes_leave(struct cdl_member_lanes *lanes, const struct cdl_member *member, bool back) {
    for (size_t l = 0; l < CDL_LINE; l++) {
        if (lanes->members[l] != member) continue;
        if (back) bring_out(lanes, l);
        lanes->members[l] = NULL;
        return true;
    }
    return false;
}

/* ---- a batch ------------------------------------------------------------------------------------
 */

/* Rows of each member become rows of all in turn. */
static void feed(struct cdl_member_lanes *lanes, int i, struct cdl_picked rows, size_t n) {
    const struct cdl_program *program = lanes->program;
    const struct cdl_lanes_value *value = &lanes->values[program->inputs[i] - program->values];
    const struct cdl_tensor *to = &value->in[CDL_BY_MEMBERS];
    const struct cdl_array *arrays[CDL_LINE];
    const int64_t *orders[CDL_LINE];
    const struct cdl_member *leader = leader_of(lanes);
    const size_t behind = leader->done + 1 < leader->epochs ? rows.all : 0; /* the next epoch */
    /* Rows that L2 keeps are there from the first epoch on. */
    const size_t bytes = CDL_LINE * rows.all * to->lines * to->width * sizeof(float);
    const bool fetches = leader->done == 0 || bytes > cdl_caches()->l2 / 2;
    for (size_t l = 0; l < CDL_LINE; l++) {
        const struct cdl_member *member = member_of(lanes, l);
        arrays[l] = &member->epoch.arrays[i];
        orders[l] = member->orders + member->done * member->epoch.rows + rows.start;
    }
    if ((to->ld == 1 || value->home == CDL_BY_ELEMENTS) &&
        cdl_feed_lanes(program->kernels, arrays, orders, n, rows.all - rows.start - n + behind,
                       fetches, &value->in[value->home]))
        return;
    const size_t all = CDL_LINE * to->ld;
    struct cdl_tensor own = *to;
    if (to->ld == 1)
        own.data = lanes->scratch;
    else
        own.ld = own.row_floats = all;
    for (size_t l = 0; l < CDL_LINE; l++) {
        const struct cdl_member *member = member_of(lanes, l);
        rows.order = member->orders + member->done * member->epoch.rows;
        if (to->ld > 1) own.data = to->data + l * to->ld;
        cdl_feed(program->kernels, &member->epoch.arrays[i], rows, 0, n, &own, NULL);
        for (size_t r = 0; r < n && to->ld == 1; r++) to->data[r * all + l] = own.data[r];
    }
    if (value->is_in[CDL_BY_ELEMENTS]) turn(program->kernels, value, CDL_BY_MEMBERS, n, false);
}

/* A pass forward or back of a node, over all samples in its view. */
static void pass(const struct cdl_member_lanes *lanes, int i, bool back,
                 const struct cdl_context *ctx) {
    const struct cdl_node *node = &lanes->nodes[i];
    const struct cdl_lanes_op *op = node->op->lanes;
    cdl_pass_fn *run = back ? op->backward : op->forward;
    struct cdl_context seen = *ctx; /* by members: as many samples, of which a mean has its share */
    if (op->view == CDL_BY_MEMBERS) seen.rows = ctx->rows * CDL_LINE;
    if (run) {
        run(node, &seen, 0, seen.rows);
        return;
    }
    const struct cdl_phase *phase = back ? node->op->backward : node->op->forward;
    for (; phase->run; phase++) {
        if (cdl_phase_counts(phase, node, ctx)) phase->run(node, &seen, 0, seen.rows);
    }
}

/* Turns what a node has made to where it is read. */
static void turn_values(const struct cdl_member_lanes *lanes, int i, size_t rows) {
    const struct cdl_node *node = &lanes->program->nodes[i];
    for (int k = 0; k < node->n_out; k++) {
        const struct cdl_lanes_value *value = &lanes->values[node->out[k] - lanes->program->values];
        if (value->is_in[!value->home])
            turn(lanes->program->kernels, value, value->home, rows, false);
    }
}
static void turn_gradients(const struct cdl_member_lanes *lanes, int i, size_t rows) {
    const struct cdl_node *node = &lanes->program->nodes[i];
    const enum cdl_view view = cdl_view_of(node);
    for (int k = 0; k < node->n_in; k++) {
        const struct cdl_lanes_value *value = &lanes->values[node->in[k] - lanes->program->values];
        if (node->needs[k] && value->home != view)
            turn(lanes->program->kernels, value, view, rows, true);
    }
}

/* Counts the penalties of the weights as they are: before each step, or once an evaluation. */
static void count_penalties(struct cdl_member_lanes *lanes, const struct cdl_context *ctx,
                            bool first_batch) {
    const struct cdl_program *program = lanes->program;
    if (ctx->training || first_batch) memset(lanes->penalties, 0, sizeof lanes->penalties);
    for (int i = 0; i < program->n_trained && (ctx->training || first_batch); i++) {
        const struct cdl_trained *trained = &program->trained[i];
        if (cdl_is_penalized(trained))
            ctx->kernels->lanes_penalties(trained->param->rows, trained->param->cols,
                                          lanes->trained[i].param->w, trained->l1, trained->l2,
                                          lanes->penalties);
    }
    for (size_t l = 0; l < CDL_LINE; l++)
        lanes->penalty_totals[l] += lanes->penalties[l] * (double)ctx->batch;
}

static void learn(const struct cdl_member_lanes *lanes, const struct cdl_context *ctx) {
    const struct cdl_rows rows = {0, ctx->rows, ctx->rows};
    for (int i = lanes->program->n_nodes - 1; i >= 0; i--) {
        const struct cdl_node *node = &lanes->nodes[i];
        if (node->goes_back) {
            pass(lanes, i, true, ctx);
            turn_gradients(lanes, i, ctx->rows);
        }
        cdl_update_rows_fn *update = node->op->lanes->update;
        if (node->learns) (update ? update : node->op->update)(node, ctx, rows, &cdl_all_here);
    }
}

/* Column of a member, of values or weights that lie by members. */
static float *column_of(const struct cdl_member_lanes *lanes, const float *values, size_t rows,
                        float *to) {
    lanes->program->kernels->transpose(rows, CDL_LINE, values, CDL_LINE, to,
                                       cdl_round_up(rows, CDL_LINE));
    return to;
}

/* Reports of a node, which sees one member after the other if it has no other way. */
static void report(struct cdl_member_lanes *lanes, int r, const struct cdl_context *ctx,
                   double *states) {
    const struct cdl_program *program = lanes->program;
    const struct cdl_node *of = &lanes->nodes[program->reports[r] - program->nodes];
    if (of->op->lanes->report) {
        of->op->lanes->report(of, ctx, states);
        return;
    }
    const size_t ld = cdl_round_up(ctx->rows, CDL_LINE);
    const bool given = of->n_out == 1;
    const float *values = given ? of->out[0]->data : of->scratch;
    struct cdl_node node = *of;
    struct cdl_tensor out = {0}, weight = {0};
    float *column = column_of(lanes, values, ctx->rows, lanes->scratch), *weights = NULL;
    if (given) out = *of->out[0], node.out[0] = &out;
    if (of->n_in > 2) {
        weight = *of->in[2], node.in[2] = &weight;
        weights = column_of(lanes, of->in[2]->data, ctx->rows, column + CDL_LINE * ld);
    }
    for (size_t l = 0; l < CDL_LINE; l++, states += program->state_sizes[r]) {
        node.scratch = out.data = column + l * ld;
        if (weights) weight.data = weights + l * ld;
        node.op->report(&node, ctx, states);
    }
}

/* Keys of the step for nodes that draw, by the seeds of each member. */
static void set_keys(struct cdl_member_lanes *lanes, const struct cdl_context *ctx) {
    const struct cdl_program *program = lanes->program;
    struct cdl_context its = *ctx;
    for (size_t l = 0; l < CDL_LINE; l++) {
        const struct cdl_member *member = member_of(lanes, l);
        its.seed = member->epoch.seed;
        cdl_take_seeds(lanes->nodes, lanes->host, member);
        for (int i = 0; i < program->n_nodes; i++) {
            const struct cdl_lanes_op *op = program->nodes[i].op->lanes;
            if (!op->draws) continue;
            const struct cdl_key key = cdl_node_key(&lanes->nodes[i], &its, op->seed);
            lanes->keys[i].a[l] = key.a, lanes->keys[i].b[l] = key.b;
        }
    }
}

static void step(struct cdl_member_lanes *lanes, struct cdl_epoch *epoch, struct cdl_context *ctx) {
    const struct cdl_program *program = lanes->program;
    for (int i = 0; i < program->n_inputs; i++)
        feed(lanes, i, (struct cdl_picked){NULL, epoch->rows, ctx->start}, ctx->rows);
    if (ctx->training && lanes->draws) set_keys(lanes, ctx);
    for (int i = 0; i < program->n_nodes; i++) {
        pass(lanes, i, false, ctx);
        turn_values(lanes, i, ctx->rows);
        if (ctx->training && program->nodes[i].op->role == CDL_LOSS)
            turn_gradients(lanes, i, ctx->rows);
    }
    count_penalties(lanes, ctx, epoch->next == 0);
    if (ctx->training) learn(lanes, ctx);
    double *states = lanes->states;
    for (int r = 0; r < program->n_reports; r++) {
        report(lanes, r, ctx, states);
        states += program->state_sizes[r] * CDL_LINE;
    }
}

/* Settings of the step, with numbers of each member where rates differ. */
static void prepare_step(struct cdl_member_lanes *lanes, const struct cdl_epoch *epoch,
                         struct cdl_step *all) {
    const struct cdl_program *program = lanes->program;
    const float *rate = leader_of(lanes)->epoch.rates;
    bool differ = false;
    cdl_prepare_step(program, epoch, 0, all);
    for (size_t l = 0; l < CDL_LINE; l++) differ |= member_of(lanes, l)->epoch.rates[0] != *rate;
    for (size_t l = 0; l < CDL_LINE && differ; l++) {
        struct cdl_epoch its = *epoch;
        struct cdl_step step = {.rate = 0.0f};
        its.rates = member_of(lanes, l)->epoch.rates;
        cdl_prepare_step(program, &its, 0, &step);
        for (int i = 0; i < program->n_groups; i++) {
            for (size_t d = 0; d < CDL_MAX_DERIVED; d++)
                lanes->derived[i][d * CDL_LINE + l] = step.groups[i].derived[d];
        }
    }
    for (int i = 0; i < program->n_groups && differ; i++) {
        all->groups[i].update = program->kernels->update_lanes[program->groups[i].optimizer];
        all->groups[i].by_lane = lanes->derived[i];
    }
}

/* ---- epochs -------------------------------------------------------------------------------------
 */

/* Batches of an epoch; false if the run is to end before its last. */
static bool run_epoch(struct cdl_member_lanes *lanes, struct cdl_program *program, bool polls) {
    struct cdl_epoch epoch = leader_of(lanes)->epoch;
    struct cdl_context ctx = cdl_context_of(program, &epoch, program->training, 0, 1);
    struct cdl_watch *watch = &program->watch;
    ctx.scratch = lanes->g;
    while (epoch.next * epoch.batch < epoch.rows && !cdl_watch_stopped(watch)) {
        cdl_begin_batch(program, &epoch, &ctx);
        ctx.watch = NULL;
        if (ctx.training) prepare_step(lanes, &epoch, &ctx.optimizer);
        step(lanes, &epoch, &ctx);
        epoch.next++, epoch.iteration += ctx.training;
        if (polls && cdl_watch_tick(watch, INFINITY, false) && cdl_watch_answers(watch, INFINITY))
            cdl_watch_stop(watch);
    }
    for (size_t l = 0; l < CDL_LINE; l++) {
        struct cdl_member *member = lanes->members[l];
        if (member) member->epoch.next = epoch.next, member->epoch.iteration = epoch.iteration;
    }
    return epoch.next * epoch.batch >= epoch.rows;
}

/* Reports of a member's epoch; whether they are finite. */
static bool tell(const struct cdl_member_lanes *lanes, size_t lane) {
    const struct cdl_program *program = lanes->program;
    const struct cdl_member *member = lanes->members[lane];
    const size_t doubles = cdl_found_doubles(program);
    double *found = member->found + member->done * doubles, *to = found;
    const double *states = lanes->states;
    *to++ = lanes->penalty_totals[lane], *to++ = (double)member->epoch.rows;
    for (int r = 0; r < program->n_reports; r++) {
        const size_t n = program->state_sizes[r];
        memcpy(to, states + lane * n, n * sizeof *to);
        states += n * CDL_LINE, to += n;
    }
    return cdl_are_finite(found, doubles);
}

static void end_epoch(struct cdl_member_lanes *lanes) {
    for (size_t l = 0; l < CDL_LINE; l++) {
        struct cdl_member *member = lanes->members[l];
        if (!member) continue;
        const bool is_sound = tell(lanes, l);
        member->epoch.next = 0, member->done += is_sound;
        if (is_sound && member->done < member->epochs) continue;
        if (is_sound) bring_out(lanes, l);
        set_state(member, is_sound ? CDL_ENDED : CDL_LOST);
        lanes->members[l] = NULL;
    }
}

bool cdl_lanes_run(struct cdl_member_lanes *lanes, struct cdl_program *program, double end,
                   bool polls) {
    const size_t doubles = cdl_found_doubles(program) * CDL_LINE;
    while (cdl_lanes_are_in(lanes)) {
        memset(lanes->states, 0, doubles * sizeof *lanes->states);
        memset(lanes->penalty_totals, 0, sizeof lanes->penalty_totals);
        if (!run_epoch(lanes, program, polls)) return false;
        end_epoch(lanes);
        if (cdl_watch_stopped(&program->watch) || cdl_now() >= end) return false;
    }
    return true;
}
