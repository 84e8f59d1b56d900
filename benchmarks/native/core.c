/* core.c - the core's operations and kernels, called one by one so that they can be timed.
 *
 * A product is what `dense` does with it: forward (x W), backward (dy W^T), or update (x^T dy)
 * with an optimizer that takes the gradient and changes nothing. A kernel is called on buffers
 * that stay in the L1 cache. Handles are opened and closed; runs allocate nothing.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/threads.h"
#include "cdl.h"
#include "isa/isa.h"
#include "ops/op.h"

/* ---- products ---------------------------------------------------------------------------------
 */

enum product_kind { FORWARD, BACKWARD, UPDATE };

struct product {
    enum product_kind kind;
    size_t repeats;
    struct cdl_tensor x, y;
    struct cdl_node node;
    struct cdl_trained trained;
    struct cdl_context ctx;
    float *scratch;
    double sum; /* of the product's elements, pads included: those are zero */
};

static struct product *counting; /* whom collect() works for; one product runs at a time */

static void collect(size_t n, float *w, const float *g, float *const *slots, const float *s) {
    (void)w, (void)slots, (void)s;
    for (size_t i = 0; i < n; i++) counting->sum += g[i];
}

static void ignore(size_t n, float *w, const float *g, float *const *slots, const float *s) {
    (void)n, (void)w, (void)g, (void)slots, (void)s;
}

static struct cdl_tensor tensor(size_t rows, size_t width) {
    struct cdl_tensor made = {.n_dims = 1, .dims = {width}, .lines = 1, .width = width};
    made.ld = made.row_floats = cdl_stride(width);
    made.data = cdl_alloc(rows * made.ld + CDL_LINE);
    made.grad = cdl_alloc(rows * made.ld + CDL_LINE);
    return made;
}

static void fill(size_t rows, const struct cdl_tensor *t, const float *from, float *to) {
    for (size_t r = 0; r < rows; r++) memcpy(to + r * t->ld, from + r * t->width, 4 * t->width);
}

void *product_open(const char *isa, int kind, size_t m, size_t k, size_t n, const float *x,
                   const float *w, const float *dy) {
    const struct cdl_kernels *kernels = cdl_isa_choose(isa);
    struct product *made = calloc(1, sizeof *made);
    if (!kernels || !made) return NULL;
    made->kind = (enum product_kind)kind;
    made->x = tensor(m, k), made->y = tensor(m, n);
    fill(m, &made->x, x, made->x.data);
    fill(m, &made->y, dy, made->y.grad);
    struct cdl_node *node = &made->node;
    node->op = &cdl_op_dense;
    node->in[0] = &made->x, node->out[0] = &made->y;
    node->n_in = node->n_out = 1;
    cdl_param_create(k, n, true, &node->param[0]);
    cdl_param_set(node->param[0], w);
    node->needs[0] = made->kind == BACKWARD;
    node->dx_activation = CDL_ACTIVATION_linear;
    made->trained.param = node->param[0];
    if (made->kind == UPDATE) node->trained[0] = &made->trained;
    const size_t backward = cdl_op_dense.thread_floats(node, m, true);
    made->scratch = cdl_alloc(backward > CDL_THREAD_SCRATCH ? backward : CDL_THREAD_SCRATCH);
    /* `joined` decides which path the backward product takes. */
    made->ctx = (struct cdl_context){.kernels = kernels,
                                     .training = true,
                                     .rows = m,
                                     .batch = m,
                                     .joined = m,
                                     .unit = CDL_ROW_BLOCK,
                                     .threads = 1,
                                     .scratch = made->scratch};
    made->ctx.optimizer.groups[0].update = ignore;
    made->ctx.optimizer.apply = true;
    return made;
}

static void run_product(void *arg, struct cdl_team *team, int thread) {
    struct product *product = arg;
    const struct cdl_node *node = &product->node;
    const struct cdl_context *ctx = &product->ctx;
    const struct cdl_sink to = {0};
    (void)team, (void)thread;
    for (size_t r = 0; r < product->repeats; r++) {
        if (product->kind == FORWARD) node->op->forward->run(node, ctx, 0, ctx->rows);
        if (product->kind == BACKWARD) node->op->backward->run(node, ctx, 0, ctx->rows);
        if (product->kind == UPDATE)
            node->op->update(node, ctx, (struct cdl_rows){0, ctx->rows, ctx->rows}, &to);
    }
}

void product_run(void *handle, size_t repeats) {
    struct product *product = handle;
    product->repeats = repeats;
    cdl_region(1, run_product, product);
}

/* The sum of all elements of the product, to be compared with another library's. */
double product_sum(void *handle) {
    struct product *product = handle;
    product->sum = 0.0;
    counting = product;
    product->ctx.optimizer.groups[0].update = collect;
    product_run(product, 1);
    product->ctx.optimizer.groups[0].update = ignore;
    const struct cdl_tensor *t = product->kind == FORWARD ? &product->y : &product->x;
    const float *values = product->kind == FORWARD ? t->data : t->grad;
    for (size_t r = 0; product->kind != UPDATE && r < product->ctx.rows; r++) {
        for (size_t j = 0; j < t->width; j++) product->sum += values[r * t->ld + j];
    }
    return product->sum;
}

