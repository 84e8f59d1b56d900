/* op.h - what an operation is: a row of functions, and the node that they work on.
 *
 * An op's file ends in its `const struct cdl_op`; ops.def lists it. check() runs while the program
 * is built and is the only one that may fail: it says what it expected instead. forward() and
 * backward() work on the samples [first, last) of the batch and touch no other, so that threads
 * split rows; update() takes the share of one thread in the node's parameters, after all rows of
 * all nodes are done.
 *
 * An op that needs sums over the whole batch (normalization) has several stages in training (some
 * in evaluation too, none in prediction): all threads finish one before any begins the next. It
 * sums blocks of CDL_ROW_BLOCK samples, which no two threads share, and adds the blocks up in
 * order: the same bits for any number of threads.
 *
 * A node that reads and gives only shared values sees a batch of one sample, [0, 1), and runs on
 * one thread. Ops that say `mixes` may have values of both kinds; their functions are called even
 * for no samples, so that a thread that has none can take its part of what all have made
 * (products/blocks.h).
 *
 * Words, the same in all of csrc/:
 *   fork      hands a value to two users and adds their gradients (dataflow compilers' word)
 *   sample    one element of the batch axis; row: its place in an array
 *   line      a vector along the last axis of a sample, `width` numbers, padded to `ld`
 *   value     a tensor of the program; node: an operation with its values and weights
 *   shared    without a batch axis: one value for all samples
 *   producer  the node whose output a value is; users: the nodes that read it
 *   gradient  of the loss by a value; external if the caller gives it
 *   panel     a block of a matrix in the order in which the micro-kernel reads it
 *   stage     a part of a pass at whose end all threads wait for each other
 */
#ifndef CDL_OPS_OP_H
#define CDL_OPS_OP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/memory.h"
#include "base/param.h"
#include "base/status.h"
#include "kernels/kernels.h"
#include "learn/context.h"
#include "ops/fault.h"
#include "ops/host.h"

enum {
    CDL_MAX_DIMS = 8,
    CDL_MAX_INPUTS = 8,
    CDL_MAX_OUTPUTS = 2,
    CDL_MAX_PARAMS = 7,
    CDL_MAX_ATTRIBUTES = 8
};
enum { CDL_OUTPUT = -1 };

/* A batch of one value: per sample `lines` rows of `width` floats, `ld` apart (cdl_stride). A
 * shared value (a weight, a sum over the batch) has no batch axis: all samples see its one row. */
struct cdl_tensor {
    int n_dims;
    size_t dims[CDL_MAX_DIMS]; /* per sample, outermost first */
    size_t lines, width, ld;   /* ld: numbers, of two bytes if it is of bfloat16, else of four */
    size_t row_floats;         /* from a sample to the next: lines * ld, or 0 if it is shared */
    bool shared;
    bool rounded;         /* floats that are all numbers of bfloat16 */
    enum cdl_dtype dtype; /* int32: one a line, lines contiguous, class numbers; bfloat16: two
                             bytes each, rows padded to CDL_BF16_LINE; else floats, which
                             of float16 hold numbers that it has */
    bool uncached;        /* the caller's memory: no cache has it yet, and a line has no pads */
    const struct cdl_tensor *owner; /* of `data`: itself, or what its producer passes on */
    float *data;                    /* the pads hold finite numbers */
    float *grad; /* of the loss by the value; NULL if nobody needs it; the pads hold 0 */
    const struct cdl_tensor *grad_owner; /* of `grad`: itself, or what a fork adds it to, or where a
                                            cast reads it */
    const struct cdl_node *grad_writer;  /* the first that writes it, backward, or NULL */
    struct cdl_node *producer;           /* whose output it is; NULL: it is the caller's */
    int users;                           /* how often nodes read it */
    bool external_grad;                  /* its gradient is external */
    struct cdl_fault *fault;             /* of an input of whole numbers that no float holds */
    bool whole; /* of a batch in micro-batches it has all samples, the first at `base` */
    float *base;
    bool grad_possible,
        needed; /* some reader could give it a gradient; one does, since it is wanted */
    /* Of an owner within a loop: iterations whose values, or gradients, all are kept; else 1. */
    size_t slices, grad_slices;
    int view; /* of a value within a loop: its number there, from 1; else 0 */
};

