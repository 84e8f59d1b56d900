/* op.h - operations: a row of functions each, and the nodes that they work on.
 *
 * An op's file ends in its `const struct cdl_op`; ops.def lists it. check() runs while the program
 * is built and is the only one that may fail: it says what it expected instead. forward() and
 * backward() work on the samples [first, last) of the batch and touch no other, so that threads
 * split rows; update() takes a thread's share of the node's parameters, over samples of which all
 * passes are done, and hands each block of their gradient to a sink (learn/learn.h).
 *
 * A pass of an op is a list of phases, of one function each: all threads finish one before any
 * begins the next. An op that needs sums over the whole batch (normalization) sums blocks of
 * CDL_ROW_BLOCK samples, which no two threads share, in one phase and adds the blocks up in order
 * in another: the same bits for any number of threads.
 *
 * A node that reads and gives only shared values sees a batch of one sample, [0, 1), and runs on
 * one thread. Ops that say `mixes` may have values of both kinds.
 *
 * docs/design.md has the words of csrc/, under Words.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

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
struct cdl_lanes_op;

/* A value of the program, for all samples of a batch: `lines` rows of `width` floats a sample, `ld`
 * apart (cdl_stride). A shared value (a weight, a sum over the batch) has no batch axis: all
 * samples see its one row. */
struct cdl_tensor {
    int n_dims;
    size_t dims[CDL_MAX_DIMS]; /* per sample, outermost first */
    size_t lines, width, ld;   /* ld: in elements, of two bytes for bfloat16, else of four */
    size_t row_floats;         /* stride of a sample, lines * ld; 0 if shared */
    bool across; /* of models in lanes: element j of CDL_LINE samples is a line (cdl_scoring) */
    bool shared;
    bool rounded;         /* floats that have been rounded to bfloat16 */
    enum cdl_dtype dtype; /* int32: class numbers, one a line, contiguous; bfloat16: two bytes each,
                             rows padded to CDL_BF16_LINE; else floats, for float16 rounded to it */
    bool uncached;        /* the caller's memory: not in any cache yet, and lines have no pads */
    const struct cdl_tensor
        *owner;  /* owner of `data`: the value itself, or the one that it aliases */
    float *data; /* the pads hold finite numbers */
    float *grad; /* gradient of the loss by the value; NULL if not needed; pads hold 0 */
    const struct cdl_tensor *grad_owner; /* owner of `grad`: the value itself, the sum that a fork
                                            adds it to, or the input of a cast in place */
    const struct cdl_node *grad_writer;  /* first node to write it in the backward pass, or NULL */
    struct cdl_node *producer; /* node whose output it is; NULL: an input from the caller */
    int users;                 /* number of reads by nodes */
    bool external_grad;        /* gradient comes from the caller */
    struct cdl_fault *fault;   /* for an input of whole numbers: one that no float holds */
    bool whole; /* full batch in memory also under micro-batches, first sample at `base` */
    float *base;
    bool grad_possible, needed; /* gradient possible: some reader could give one; needed: one does,
                                   and it is wanted */
    /* Iterations whose values, or gradients, are all kept, for an owner within a loop; else 1. */
    size_t slices, grad_slices;
    int view; /* number of a value within a loop, from 1; else 0 */
};

/* Parameters of a pass, over the samples, or pieces, [first, last) of a node; and of an update. */
#define CDL_PASS                                                                                   \
    const struct cdl_node *node, const struct cdl_context *ctx, size_t first, size_t last
#define CDL_UPDATE                                                                                 \
    const struct cdl_node *node, const struct cdl_context *ctx, struct cdl_rows rows,              \
        const struct cdl_sink *to
struct cdl_node;
typedef void cdl_pass_fn(CDL_PASS);
typedef void cdl_pieces_fn(CDL_PASS, bool back);
typedef void cdl_update_rows_fn(CDL_UPDATE);