void product_close(void *handle) {
    struct product *product = handle;
    cdl_free(product->scratch);
    cdl_free(product->x.data), cdl_free(product->x.grad);
    cdl_free(product->y.data), cdl_free(product->y.grad);
    cdl_param_destroy(product->node.param[0]);
    free(product);
}

/* ---- kernels ----------------------------------------------------------------------------------
 */

enum { MAX_BUFFERS = 6 };

struct kernel {
    const struct cdl_kernels *kernels;
    char table[16];
    int row;
    size_t rows, n, ld, repeats;
    float *buffer[MAX_BUFFERS]; /* the first: normal numbers; the second: targets; then results */
    float *value;
    float params[CDL_MAX_DERIVED];
};

static int row_named(const char *table, const char *name) {
    struct cdl_row row;
    for (int i = 0; cdl_table_row(table, i, &row); i++) {
        if (strcmp(row.name, name) == 0) return i;
    }
    return -1;
}

/* table: activations, slopes, losses, metrics, optimizers, softmax, softmax_slope. The buffers
 * hold rows of n floats, given row-major: x, and t, which are targets or gradients. */
void *kernel_open(const char *isa, const char *table, const char *name, size_t rows, size_t n,
                  const float *x, const float *t, const float *params) {
    const struct cdl_kernels *kernels = cdl_isa_choose(isa);
    const int row = row_named(strcmp(table, "gradients") == 0 ? "activations" : table, name);
    if (!kernels || (row < 0 && strncmp(table, "softmax", 7) != 0)) return NULL;
    struct kernel *made = calloc(1, sizeof *made);
    *made = (struct kernel){.kernels = kernels, .row = row, .rows = rows, .n = n};
    made->ld = cdl_padded(n);
    strncpy(made->table, table, sizeof made->table - 1);
    memcpy(made->params, params, sizeof made->params);
    for (int i = 0; i < MAX_BUFFERS; i++) made->buffer[i] = cdl_alloc(rows * made->ld + CDL_LINE);
    made->value = cdl_alloc(rows);
    for (size_t r = 0; r < rows; r++) {
        memcpy(made->buffer[0] + r * made->ld, x + r * n, n * sizeof *x);
        memcpy(made->buffer[1] + r * made->ld, t + r * n, n * sizeof *t);
    }
    return made;
}

static void run_once(struct kernel *k) {
    const struct cdl_kernels *kernels = k->kernels;
    float *x = k->buffer[0], *t = k->buffer[1], *y = k->buffer[2], *q = k->buffer[3];
    const struct cdl_scoring scoring = {.rows = k->rows,
                                        .n = k->n,
                                        .y = x,
                                        .ldy = k->ld,
                                        .t = t,
                                        .ldt = k->ld,
                                        .lines = 1,
                                        .scale = 1.0f,
                                        .dy = y,
                                        .q = q,
                                        .value = k->value,
                                        .p = k->params};
    const struct cdl_matrix values = {x, k->ld}, of_y = {t, k->ld};
    if (strcmp(k->table, "activations") == 0) {
        kernels->activation[k->row](k->rows, k->n, x, k->ld, y, k->ld, k->params);
    } else if (strcmp(k->table, "gradients") == 0) {
        kernels->activation_gradient[k->row](k->rows, k->n, values, values, of_y,
                                             (struct cdl_output){y, k->ld}, k->params);
    } else if (strcmp(k->table, "losses") == 0) {
        kernels->loss[k->row](&scoring);
    } else if (strcmp(k->table, "metrics") == 0) {
        kernels->metric[k->row](&scoring);
    } else if (strcmp(k->table, "optimizers") == 0) {
        kernels->update[k->row](k->rows * k->ld, y, x, k->buffer + 3, k->params);
    } else if (strcmp(k->table, "softmax") == 0) {
        kernels->rowwise[CDL_ROWWISE_softmax](k->rows, k->n, x, k->ld, y, k->ld, k->params);
    } else if (strcmp(k->table, "softmax_gradient") == 0) {
        kernels->rowwise_gradient[CDL_ROWWISE_softmax](k->rows, k->n, values, values, of_y,
                                                       (struct cdl_output){y, k->ld}, k->params);
    }
}

static void run_kernel(void *arg, struct cdl_team *team, int thread) {
    struct kernel *kernel = arg;
    (void)team, (void)thread;
    for (size_t r = 0; r < kernel->repeats; r++) run_once(kernel);
}

void kernel_run(void *handle, size_t repeats) {
    struct kernel *kernel = handle;
    kernel->repeats = repeats;
    cdl_region(1, run_kernel, kernel);
}

void kernel_close(void *handle) {
    struct kernel *kernel = handle;
    for (int i = 0; i < MAX_BUFFERS; i++) cdl_free(kernel->buffer[i]);
    cdl_free(kernel->value);
    free(kernel);
}