struct cdl_node {
    const struct cdl_op *op;
    int index; /* in the program; part of a random key */
    struct cdl_tensor *in[CDL_MAX_INPUTS];
    struct cdl_tensor *out[CDL_MAX_OUTPUTS];
    int n_in, n_out;
    struct cdl_param *param[CDL_MAX_PARAMS];
    struct cdl_trained *trained[CDL_MAX_PARAMS];
    const int64_t *numbers; /* n_numbers, in the order of the signature (ops.def) */
    size_t n_numbers;
    float attribute[CDL_MAX_ATTRIBUTES]; /* in the order of the signature */
    const double *data;                  /* n_data: what the signature names last, of any length */
    size_t n_data;
    float row_param[CDL_MAX_ROW_PARAMS]; /* of the table row that the op names */
    bool waits_forward, waits_backward;  /* all threads wait behind it: what it gives is shared */
    bool has_dy;                         /* something gives an output a gradient */
    bool shared;                /* all that it reads and gives is shared: one thread runs it */
    bool once;                  /* shared, and no sample changes it: runs once a prediction */
    bool needs[CDL_MAX_INPUTS]; /* in[k]->grad is wanted, and there is one to give */
    bool narrow;            /* some of what it reads and gives is of bfloat16, which op narrows */
    bool goes_back, learns; /* backward() and update() have something to do */
    bool adds;              /* backward() adds to in[0]->grad, which has been written before */
    int dx_activation;      /* its producer's activation, whose gradient goes into dx; or linear */
    const float *dx_row_param;
    bool dy_is_dz; /* the reader of its output has already applied the activation's gradient */
    bool low;      /* factors are numbers of bfloat16: products are, too, by tiles */
    size_t thread_floats; /* that its functions may use of a thread's scratch */
    size_t piece;         /* samples between two looks at the watch: a multiple of CDL_ROW_BLOCK */
    float *scratch;
    const struct cdl_node *loop; /* that runs it, or NULL: the program does */
    size_t iterations;           /* how often it runs a batch: 1 outside of loops */
    size_t scratch_slice;        /* floats of scratch from an iteration to the next, or 0 */
    int views;                   /* of a loop: values within */
    /* carry: nothing behind the loop gives what is left a gradient; the iteration behind does. */
    bool begins_at_zero, is_carried_back;
    void *code;              /* code_bytes() of its op, or NULL */
    struct cdl_host *host;   /* a function of the caller's, or NULL */
    struct cdl_fault *fault; /* of an op that may find one in its inputs, or NULL */
};

/* Samples, or pieces, [first, last) of a node. */
typedef void cdl_pass_fn(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                         size_t last);

enum cdl_touches { CDL_READS = 1, CDL_WRITES = 2 };

/* Weights 0 and 1 are a kernel and a bias, 2 to 5 gamma, beta, mean and variance, and the datum is
 * epsilon; a column of the output is a column of the kernel, and one of many if there are more, or
 * a row. */
enum cdl_folds { CDL_FOLDS_NOT, CDL_FOLDS_COLUMNS, CDL_FOLDS_ROWS };

/* What the executor knows of some ops beyond their functions. */
enum cdl_role {
    CDL_NONE,
    CDL_DENSE,   /* reads lines of in[0], and no pads: those of the caller's arrays will do */
    CDL_WINDOWS, /* moves windows over images, whose values are large beside weights */
    CDL_PRODUCT, /* .. of values, which all samples may share */
    CDL_TABLE,   /* backward() makes gradients of inputs, and nothing that update() needs */
    CDL_PICK,    /* backward() knows node->adds: its gradient is zero at most places */
    CDL_FORK,
    CDL_LOSS,  /* forward() gives in[0] its gradient in training */
    CDL_PROBE, /* whoever made the program reads the gradient of its output */
    CDL_STATE, /* keeps the order of batches, in predictions too: each sample by the same thread */
    CDL_HOST,  /* a function of the caller's */
    CDL_LOOP,
    CDL_CARRIED, /* within a loop, as ops.def says */
    CDL_CARRY,
    CDL_ELEMENT,
    CDL_CAPTURED,
    CDL_COLLECT
};