/* Arithmetic of a node: of floats, or of bfloat16 as its op reads it; of bfloat16 values that the
 * op sees as floats in scratch (program/narrow.c); of floats that have been rounded, whose products
 * bfloat16 tiles may make. */
enum cdl_arithmetic { CDL_DIRECT, CDL_THROUGH_FLOATS, CDL_BY_TILES };

struct cdl_node {
    const struct cdl_op *op;
    int index; /* position in the program; part of a random key */
    struct cdl_tensor *in[CDL_MAX_INPUTS];
    struct cdl_tensor *out[CDL_MAX_OUTPUTS];
    int n_in, n_out;
    struct cdl_param *param[CDL_MAX_PARAMS];
    struct cdl_trained *trained[CDL_MAX_PARAMS];
    const int64_t *numbers; /* n_numbers, in the order of the signature (ops.def) */
    size_t n_numbers;
    float attribute[CDL_MAX_ATTRIBUTES]; /* in the order of the signature */
    const double *data; /* n_data numbers that the signature names last, of any length */
    size_t n_data;
    float row_param[CDL_MAX_ROW_PARAMS]; /* parameters of the table row that number 0 names */
    bool waits_forward, waits_backward;  /* a barrier stands behind it: its result is shared */
    bool has_dy;                         /* an output gets a gradient */
    bool shared;                         /* all its values are shared: one thread runs it */
    bool mixes;                          /* some of its values are shared, and others not */
    bool once;                           /* constant in a prediction call: runs once in it */
    bool needs[CDL_MAX_INPUTS];          /* in[k]->grad is wanted and can be given */
    enum cdl_arithmetic arithmetic;
    bool goes_back, learns; /* backward() and update() have work to do */
    bool adds;              /* backward() adds to in[0]->grad, already written */
    int dx_activation;      /* the producer's, whose gradient backward() applies to dx; or linear */
    const float *dx_row_param;
    bool dy_is_dz; /* dy is dz: the reader of the output has applied the activation's gradient */
    size_t thread_floats; /* floats that its functions may use of a thread's scratch */
    size_t piece;         /* samples between two polls of the watch: a multiple of CDL_ROW_BLOCK */
    /* A pass forward, and back, that is one call on a thread's samples unless it polls the watch;
     * else NULL. */
    cdl_pass_fn *whole_pass[2];
    float *scratch;
    const struct cdl_node *loop; /* loop that runs it; NULL: the program does */
    size_t iterations;           /* runs per batch: 1 outside of loops */
    bool owes;                   /* blocks of weight 0 may owe steps (program/owed.c) */
    size_t scratch_slice;        /* stride of scratch from an iteration to the next, or 0 */
    int views;                   /* number of values within a loop */
    /* Flags of carry. begins_at_zero: nothing behind the loop gives the carried value a gradient.
     * is_carried_back: the next iteration gives it one. */
    bool begins_at_zero, is_carried_back;
    void *code;              /* memory of code_bytes() of its op, or NULL */
    struct cdl_host *host;   /* a function of the caller's, or NULL */
    struct cdl_fault *fault; /* fault found in its inputs, for an op that may; or NULL */
};

/* Extent of a phase: a thread's samples; a call by each thread, with samples or without, for its
 * part of what all have made (products/blocks.h); a call by the first thread. */
enum cdl_over { CDL_SAMPLES, CDL_THREADS, CDL_ONCE };

enum { CDL_MAX_PHASES = 6 };
struct cdl_phase {
    cdl_pass_fn *run; /* NULL: the list ends */
    enum cdl_over over;
    bool trains; /* in training only, of a node that changes parameters then */
    bool sums;   /* writes scratch only */
    bool mixes;  /* of a node with shared values and others only */
};

/* Folding of a normalization into an op's weights: weights 0 and 1 are a kernel and a bias, 2 to 5
 * gamma, beta, mean and variance, and the datum is epsilon. A column of the output is a column of
 * the kernel (one of many, if there are more), or a row. */
