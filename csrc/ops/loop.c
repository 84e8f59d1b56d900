/* loop.c - a part of the program that runs a number of times, from iteration to iteration for a
 * thread's samples: no barrier stands within. What enters and leaves it are the other ops of this
 * file.
 *
 * The nodes of the body follow the loop's own in the program, whose runner skips them. Their values
 * have memory for one iteration or, where a gradient needs them, for all of them, one iteration
 * behind the other, as many samples as the batch has. A thread works on copies of the nodes and of
 * their values, which it moves on from iteration to iteration. Gradients of weights are made behind
 * the last iteration backward: by lines of many iterations at once where an op can, else iteration
 * by iteration, into a sum.
 *
 * What an iteration leaves for the next, `last`, is a value of around the loop too: that of the
 * last iteration is what the program goes on with. Backward its gradient comes from there, then
 * from `carried`.
 */
#include "learn/learn.h"
#include "ops/lines.h"
#include "ops/loop.h"

/* ---- the loop -------------------------------------------------------------------------------- */

static const char *check_loop(const struct cdl_node *node) {
    const size_t most = SIZE_MAX / 2;
    CDL_EXPECT(cdl_iterations_of(node) - 1 < most, "iterations: expected at least 1");
    CDL_EXPECT(cdl_draws_of(node) < most, "draws: expected at least 0");
    CDL_EXPECT(cdl_body_of(node) - 1 < most, "body: expected at least 1 instruction");
    return NULL;
}

/* Floats from an iteration to the next, of a value and of its gradient. */
struct stride {
    size_t data, grad;
};

/* A thread's own copies of the body's nodes and values, as they are in one iteration. */
struct view {
    size_t n, values;
    struct cdl_node *nodes;
    struct cdl_tensor *of;
    struct stride *strides;
    float *scratch; /* what is left of the thread's */
};

static size_t view_floats(const struct cdl_node *loop) {
    const size_t bytes = cdl_body_of(loop) * sizeof(struct cdl_node) +
                         (size_t)loop->views * (sizeof(struct cdl_tensor) + sizeof(struct stride));
    return cdl_round_up(bytes / sizeof(float) + 1, CDL_LINE);
}

static size_t thread_floats(const struct cdl_node *loop, size_t rows, bool training) {
    size_t most = training ? CDL_THREAD_SCRATCH : 0;
    for (size_t i = 1; i <= cdl_body_of(loop); i++) {
        const struct cdl_node *node = &loop[i];
        if (!node->op->thread_floats) continue;
        most = cdl_max(most, node->op->thread_floats(node, rows, training));
        if (!cdl_learns_at_once(node)) continue;
        /* Batches may have fewer samples, and more iterations at once. */
        const size_t lines = cdl_max(rows, cdl_iterations_at_once(node, 1));
        most = cdl_max(most, node->op->thread_floats(node, lines, training));
    }
    return view_floats(loop) + most;
}

static struct stride stride_of(const struct cdl_tensor *value, size_t rows) {
    const bool kept = value->owner->slices > 1, grad_kept = value->grad_owner->grad_slices > 1;
    return (struct stride){kept ? rows * value->row_floats : 0,
                           grad_kept ? rows * value->row_floats : 0};
}

/* View of iteration 0, in a thread's scratch. */
static struct view view_of(const struct cdl_node *loop, const struct cdl_context *ctx) {
    struct view view = {.n = cdl_body_of(loop), .values = (size_t)loop->views};
    view.nodes = (void *)ctx->scratch;
    view.of = (void *)(view.nodes + view.n);
    view.strides = (void *)(view.of + view.values);
    view.scratch = ctx->scratch + view_floats(loop);
    memcpy(view.nodes, loop + 1, view.n * sizeof *view.nodes);
    for (size_t i = 0; i < view.n; i++) {
        struct cdl_node *node = &view.nodes[i];
        for (int o = 0; o < node->n_out; o++) {
            const struct cdl_tensor *value = node->out[o];
            if (!value->view) continue;
            node->out[o] = &view.of[value->view - 1];
            *node->out[o] = *value;
            view.strides[value->view - 1] = stride_of(value, ctx->rows);
        }
    }
    for (size_t i = 0; i < view.n; i++) {
        struct cdl_node *node = &view.nodes[i];
        for (int k = 0; k < node->n_in; k++) {
            if (node->in[k]->view) node->in[k] = &view.of[node->in[k]->view - 1];
        }
    }
    return view;
}

/* Some iterations on, or back. */
static void move(struct view *view, ptrdiff_t iterations) {
    for (size_t v = 0; v < view->values; v++) {
        struct cdl_tensor *value = &view->of[v];
        value->data += iterations * (ptrdiff_t)view->strides[v].data;
        if (value->grad) value->grad += iterations * (ptrdiff_t)view->strides[v].grad;
    }
    for (size_t i = 0; i < view->n; i++) {
        struct cdl_node *node = &view->nodes[i];
        if (node->scratch) node->scratch += iterations * (ptrdiff_t)node->scratch_slice;
    }
}

