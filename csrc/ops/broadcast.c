/* broadcast.c - a sample repeated along axes where it has size 1 or none, as NumPy broadcasts;
 * backward adds up what was repeated.
 *
 * Axes are aligned at the last one. Lines of y fall into runs that repeat one line of x, which are
 * the trailing axes that x lacks; what is left is walked.
 */
#include "ops/lines.h"

/* The axes of y but the last, as far as they are no part of a run, by lines of x. */
struct runs {
    struct cdl_walk walk;
    size_t lines, n; /* lines in a run; how many runs there are */
    bool straight;   /* run i repeats line i of x */
};

/* Size of x along axis d of y. */
static size_t size_of(const struct cdl_tensor *x, const struct cdl_tensor *y, int d) {
    const int own = d - (y->n_dims - x->n_dims);
    return own < 0 ? 1 : x->dims[own];
}

static const char *check(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    CDL_EXPECT(!cdl_is_int(x), "x: expected floats");
    CDL_EXPECT(x->n_dims <= y->n_dims, "x: expected no more axes than the output");
    for (int d = 0; d < y->n_dims; d++) {
        const size_t n = size_of(x, y, d);
        CDL_EXPECT(n == 1 || n == y->dims[d], "x: expected axes of the output's sizes, or of 1");
    }
    return NULL;
}

static struct runs runs_of(const struct cdl_tensor *x, const struct cdl_tensor *y) {
    struct runs runs = {.lines = 1, .straight = true};
    int last = y->n_dims - 2;
    while (last >= 0 && size_of(x, y, last) == 1) runs.lines *= y->dims[last--];
    size_t lines = 1;
    for (int d = last; d >= 0; d--) {
        const size_t n = size_of(x, y, d);
        runs.walk.size[d] = y->dims[d];
        runs.walk.from[d] = n == 1 ? 0 : lines;
        runs.straight &= n == y->dims[d];
        lines *= n;
    }
    runs.walk.n = last + 1;
    runs.n = y->lines / runs.lines;
    return runs;
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

static void forward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const struct runs runs = runs_of(x, y);
    float *to = cdl_rows(y, first);
    if (runs.straight) {
        repeat(ctx->kernels, x, cdl_rows(x, first), y, to, (last - first) * runs.n, runs.lines);
        return;
    }
    for (size_t i = first; i < last; i++) {
        struct cdl_place place = {0};
        do {
            repeat(ctx->kernels, x, cdl_rows(x, i) + place.from * x->ld, y, to, 1, runs.lines);
            to += runs.lines * y->ld;
        } while (cdl_next_place(&runs.walk, &place));
    }
}

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

static void backward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const struct runs runs = runs_of(x, y);
    const float *dy = cdl_grad_rows(y, first);
    if (runs.straight && x->width == 1) {
        ctx->kernels->reduce_lines(CDL_REDUCTION_sum, (last - first) * runs.n, runs.lines, y->width,
                                   dy, y->ld, cdl_grad_rows(x, first));
        return;
    }
    for (size_t i = first; i < last; i++) {
        float *dx = cdl_grad_rows(x, i);
        memset(dx, 0, x->lines * x->ld * sizeof(float));
        struct cdl_place place = {0};
        do {
            add_run(ctx->kernels, x, y, dy, runs.lines, dx + place.from * x->ld);
            dy += runs.lines * y->ld;
        } while (cdl_next_place(&runs.walk, &place));
    }
}

const struct cdl_op cdl_op_broadcast = {
    .check = check,
    .forward = forward,
    .backward = backward,
    .reads_back = cdl_reads_none,
    .parts = CDL_BY_MICRO_BATCHES,
};
