/* pick.c - along one axis of a sample, elements at places that are known before: slices, flips,
 * rolls, repeats, padding with zeros.
 *
 * The numbers are the axis, then runs of three: start, count, step. A run gives y the elements
 * start, start + step, ... of the axis, or zeros if start is negative. Backward adds up: an element
 * may be picked several times.
 */
#include "ops/lines.h"

enum { RUNS = CDL_AXIS, RUN = 3 }; /* numbers */

struct run {
    ptrdiff_t start, step;
    size_t count;
};
static struct run run_at(const struct cdl_node *node, size_t i) {
    const int64_t *n = node->numbers + i;
    return (struct run){(ptrdiff_t)n[0], (ptrdiff_t)n[2], (size_t)n[1]};
}

/* True if start, count and step are places of an axis of n, or zeros; no sum of them wraps. */
static bool is_run(const int64_t *run, size_t n) {
    enum { START, COUNT, STEP };
    const int64_t most = (int64_t)1 << 50;
    const double last = (double)run[START] + ((double)run[COUNT] - 1.0) * (double)run[STEP];
    if (run[COUNT] < 1 || run[COUNT] > most) return false;
    return run[START] < 0 || ((size_t)run[START] < n && last >= 0.0 && last < (double)n);
}

/* True if columns of lines are picked, and not whole lines. */
static bool columns(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const struct cdl_axis axis = cdl_axis_of(node);
    return axis.inner == 1 && axis.n == x->width && (x->width > 1 || y->width > 1);
}

static const char *check(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    CDL_CHECK(cdl_check_axis(node));
    CDL_EXPECT((node->n_numbers - RUNS) % RUN == 0, "runs: expected start, count, step of each");
    const struct cdl_axis axis = cdl_axis_of(node);
    size_t picked = 0;
    for (size_t i = RUNS; i < node->n_numbers; i += RUN) {
        CDL_EXPECT(is_run(node->numbers + i, axis.n),
                   "runs: expected counts of at least 1, and places below n");
        picked += run_at(node, i).count;
        CDL_EXPECT(picked <= y->lines * y->width, "output: expected an element for each place");
    }
    if (columns(node)) {
        CDL_EXPECT(picked == y->width && x->lines == y->lines,
                   "output: expected the lines of x, and a column for each place");
        return NULL;
    }
    const size_t others = axis.outer * axis.inner, all = y->lines * y->width;
    CDL_EXPECT(y->width == x->width && all % others == 0 && all / others == picked,
               "output: expected lines as wide as those of x, of each place");
    CDL_EXPECT(axis.inner % x->width == 0, "inner: expected whole lines of x");
    return NULL;
}

/* Floats from one element of the axis to the next, where whole lines are picked. */
static size_t unit_of(const struct cdl_node *node) {
    return cdl_axis_of(node).inner / node->in[0]->width * node->in[0]->ld;
}

static void pick_lines(const struct cdl_node *node, size_t blocks, const float *from, float *to) {
    const size_t unit = unit_of(node), block = cdl_axis_of(node).n * unit;
    for (size_t b = 0; b < blocks; b++, from += block) {
        for (size_t i = RUNS; i < node->n_numbers; i += RUN) {
            const struct run run = run_at(node, i);
            if (run.start < 0) {
                memset(to, 0, run.count * unit * sizeof(float));
            } else if (run.step == 1) {
                memcpy(to, from + (size_t)run.start * unit, run.count * unit * sizeof(float));
            } else {
                for (size_t j = 0; j < run.count; j++)
                    memcpy(to + j * unit,
                           from + (size_t)(run.start + (ptrdiff_t)j * run.step) * unit,
                           unit * sizeof(float));
            }
            to += run.count * unit;
        }
    }
}

static void add_lines(const struct cdl_node *node, const struct cdl_kernels *kernels, size_t blocks,
                      const float *dy, float *dx) {
    const size_t unit = unit_of(node), block = cdl_axis_of(node).n * unit;
    for (size_t b = 0; b < blocks; b++, dx += block) {
        for (size_t i = RUNS; i < node->n_numbers; i += RUN) {
            const struct run run = run_at(node, i);
            for (size_t j = 0; j < run.count && run.start >= 0; j++)
                kernels->add(unit, dy + j * unit,
                             dx + (size_t)(run.start + (ptrdiff_t)j * run.step) * unit);
            dy += run.count * unit;
        }
    }
}

static void forward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const float *from = cdl_rows(x, first);
    float *to = cdl_rows(y, first);
    const size_t lines = (last - first) * y->lines;
    if (!columns(node)) {
        pick_lines(node, (last - first) * cdl_axis_of(node).outer, from, to);
        return;
    }
    for (size_t i = RUNS; i < node->n_numbers; i += RUN) {
        const struct run run = run_at(node, i);
        if (run.start >= 0)
            ctx->kernels->pick_columns(lines, run.count, run.step, from + run.start, x->ld, to,
                                       y->ld);
        for (size_t l = 0; l < lines && run.start < 0; l++)
            memset(to + l * y->ld, 0, run.count * sizeof(float));
        to += run.count;
    }
    cdl_clear_pads(y, cdl_rows(y, first), lines);
}

static void backward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0], *y = node->out[0];
    const float *dy = cdl_grad_rows(y, first);
    float *dx = cdl_grad_rows(x, first);
    const size_t lines = (last - first) * x->lines;
    if (!node->adds) memset(dx, 0, lines * x->ld * sizeof(float));
    if (!columns(node)) {
        add_lines(node, ctx->kernels, (last - first) * cdl_axis_of(node).outer, dy, dx);
        return;
    }
    for (size_t i = RUNS; i < node->n_numbers; i += RUN) {
        const struct run run = run_at(node, i);
        if (run.start >= 0)
            ctx->kernels->add_columns(lines, run.count, run.step, dy, y->ld, dx + run.start, x->ld);
        dy += run.count;
    }
}

const struct cdl_op cdl_op_pick = {
    .role = CDL_PICK,
    .check = check,
    .forward = forward,
    .backward = backward,
    .reads_back = cdl_reads_none,
    .parts = CDL_BY_MICRO_BATCHES,
};