enum cdl_folds { CDL_FOLDS_NOT, CDL_FOLDS_COLUMNS, CDL_FOLDS_ROWS };

/* Role of an op: what the executor knows of it beyond its functions. */
enum cdl_role {
    CDL_NONE,
    CDL_DENSE,   /* reads lines of in[0] without pads: the caller's arrays serve in place */
    CDL_WINDOWS, /* windows over images, whose values are large beside the weights */
    CDL_PRODUCT, /* product of two values, either of which may be shared */
    CDL_TABLE,   /* backward() makes gradients of inputs only, nothing for update() */
    CDL_PICK,    /* backward() honours node->adds: its gradient is zero at most places */
    CDL_FORK,
    CDL_LOSS,  /* forward() gives in[0] its gradient in training */
    CDL_PROBE, /* the caller reads the gradient of its output */
    CDL_STATE, /* states between batches: each place stays with one thread, in predictions too */
    CDL_HOST,  /* a function of the caller's */
    CDL_LOOP,
    CDL_CARRIED, /* borders of a loop, as ops.def says */
    CDL_CARRY,
    CDL_ELEMENT,
    CDL_CAPTURED,
    CDL_COLLECT
};

/* Granularity of update(): the part of a batch that it can learn from at a time. Each row can do
 * what those above can. */
enum cdl_parts {
    CDL_BY_BATCHES,       /* the whole batch */
    CDL_BY_ROWS,          /* some rows (struct cdl_rows), which begin at any block */
    CDL_BY_MICRO_BATCHES, /* rows as well, and samples are joined only by gradients of weights and
                             reports: batches may come in micro-batches (program/micro.c) */
    CDL_BY_LINES /* lines: update() reads only those of in[0] and of out[0]'s gradient, so all
                    iterations of a loop may come at once */
};

/* Use of bfloat16 values by an op; from CDL_BF16_READ on it reads and gives them itself. */
enum cdl_bf16_use {
    CDL_BF16_NOT,
    CDL_BF16_THROUGH_FLOATS, /* converted to floats for it, a block of samples at a time, and
                                results rounded (program/narrow.c); thread_floats is NULL */
    CDL_BF16_READ,
    CDL_BF16_PAIRS,          /* reads them, with its first weight in pairs (base/param.h) */
    CDL_BF16_PAIRS_OR_FLOATS /* reads them, with its first weight in pairs, or as rounded floats
                                where there are no tiles */
};