/* Of what of a batch update() may learn at a time; each can do what stands before it. */
enum cdl_parts {
    CDL_BY_BATCHES,       /* all samples */
    CDL_BY_ROWS,          /* `rows` samples from `row` on */
    CDL_BY_MICRO_BATCHES, /* the same, and nothing but gradients of weights and reports joins
                             samples: a batch may come in micro-batches (program/micro.c) */
    CDL_BY_LINES /* update() reads lines of in[0] and of the gradient of out[0] alone: of all
                    iterations of a loop at once */
};

/* Which values of bfloat16 an op reads and gives; from CDL_BF16_READ on itself. */
enum cdl_bf16_use {
    CDL_BF16_NOT,
    CDL_BF16_THROUGH_FLOATS, /* which they become for it, a block of samples at a time, and what a
                                pass gives is rounded (program/narrow.c); thread_floats is NULL */
    CDL_BF16_READ,
    CDL_BF16_PAIRS,          /* .. with its first weight in pairs (base/param.h) */
    CDL_BF16_PAIRS_OR_FLOATS /* .. but where there are no tiles, in floats that were rounded */
};

struct cdl_op {
    enum cdl_role role;
    enum cdl_bf16_use bf16;
    enum cdl_parts parts;
    const char *table; /* of the row that number 0 names: "activations", ... or NULL */
    int table_rows;    /* how many it has */
    int row;           /* of what a family of ops chooses from, each an op of its name */
    const char *(*check)(const struct cdl_node *node); /* NULL, or what does not fit, and why */
    size_t (*scratch_floats)(const struct cdl_node *node, size_t rows);
    size_t (*code_bytes)(const struct cdl_node *node); /* of node->code, which derive() writes */
    /* What a node keeps in code, in scratch or, of an op without forward(), in outputs: before the
     * first run, and anew before a batch that sees other weights than the one before, in runs in
     * which it follows the weights (NULL: in none); by one thread (program/derived.c). */
    void (*derive)(const struct cdl_node *node, const struct cdl_kernels *kernels);
    bool (*follows)(const struct cdl_node *node, bool training);
    /* Of a product: how a normalization behind it folds into its weights (cdl_fold_params). */
    enum cdl_folds folds;
    double (*flops)(const struct cdl_node *node); /* of one sample, forward */
    /* That its functions need, a thread; in training update() has CDL_THREAD_SCRATCH anyway. */
    size_t (*thread_floats)(const struct cdl_node *node, size_t rows, bool training);
    /* NULL: nothing to compute. */
    void (*forward)(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                    size_t last);
    /* From the gradients of the outputs to those of in[k] where needs[k]; an output that nobody
     * gives a gradient has none (grad is NULL). Without it no gradient goes through the op. */
    void (*backward)(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                     size_t last);
    void (*update)(const struct cdl_node *node, const struct cdl_context *ctx,
                   float *thread_scratch, int thread, int n_threads);
    /* Where all threads share each node (program/lockstep.c): the number of pieces into which its
     * forward pass, or (back) its backward pass, over so many samples falls, and pieces [first,
     * last) of them. No two pieces share a sum, so the bits are those of forward() and backward().
     * NULL: pieces are samples. Before backward_pieces() stands take_gradient(), over samples: the
     * gradient of the output becomes that of what the node's activation was taken of. */
    size_t (*pieces)(const struct cdl_node *node, size_t rows, bool back);
    cdl_pass_fn *forward_pieces, *backward_pieces, *take_gradient;
    /* Losses and metrics: adds this batch to `state`, in a fixed order. state[0] is a total and
     * state[1] a count unless the op says otherwise by a longer state. */
    void (*report)(const struct cdl_node *node, const struct cdl_context *ctx, double *state);
    size_t (*state_doubles)(const struct cdl_node *node); /* NULL: 2 */
    /* Training and evaluation, by one thread, once all parameters have learned. */
    void (*settle)(const struct cdl_node *node, const struct cdl_context *ctx);
    int forward_stages, backward_stages; /* 0: one */
    bool stages_always;                  /* forward: in evaluation too */
    /* Activity regularizers: the penalty of this batch, which the loss counts beside its own. */
    double (*penalty)(const struct cdl_node *node, const struct cdl_context *ctx);
    /* Whether in[k] can get a gradient; NULL: as `all_inputs` says. */
    bool (*gives)(const struct cdl_node *node, int k);
    /* Whether backward() or update() reads the numbers of in[k], or those of out[0] where k is
     * CDL_OUTPUT; NULL: they read all. A loop keeps those of all iterations. */
    bool (*reads_back)(const struct cdl_node *node, int k);
    /* Whether backward() takes care of dx_activation. */
    bool (*applies_gradient)(const struct cdl_node *node);
    bool all_inputs; /* all inputs that are floats get gradients; else the first alone */
    bool joins; /* adds up what all samples have, by the thread that called (of whatever processes
                   share the batch): it runs there even without samples */
    /* Of an op with stages whose values become floats: what a stage does with the samples; NULL:
     * it reads and writes. */
    enum cdl_touches (*touches)(const struct cdl_node *node, const struct cdl_context *ctx,
                                bool back);
    /* Whether forward() changes parameters in training; NULL: it does not. */
    bool (*changes_params)(const struct cdl_node *node);
    bool may_fault;        /* has a fault to note (fault.h) */
    bool mixes;            /* some of what it reads and gives may be shared and some not */
    bool passes_on;        /* outputs are the memory of in[0]; backward() adds up those of two */
    bool absorbs_gradient; /* dx may carry the gradient of the producer's activation (dx_activation)
                            */
    bool any_samples;      /* lockstep may cut its samples anywhere, not at CDL_ROW_BLOCK alone */
    bool looks;            /* at the watch, between panels: it gains by many samples at a time */
};

