/* broadcast.c - a sample repeated along axes where it has size 1 or none, as NumPy broadcasts;
 * backward adds up what was repeated.
 *
 * Axes are aligned at the last one. Lines of y fall into runs that repeat one line of x, which are
 * the trailing axes that x lacks; what is left is walked.
 */
#include "ops/lines.h"

/* The axes of y but the last, as far as they are no part of a run. */
struct walk {
    int n;
    size_t size[CDL_MAX_DIMS], step[CDL_MAX_DIMS]; /* step: lines of x */
    size_t run, runs;                              /* lines in one; how many there are */
    bool straight;                                 /* run i repeats line i of x */
};

/* Size of x along axis d of y. */
static size_t size_of(const struct cdl_tensor *x, const struct cdl_tensor *y, int d) {
    const int own = d - (y->n_dims - x->n_dims);
    return own < 0 ? 1 : x->dims[own];
}

static const char *check(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    CDL_EXPECT(!x->is_int, "x: expected floats");
    CDL_EXPECT(x->n_dims <= y->n_dims, "x: expected no more axes than the output");
    for (int d = 0; d < y->n_dims; d++) {
        const size_t n = size_of(x, y, d);
        CDL_EXPECT(n == 1 || n == y->dims[d], "x: expected axes of the output's sizes, or of 1");
    }
    return NULL;
}

static struct walk walk_of(const struct cdl_tensor *x, const struct cdl_tensor *y) {
    struct walk walk = {.run = 1, .straight = true};
    int last = y->n_dims - 2;
    while (last >= 0 && size_of(x, y, last) == 1) walk.run *= y->dims[last--];
    size_t lines = 1;
    for (int d = last; d >= 0; d--) {
        const size_t n = size_of(x, y, d);
        walk.size[d] = y->dims[d];
        walk.step[d] = n == 1 ? 0 : lines;
        walk.straight &= n == y->dims[d];
        lines *= n;
    }
    walk.n = last + 1;
    walk.runs = y->lines / walk.run;
    return walk;
}

/* The line of x that the next run repeats. */
static size_t next_line(const struct walk *walk, size_t at[CDL_MAX_DIMS], size_t line) {
    for (int d = walk->n - 1; d >= 0; d--) {
        line += walk->step[d];
        if (++at[d] < walk->size[d]) break;
        line -= walk->size[d] * walk->step[d];
        at[d] = 0;
    }
    return line;
}

static void repeat(const struct cdl_kernels *kernels, const struct cdl_tensor *x, const float *from,
                   const struct cdl_tensor *y, float *to, size_t count, size_t run) {
    if (x->width == 1 && y->width > 1) {
        kernels->fill_lines(count, run, y->width, from, to, y->ld);
        return;
    }
    for (size_t i = 0; i < count; i++, from += x->ld) {
        for (size_t l = 0; l < run; l++, to += y->ld)
            memcpy(to, from, cdl_padded(y->width) * sizeof(float));
    }
}

static void forward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                    size_t last) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const struct walk walk = walk_of(x, y);
    float *to = cdl_rows(y, first);
    if (walk.straight) {
        repeat(ctx->kernels, x, cdl_rows(x, first), y, to, (last - first) * walk.runs, walk.run);
        return;
    }
    for (size_t i = first; i < last; i++) {
        size_t at[CDL_MAX_DIMS] = {0}, line = 0;
        for (size_t r = 0; r < walk.runs; r++, to += walk.run * y->ld) {
            repeat(ctx->kernels, x, cdl_rows(x, i) + line * x->ld, y, to, 1, walk.run);
            line = next_line(&walk, at, line);
        }
    }
}

/* The lines of one run of dy, added up. */
static void add_run(const struct cdl_kernels *kernels, const struct cdl_tensor *x,
                    const struct cdl_tensor *y, const float *dy, size_t run, float *dx) {
    if (x->width == y->width) {
        for (size_t l = 0; l < run; l++) kernels->add(cdl_padded(x->width), dy + l * y->ld, dx);
        return;
    }
    float sum;
    kernels->reduce_lines(CDL_REDUCTION_sum, 1, run, y->width, dy, y->ld, &sum);
    *dx += sum;
}

static void backward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                     size_t last) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    if (!node->needs[0]) return;
    const struct walk walk = walk_of(x, y);
    const float *dy = cdl_grad_rows(y, first);
    if (walk.straight && x->width == 1) {
        ctx->kernels->reduce_lines(CDL_REDUCTION_sum, (last - first) * walk.runs, walk.run,
                                   y->width, dy, y->ld, cdl_grad_rows(x, first));
        return;
    }
    for (size_t i = first; i < last; i++) {
        float *dx = cdl_grad_rows(x, i);
        memset(dx, 0, x->lines * x->ld * sizeof(float));
        size_t at[CDL_MAX_DIMS] = {0}, line = 0;
        for (size_t r = 0; r < walk.runs; r++, dy += walk.run * y->ld) {
            add_run(ctx->kernels, x, y, dy, walk.run, dx + line * x->ld);
            line = next_line(&walk, at, line);
        }
    }
}

const struct cdl_op cdl_op_broadcast = {
    .check = check,
    .forward = forward,
    .backward = backward,
};