static struct cdl_context within(const struct cdl_node *loop, const struct cdl_context *ctx,
                                 const struct view *view) {
    struct cdl_context inner = *ctx;
    inner.scratch = view->scratch;
    inner.iterations = cdl_iterations_of(loop);
    return inner;
}

static void at_iteration(struct cdl_context *ctx, const struct cdl_node *loop, size_t iteration) {
    ctx->iteration = iteration;
    ctx->drawn = iteration * cdl_draws_of(loop);
}

/* Between iterations, each of which may take a microsecond. */
static bool stopped(const struct cdl_context *ctx, size_t iteration) {
    return iteration % 16 == 0 && cdl_stopped(ctx);
}

static void run_forward(const struct cdl_node *loop, const struct cdl_context *ctx, size_t first,
                        size_t last) {
    struct view view = view_of(loop, ctx);
    struct cdl_context inner = within(loop, ctx, &view);
    for (size_t iteration = 0; iteration < inner.iterations && !stopped(ctx, iteration);
         iteration++) {
        if (iteration) move(&view, 1);
        at_iteration(&inner, loop, iteration);
        for (size_t i = 0; i < view.n; i++) {
            const struct cdl_node *node = &view.nodes[i];
            if (node->op->forward->run) node->op->forward->run(node, &inner, first, last);
        }
    }
}

static void run_backward(const struct cdl_node *loop, const struct cdl_context *ctx, size_t first,
                         size_t last) {
    struct view view = view_of(loop, ctx);
    struct cdl_context inner = within(loop, ctx, &view);
    move(&view, (ptrdiff_t)inner.iterations - 1);
    for (size_t iteration = inner.iterations; iteration-- > 0 && !stopped(ctx, iteration);) {
        at_iteration(&inner, loop, iteration);
        for (size_t i = view.n; i-- > 0;) {
            const struct cdl_node *node = &view.nodes[i];
            if (node->goes_back && !node->shared)
                node->op->backward->run(node, &inner, first, last);
        }
        if (iteration) move(&view, -1);
    }
}

/* One thread adds up what all have of the gradients of what samples share. */
static void join_shared(const struct cdl_node *loop, const struct cdl_context *ctx, size_t first,
                        size_t last) {
    struct view view = view_of(loop, ctx);
    struct cdl_context inner = within(loop, ctx, &view);
    inner.thread = 0;
    inner.threads = 1;
    inner.iteration = inner.iterations - 1;
    for (size_t i = view.n; i-- > 0;) {
        const struct cdl_node *node = &view.nodes[i];
        const struct cdl_phase *phase = &node->op->backward[cdl_adds_iterations(node)];
        const bool shares = cdl_passes_shared(node) || cdl_adds_iterations(node);
        if (node->goes_back && shares) phase->run(node, &inner, 0, node->shared);
    }
}

/* A node's parameters learn from all iterations: the lines of some at once, or one iteration after
 * the other, into a sum if there are more. */
static void learn(struct view *view, size_t i, struct cdl_context *ctx) {
    const struct cdl_node *node = &view->nodes[i];
    const size_t most = cdl_iterations_at_once(node, ctx->rows);
    ctx->iteration = 0;
    while (ctx->iteration < ctx->iterations && !cdl_stopped(ctx)) {
        const size_t n = cdl_min(most, ctx->iterations - ctx->iteration);
        const struct cdl_rows rows = {.n = n * ctx->rows, .most = most * ctx->rows};
        const struct cdl_sink to = {.adds = ctx->iteration > 0,
                                    .leaves = ctx->iteration + n < ctx->iterations};
        node->op->update(node, ctx, rows, &to);
        move(view, (ptrdiff_t)n);
        ctx->iteration += n;
    }
    move(view, -(ptrdiff_t)ctx->iteration);
}

/* Gradients of weights from whole batches, all iterations at once. */
static void update(const struct cdl_node *loop, const struct cdl_context *ctx, struct cdl_rows rows,
                   const struct cdl_sink *to) {
    struct view view = view_of(loop, ctx);
    struct cdl_context inner = within(loop, ctx, &view);
    for (size_t i = view.n; i-- > 0;) {
        if (view.nodes[i].learns) learn(&view, i, &inner);
    }
}

const struct cdl_op cdl_op_loop = {
    .role = CDL_LOOP,
    .check = check_loop,
    .thread_floats = thread_floats,
    .forward = run_forward,
    .backward = {{run_backward}, {join_shared, CDL_ONCE}},
    .mixes = true,
    .update = update,
    .all_inputs = true,
};

/* ---- what enters and leaves it --------------------------------------------------------------- */

enum { FIRST, LAST }; /* inputs of carried; link adds the second */

static void copy(const struct cdl_tensor *like, size_t first, size_t last, const float *from,
                 float *to) {
    const size_t at = first * like->row_floats;
    memcpy(to + at, from + at, (last - first) * like->lines * like->ld * sizeof(float));
}