#define OP(NAME, SIGNATURE, MEANING) extern const struct cdl_op cdl_op_##NAME;
#include "ops/ops.def"
#undef OP

/* A check ends at the first thing that is not as expected: `reason` names it and says what was. */
#define CDL_EXPECT(CONDITION, REASON)                                                              \
    do {                                                                                           \
        if (!(CONDITION)) return (REASON);                                                         \
    } while (0)
#define CDL_CHECK(CALL)                                                                            \
    do {                                                                                           \
        const char *cdl_reason_ = (CALL);                                                          \
        if (cdl_reason_) return cdl_reason_;                                                       \
    } while (0)

static inline bool cdl_same_shape(const struct cdl_tensor *a, const struct cdl_tensor *b) {
    return a->lines == b->lines && a->width == b->width;
}

static inline bool cdl_is_int(const struct cdl_tensor *value) {
    return value->dtype == CDL_DTYPE_int32;
}

static inline bool cdl_is_bf16(const struct cdl_tensor *value) {
    return value->dtype == CDL_DTYPE_bfloat16;
}

/* Floats' worth of memory of a sample. */
static inline size_t cdl_sample_floats(const struct cdl_tensor *value) {
    return value->lines * value->ld / (cdl_is_bf16(value) ? 2 : 1);
}

/* Whether a value is one float for each sample. */
static inline bool cdl_is_one(const struct cdl_tensor *value) {
    return value->lines == 1 && value->width == 1 && !cdl_is_int(value);
}