struct cdl_op {
    enum cdl_role role;
    enum cdl_bf16_use bf16;
    enum cdl_parts parts;
    struct {
        const char *name; /* NULL: none */
        int rows;
    } table; /* whose row number 0 names: "activations", ... */
    int row; /* variant within a family of ops that share functions, each an op of its own name */
    const char *(*check)(const struct cdl_node *node); /* error and expectation; NULL: all fits */
    size_t (*scratch_floats)(const struct cdl_node *node, size_t rows);
    size_t (*code_bytes)(
        const struct cdl_node *node); /* size of node->code, which derive() writes */
    /* Derived data of a node: in code, in scratch or, for an op without forward(), in outputs. Made
     * by one thread before the first run, and again before a batch with changed weights, in runs in
     * which follows() says so (NULL: in none); see program/derived.c. */
    void (*derive)(const struct cdl_node *node, const struct cdl_kernels *kernels);
    /* In place of derive(): parts, each made by one thread. */
    size_t (*derived_parts)(const struct cdl_node *node);
    void (*derive_part)(const struct cdl_node *node, const struct cdl_kernels *kernels,
                        size_t part);
    bool (*follows)(const struct cdl_node *node, bool training);
    /* Folding of a normalization behind a product into its weights (cdl_fold_params). */
    enum cdl_folds folds;
    /* Operations of the forward pass of one sample; or for each number of the larger of in[0] and
     * out[0]. */
    double (*flops)(const struct cdl_node *node);
    double number_flops;
    /* Scratch of a thread for its functions; in training update() has CDL_THREAD_SCRATCH anyway. */
    size_t (*thread_floats)(const struct cdl_node *node, size_t rows, bool training);
    /* Forward pass; empty: nothing to compute. */
    struct cdl_phase forward[CDL_MAX_PHASES];
    /* Backward pass: gradients of the outputs to those of in[k] where needs[k]; of an op without
     * weights one is needed, at least. An output without a gradient has grad NULL. Empty: no
     * gradient goes through the op. */
    struct cdl_phase backward[CDL_MAX_PHASES];
    /* Gradients of a thread's share of the parameters over some samples, to a sink. */
    cdl_update_rows_fn *update;
    /* Steps that blocks of weight 0 without a gradient owe (program/owed.c): whether that is worth
     * it, with batches of so many rows; and those of a thread's share, made. */
    bool (*may_owe)(const struct cdl_node *node, size_t rows);
    void (*make_owed)(const struct cdl_node *node, const struct cdl_context *ctx);
    /* Pieces, for lockstep (program/lockstep.c): pieces() gives the number of pieces of the forward
     * pass, or (back) the backward pass, over so many samples; run_pieces() runs pieces [first,
     * last). No two pieces share a sum, so the bits are those of forward() and backward(). NULL:
     * pieces are samples. take_gradient(), over samples, runs before pieces of the backward pass:
     * it turns dy into dz, the gradient by the activation's argument. */
    size_t (*pieces)(const struct cdl_node *node, size_t rows, bool back);
    cdl_pieces_fn *run_pieces;
    cdl_pass_fn *take_gradient;
    /* Reports of losses and metrics: adds this batch to `state`, in a fixed order. state[0] is a
     * total and state[1] a count, unless the op has a longer state. */
    void (*report)(const struct cdl_node *node, const struct cdl_context *ctx, double *state);
    size_t (*state_doubles)(const struct cdl_node *node); /* NULL: 2 */
    /* Work after the update, in training and evaluation, by one thread. */
    void (*settle)(const struct cdl_node *node, const struct cdl_context *ctx);
    /* Penalty of an activity regularizer for this batch, counted beside the loss. */
    double (*penalty)(const struct cdl_node *node, const struct cdl_context *ctx);
    /* Can in[k] get a gradient? NULL: as `all_inputs` says. */
    bool (*gives)(const struct cdl_node *node, int k);
    /* Do backward() or update() read the numbers of in[k], or of out[0] where k is CDL_OUTPUT?
     * NULL: of all. A loop keeps these for all iterations. */
    bool (*reads_back)(const struct cdl_node *node, int k);
    /* Does backward() apply dx_activation? */
    bool (*applies_gradient)(const struct cdl_node *node);
    const struct cdl_lanes_op *lanes; /* what it does for members in lanes (ops/lanes.h), or NULL */
    bool all_inputs;                  /* every float input gets a gradient; else only the first */
    bool joins; /* update() learns from sums over all processes: also without samples */
    /* Does forward() change parameters in training? NULL: no. */
    bool (*changes_params)(const struct cdl_node *node);
    bool may_fault;        /* may note a fault (fault.h) */
    bool mixes;            /* mixed batching: some of its values may be shared and others not */
    bool passes_on;        /* outputs alias in[0]; backward() adds up the gradients of two */
    bool absorbs_gradient; /* dx may include the gradient of the producer's activation
                              (dx_activation) */
    bool any_samples;      /* samples may be cut anywhere in lockstep, not only at CDL_ROW_BLOCK */
    bool polls;            /* polls the watch itself, between panels: prefers large pieces */
};

#define OP(NAME, SIGNATURE, MEANING) extern const struct cdl_op cdl_op_##NAME;
#include "ops/ops.def"
#undef OP

/* Expectation of a check, which ends at the first that fails: `reason` names the thing and what was
 * expected. */
#define CDL_EXPECT(CONDITION, REASON)                                                              \
    do {                                                                                           \
        if (!(CONDITION)) return (REASON);                                                         \
    } while (0)