static void carried_forward(CDL_PASS) {
    copy(node->out[0], first, last, node->in[ctx->iteration ? LAST : FIRST]->data,
         node->out[0]->data);
}

static void carried_backward(CDL_PASS) {
    const int from = ctx->iteration ? LAST : FIRST;
    if (node->needs[from])
        copy(node->out[0], first, last, node->out[0]->grad, node->in[from]->grad);
}

/* The gradient is 0 where neither the next iteration nor the rest of the program gives one. */
static void carry_backward(CDL_PASS) {
    const struct cdl_tensor *left = node->out[0];
    const size_t floats = (last - first) * left->row_floats;
    if (node->begins_at_zero && ctx->iteration + 1 == ctx->iterations)
        memset(cdl_grad_rows(left, first), 0, floats * sizeof(float));
    copy(node->in[0], first, last, left->grad, node->in[0]->grad);
    if (!node->is_carried_back) memset(cdl_grad_rows(left, first), 0, floats * sizeof(float));
}

/* x[iteration] of each sample, or y[iteration]: one element of what all iterations read or give. */
static const char *check_element(const struct cdl_node *node) {
    const bool collects = node->op == &cdl_op_collect;
    const struct cdl_tensor *all = collects ? node->out[0] : node->in[0];
    const struct cdl_tensor *one = collects ? node->in[0] : node->out[0];
    CDL_EXPECT(all->n_dims == one->n_dims + 1 && cdl_is_int(all) == cdl_is_int(one),
               "expected an element, and as many as there are iterations");
    for (int d = 0; d < one->n_dims; d++)
        CDL_EXPECT(all->dims[d + 1] == one->dims[d], "expected elements of one shape");
    return NULL;
}

/* Memory of element ctx->iteration in what all iterations read or give, for a node's sample 0. */
static size_t place_of(const struct cdl_node *node, const struct cdl_context *ctx,
                       const struct cdl_tensor *one) {
    const bool reverse = cdl_is_reverse(node);
    return (reverse ? ctx->iterations - 1 - ctx->iteration : ctx->iteration) * one->row_floats;
}

static void get(CDL_PASS, const struct cdl_tensor *one, const struct cdl_tensor *all,
                const float *from, float *to) {
    const size_t each = one->row_floats, place = place_of(node, ctx, one);
    for (size_t i = first; i < last; i++)
        memcpy(to + i * each, from + i * all->row_floats + place, each * sizeof(float));
}

/* Numbers are elements side by side in a line, whose pads nobody else writes. */
static void put(CDL_PASS, const struct cdl_tensor *one, const struct cdl_tensor *all,
                const float *from, float *to) {
    const size_t each = one->row_floats, step = all->row_floats, place = place_of(node, ctx, one);
    for (size_t i = first; i < last; i++)
        memcpy(to + i * step + place, from + i * each, each * sizeof(float));
    if (ctx->iteration == 0 && one->n_dims == 0 && !cdl_is_int(all))
        cdl_clear_pads(all, to + first * step, last - first);
}

static void element_forward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    get(node, ctx, first, last, y, x, x->data, y->data);
}

static void element_backward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    put(node, ctx, first, last, y, x, y->grad, x->grad);
}

static void collect_forward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    put(node, ctx, first, last, x, y, x->data, y->data);
}

static void collect_backward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    get(node, ctx, first, last, x, y, y->grad, x->grad);
}

static void captured_backward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    if (ctx->iteration + 1 == ctx->iterations)
        copy(x, first, last, y->grad, x->grad);
    else
        ctx->kernels->add((last - first) * x->lines * x->ld, cdl_grad_rows(y, first),
                          cdl_grad_rows(x, first));
}

const struct cdl_op cdl_op_carried = {
    .role = CDL_CARRIED,
    .check = cdl_check_same,
    .forward = carried_forward,
    .backward = carried_backward,
    .reads_back = cdl_reads_none,
    .all_inputs = true,
};

const struct cdl_op cdl_op_carry = {
    .role = CDL_CARRY,
    .check = cdl_check_same,
    .forward = cdl_copy_values,
    .backward = carry_backward,
    .reads_back = cdl_reads_none,
};

const struct cdl_op cdl_op_element = {
    .role = CDL_ELEMENT,
    .check = check_element,
    .forward = element_forward,
    .backward = element_backward,
    .reads_back = cdl_reads_none,
};

const struct cdl_op cdl_op_collect = {
    .role = CDL_COLLECT,
    .check = check_element,
    .forward = collect_forward,
    .backward = collect_backward,
    .reads_back = cdl_reads_none,
};

const struct cdl_op cdl_op_captured = {
    .role = CDL_CAPTURED,
    .check = cdl_check_copy,
    .backward = captured_backward,
    .reads_back = cdl_reads_none,
    .passes_on = true,
};