/* Whether a weight has the elements of a value, line by line if it is a matrix. */
static inline bool cdl_holds(const struct cdl_param *w, const struct cdl_tensor *value) {
    return w->matrix ? value->lines == w->rows && value->width == w->cols
                     : value->lines * value->width == w->cols;
}

/* reshape.c: whether it is one whose output has the numbers of its input in the same places. */
bool cdl_is_renaming(const struct cdl_node *node);

/* Of an op whose output has the shape of its input. */
static inline const char *cdl_check_alike(const struct cdl_tensor *x, const struct cdl_tensor *y) {
    CDL_EXPECT(!cdl_is_int(x) && !cdl_is_int(y), "x, output: expected floats");
    CDL_EXPECT(cdl_same_shape(x, y), "output: expected the shape of x");
    return NULL;
}

/* Live samples of the batch that a node sees, of which micro-batches have a part each. */
static inline size_t cdl_samples(const struct cdl_node *node, const struct cdl_context *ctx) {
    return node->shared ? ctx->rows : ctx->batch;
}

/* The samples of the batch that a mean is over: those of all processes. */
static inline double cdl_samples_joined(const struct cdl_node *node,
                                        const struct cdl_context *ctx) {
    return (double)(node->shared ? ctx->rows : ctx->joined);
}

/* Whether the sums of a node over the batch are those of several processes. */
static inline bool cdl_joins(const struct cdl_node *node, const struct cdl_context *ctx) {
    return ctx->ranks && !node->shared;
}

/* Of the blocks of samples of the joined batch, all, and the first that is this process's. */
struct cdl_joined_blocks {
    size_t all, first, own;
};
static inline struct cdl_joined_blocks cdl_joined_blocks(const struct cdl_context *ctx) {
    const size_t block = cdl_min(ctx->unit, CDL_ROW_BLOCK), own = cdl_row_blocks(ctx->rows);
    if (ctx->ranks && ctx->ranks->own)
        return (struct cdl_joined_blocks){own * (size_t)ctx->ranks->all,
                                          own * (size_t)ctx->ranks->rank, own};
    return (struct cdl_joined_blocks){(ctx->joined + block - 1) / block, ctx->first / block, own};
}

/* Of n floats a block those of `own` are here; then all are, as they were (0 + x = x). */
void cdl_gather_blocks(const struct cdl_context *ctx, float *blocks, size_t n);

static inline const char *cdl_check_same(const struct cdl_node *node) {
    return cdl_check_alike(node->in[0], node->out[0]);
}

/* NULL if an optional weight is a row of `width` numbers, else the reason. */
static inline const char *cdl_check_row(const struct cdl_param *param, size_t width,
                                        const char *reason) {
    CDL_EXPECT(!param || (!param->matrix && param->cols == width), reason);
    return NULL;
}

static inline bool cdl_always(const struct cdl_node *node) { return (void)node, true; }
static inline bool cdl_follows_batches(const struct cdl_node *node) {
    return node->op->changes_params && node->op->changes_params(node);
}
static inline bool cdl_reads_none(const struct cdl_node *node, int k) {
    return (void)node, (void)k, false;
}

/* What random numbers follow from are two numbers: `seed`, of 40 bits, and `user_draw`. 0 there is
 * a seed that was drawn; k > 0 is one that the user has given, and the k-th draw of its generator
 * in the program. */
static inline const char *cdl_check_seed(const struct cdl_node *node, int seed) {
    CDL_EXPECT(node->numbers[seed] >= 0 && node->numbers[seed] < (int64_t)1 << 40,
               "seed: expected 0 to 2^40 - 1");
    CDL_EXPECT(node->numbers[seed + 1] >= 0, "user_draw: expected at least 0");
    return NULL;
}

/* Whether a loop can run the op: for each sample by itself, with nothing to do but forward(),
 * backward() and update(), and none of it for all samples at a time unless values are shared, which
 * those within a loop are not. What scratch holds is of an iteration, or, of conv, of the whole
 * run. */