#define CDL_CHECK(CALL)                                                                            \
    do {                                                                                           \
        const char *cdl_reason_ = (CALL);                                                          \
        if (cdl_reason_) return cdl_reason_;                                                       \
    } while (0)

/* Values of a node: inputs, then outputs. */
static inline int cdl_values_of(const struct cdl_node *node) { return node->n_in + node->n_out; }
static inline struct cdl_tensor *cdl_value_of(const struct cdl_node *node, int v) {
    return v < node->n_in ? node->in[v] : node->out[v - node->n_in];
}

static inline bool cdl_same_shape(const struct cdl_tensor *a, const struct cdl_tensor *b) {
    return a->lines == b->lines && a->width == b->width;
}

static inline bool cdl_is_int(const struct cdl_tensor *value) {
    return value->dtype == CDL_DTYPE_int32;
}

static inline bool cdl_is_bf16(const struct cdl_tensor *value) {
    return value->dtype == CDL_DTYPE_bfloat16;
}

static inline size_t cdl_sample_floats(const struct cdl_tensor *value) {
    return value->lines * value->ld / (cdl_is_bf16(value) ? 2 : 1);
}

/* Is a value one float for each sample? */
static inline bool cdl_is_one(const struct cdl_tensor *value) {
    return value->lines == 1 && value->width == 1 && !cdl_is_int(value);
}

/* Does a weight have the elements of a value, line by line if it is a matrix? */
static inline bool cdl_holds(const struct cdl_param *w, const struct cdl_tensor *value) {
    return w->matrix ? value->lines == w->rows && value->width == w->cols
                     : value->lines * value->width == w->cols;
}

/* reshape.c: is the node a reshape whose numbers stay in place? */
bool cdl_is_renaming(const struct cdl_node *node);

static inline const char *cdl_check_alike(const struct cdl_tensor *x, const struct cdl_tensor *y) {
    CDL_EXPECT(!cdl_is_int(x) && !cdl_is_int(y), "x, output: expected floats");
    CDL_EXPECT(cdl_same_shape(x, y), "output: expected the shape of x");
    return NULL;
}

/* Samples that a mean is over: those of all processes. */
static inline double cdl_samples_joined(const struct cdl_node *node,
                                        const struct cdl_context *ctx) {
    return (double)(node->shared ? ctx->rows : ctx->joined);
}

/* Do a node's sums over the batch include other processes? */
static inline bool cdl_joins(const struct cdl_node *node, const struct cdl_context *ctx) {
    return ctx->ranks && !node->shared;
}

/* Blocks of samples of the joined batch: all, and this process's `own` from `first` on. */
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

/* Gathers n floats a block from all processes; before, only those of `own` are here. Exact, as 0 +
 * x = x. */
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

static inline bool cdl_always(const struct cdl_node *node) { return true; }
static inline bool cdl_follows_all(const struct cdl_node *node, bool training) { return true; }
static inline bool cdl_follows_batches(const struct cdl_node *node) {
    return node->op->changes_params && node->op->changes_params(node);
}
/* Copies y = x and dx = dy, and a check(), of ops whose output may be their input. In fork.c. */
void cdl_copy_values(CDL_PASS);
void cdl_copy_gradient(CDL_PASS);
const char *cdl_check_copy(const struct cdl_node *node);

static inline bool cdl_reads_none(const struct cdl_node *node, int k) { return false; }

/* Seed of a node, two numbers: `seed`, of 40 bits, and `user_draw`: 0 for a seed that was drawn; k
 * > 0 for one that the user has given, and the k-th draw of its generator in the program. */
static inline const char *cdl_check_seed(const struct cdl_node *node, int seed) {
    CDL_EXPECT(node->numbers[seed] >= 0 && node->numbers[seed] < (int64_t)1 << 40,
               "seed: expected 0 to 2^40 - 1");
    CDL_EXPECT(node->numbers[seed + 1] >= 0, "user_draw: expected at least 0");
    return NULL;
}

/* Can a loop run the op? It must work on each sample by itself, have only forward(), backward() and
 * update(), and no phases for all samples unless values are shared, which those within a loop are
 * not. Its scratch must be of an iteration or, for conv, of the whole run. */
static inline bool cdl_can_loop(const struct cdl_op *op) {
    const enum cdl_role role = op->role;
    const bool may = role != CDL_LOSS && role != CDL_STATE && role != CDL_PROBE &&
                     role != CDL_HOST && role != CDL_LOOP;
    const bool more = (op->follows && role != CDL_WINDOWS) || op->report || op->settle ||
                      op->penalty || op->changes_params;
    const bool phases = op->forward[0].over || op->forward[1].run || op->backward[0].over ||
                        (op->backward[1].run && !op->backward[1].mixes && role != CDL_PRODUCT);
    return may && !more && !phases;
}

/* Threshold of dropout: random bits below it keep an element; and the scale of kept elements. */
static inline uint32_t cdl_keep_of(double kept) {
    const double threshold = kept * 4294967296.0;
    return threshold >= 4294967295.0 ? 4294967295U : (uint32_t)threshold;
}
static inline float cdl_keep_scale(double kept) { return kept > 0.0 ? (float)(1.0 / kept) : 0.0f; }

/* Key of a node's random numbers: of the step and, for a drawn seed, of the run's seed and the
 * position in the program. A given seed fixes the numbers by itself: only the number of the draw of
 * its generator counts. */
static inline struct cdl_key cdl_node_key(const struct cdl_node *node,
                                          const struct cdl_context *ctx, int seed) {
    const uint64_t user_draw = (uint64_t)node->numbers[seed + 1];
    const uint64_t both = cdl_mix64(user_draw ? 0 : ctx->seed) ^ (uint64_t)node->numbers[seed];
    const uint64_t place = (uint64_t)ctx->iteration << 32 | (uint64_t)node->index;
    return cdl_key_of(both, ctx->step, user_draw ? user_draw - 1 + ctx->drawn : place);
}

/* Must the activation's gradient still be applied? The activation is number 0. */
static inline bool cdl_takes_gradient(const struct cdl_node *node) {
    return (int)node->numbers[0] != CDL_ACTIVATION_linear && !node->dy_is_dz;
}

/* Function reads_back() of products with weight 0 and an activation. */
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

/* Lines of samples from `first` on, of values or gradients, to read or to write. */
static inline struct cdl_matrix cdl_lines(const struct cdl_tensor *t, size_t first) {
    return (struct cdl_matrix){cdl_rows(t, first), t->ld};
}
static inline struct cdl_matrix cdl_grad_lines(const struct cdl_tensor *t, size_t first) {
    return (struct cdl_matrix){cdl_grad_rows(t, first), t->ld};
}
static inline struct cdl_output cdl_lines_to(const struct cdl_tensor *t, size_t first) {
    return (struct cdl_output){cdl_rows(t, first), t->ld};
}
static inline struct cdl_output cdl_grad_lines_to(const struct cdl_tensor *t, size_t first) {
    return (struct cdl_output){cdl_grad_rows(t, first), t->ld};
}

/* Is a node a cast that may write over its input and that one's gradient? Nobody else may read
 * these, and the producer only for its activation's gradient. */
bool cdl_casts_in_place(const struct cdl_node *node);

/* cast.c: turns the gradient by a value y, of samples [first, last), into that by the argument of
 * an activation whose value it is. */
void cdl_apply_gradient(const struct cdl_tensor *y, int activation, const float *params,
                        const struct cdl_context *ctx, size_t first, size_t last);

/* Turns dy into dz: the gradient by the output into that by the activation's argument. */
static inline void cdl_take_gradient(CDL_PASS) {
    if (cdl_takes_gradient(node))
        cdl_apply_gradient(node->out[0], (int)node->numbers[0], node->row_param, ctx, first, last);
}