static inline bool cdl_can_loop(const struct cdl_op *op) {
    const enum cdl_role role = op->role;
    const bool may = role != CDL_LOSS && role != CDL_STATE && role != CDL_PROBE &&
                     role != CDL_HOST && role != CDL_LOOP;
    const bool more = (op->follows && role != CDL_WINDOWS) || op->report || op->settle ||
                      op->penalty || op->changes_params;
    const bool stages = op->stages_always || op->forward_stages > 1 ||
                        (op->backward_stages > 1 && role != CDL_PRODUCT);
    return may && !more && !stages;
}

/* Dropout that keeps a part of all: random bits below this are kept, and what is kept is scaled. */
static inline uint32_t cdl_keep_of(double kept) {
    const double threshold = kept * 4294967296.0;
    return threshold >= 4294967295.0 ? 4294967295U : (uint32_t)threshold;
}
static inline float cdl_keep_scale(double kept) { return kept > 0.0 ? (float)(1.0 / kept) : 0.0f; }

/* The key of a node that draws random numbers: of the step and, for a seed that was drawn, of the
 * run's seed and the place in the program too. A seed that was given fixes the numbers by itself:
 * neither of these counts, only which draw of its generator this is. */
static inline struct cdl_key cdl_node_key(const struct cdl_node *node,
                                          const struct cdl_context *ctx, int seed) {
    const uint64_t user_draw = (uint64_t)node->numbers[seed + 1];
    const uint64_t both = cdl_mix64(user_draw ? 0 : ctx->seed) ^ (uint64_t)node->numbers[seed];
    const uint64_t place = (uint64_t)ctx->iteration << 32 | (uint64_t)node->index;
    return cdl_key_of(both, ctx->step, user_draw ? user_draw - 1 + ctx->drawn : place);
}

/* Whether the gradient of the output is not yet that of what the activation, attribute 0, was taken
 * of. */
static inline bool cdl_takes_gradient(const struct cdl_node *node) {
    return (int)node->numbers[0] != CDL_ACTIVATION_linear && !node->dy_is_dz;
}

/* reads_back() of a product with weight 0 that takes activations along. */
static inline bool cdl_product_reads_back(const struct cdl_node *node, int k) {
    if (k == CDL_OUTPUT) return cdl_takes_gradient(node);
    return node->trained[0] || node->dx_activation != CDL_ACTIVATION_linear;
}

static inline float *cdl_rows(const struct cdl_tensor *t, size_t first) {
    return t->data + first * t->row_floats;
}
static inline float *cdl_grad_rows(const struct cdl_tensor *t, size_t first) {
    return t->grad + first * t->row_floats;
}

/* Whether a node is a cast that may write over what it reads, and over its gradient: nobody else
 * reads these, nor does the producer but for its activation's gradient. */
bool cdl_casts_in_place(const struct cdl_node *node);

/* The gradient of samples of a value of bfloat16 becomes that of what a function of the table was
 * taken of, whose value it is (cast.c). */
void cdl_take_gradient_bf16(const struct cdl_tensor *y, int activation, const float *params,
                            const struct cdl_context *ctx, size_t first, size_t last);

/* The gradient of the output becomes that of what the activation was taken of: a function of it. */
static inline void cdl_take_gradient(const struct cdl_node *node, const struct cdl_context *ctx,
                                     size_t first, size_t last) {
    const struct cdl_tensor *y = node->out[0];
    if (!cdl_takes_gradient(node)) return;
    if (cdl_is_bf16(y)) {
        cdl_take_gradient_bf16(y, (int)node->numbers[0], node->row_param, ctx, first, last);
        return;
    }
    const float *values = cdl_rows(y, first);
    float *dz = cdl_grad_rows(y, first);
    ctx->kernels->activation_gradient[(int)node->numbers[0]]((last - first) * y->lines, y->width,
                                                             values, y->ld, values, y->ld, dz,
                                                             y->ld, dz, y->ld, node->row_param);
}

#endif
