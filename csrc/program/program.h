/* program.h - a built program: its nodes, their memory, its accumulators. */
#pragma once

#include "base/threads.h"
#include "base/turns.h"
#include "base/watch.h"
#include "ops/op.h"
#include "program/definition.h"
#include "program/feed.h"
#include "program/run.h"

/* A derived weight: what is made of weights and kept (derived.c). */
struct cdl_derived {
    struct cdl_param *from[CDL_MAX_PARAMS]; /* or NULL */
    void (*make)(const struct cdl_derived *row, const struct cdl_kernels *kernels, size_t block);
    uint64_t version;     /* versions of `from` when it was made; 0: never made */
    bool stale;           /* to be made now */
    struct cdl_param *to; /* a weight, block by block, or NULL: what `node` keeps */
    const struct cdl_node *node;
    enum cdl_dtype dtype;        /* that `to` is rounded to */
    struct cdl_trained *trained; /* of from[0], or NULL */
    bool learned;                /* the update of from[0] also makes it (cdl_trained.rounded) */
};

struct cdl_program {
    const struct cdl_kernels *kernels;
    size_t rows;  /* capacity of all threads together */
    size_t batch; /* capacity of outputs, where values have memory for a micro-batch only */
    bool training;
    int threads;
    bool forced; /* the caller chose the number of threads */
    struct cdl_turns turns;
    bool lockstep;    /* all threads share each node (lockstep.h) */
    double row_flops; /* of one sample, forward */
    int n_values, n_nodes, n_inputs, n_outputs, n_trained, n_parts, n_reports, n_hosts;
    int loops; /* number of loops */
    int n_external_grads, n_once, n_faults, n_penalties, n_gradientless;
    struct cdl_tensor *values;
    struct cdl_node *nodes;
    struct cdl_tensor **inputs, **outputs;
    struct cdl_tensor **external_grads; /* values whose gradients the caller brings */
    struct cdl_trained *trained;
    struct cdl_host *hosts;   /* one per host instruction */
    struct cdl_fault *faults; /* one per instruction that may have a fault */
    struct cdl_derived *derived;
    int n_derived;
    struct cdl_trained *parts; /* parts of parameters that several instructions use */
    struct cdl_node **reports;
    double **states; /* one per report */
    size_t *state_sizes;
    double penalty, penalty_total, penalty_count;
    struct cdl_ranks ranks; /* ranks.all is 0 if this process is the only one */
    float *joined;          /* header and gradients of all parts, if there are ranks */
    size_t joined_floats;
    bool holds; /* parts hold gradients that have not been joined */
    int n_groups;
    struct cdl_group_def groups[CDL_MAX_GROUPS];
    struct cdl_rules rules;
    struct cdl_program *after; /* run once all have learned, or NULL */
    bool keeps_grads;          /* whole gradients are kept; no update starts before all are there */
    bool reaches;      /* step lengths of some parameter depend on norms (learn/tensorwise.h) */
    bool limits_norms; /* norm constraints on the columns of some parameter */
    bool may_fail;     /* a host or a fault may end a run */
    bool settles; /* settle() of a node, or a program after the batch, has work after the update */
    bool derives[2];      /* in evaluation, in training: derived weights change during a run */
    bool follows_batches; /* forward passes change parameters in training */
    bool mixes_rows;      /* samples of a batch depend on each other in predictions too */
    bool keeps_order;     /* states kept per place: a sample depends on that of the batch before */
    bool reads_rows;      /* first node is dense, and alone reads the first input, line by line */
    bool learns_later;    /* updates follow the whole backward pass, not each node's own */
    bool is_long;         /* batches take so long that the watch is polled within them */
    size_t piece;         /* samples gathered or copied out between two polls */
    size_t micro;         /* samples of a micro-batch (micro.c), or 0 */
    size_t slots;         /* micro-batches in memory at once, in lockstep */
    double *saved;        /* states of reports at the start of a batch of several parts */
    size_t block;         /* rows per block of a prediction, each thread its own */
    struct cdl_watch watch;
    float *undo; /* parameters, undo_floats, before an update that takes long (kept.c) */
    size_t undo_floats;
    struct cdl_step *owed; /* CDL_MOST_OWED steps, if blocks of some node may owe them; or NULL */
    float *saved_params;   /* parameters that forward passes change, before the step; or NULL */
    float *arena;
    size_t floats, least_floats; /* size of the arena; most that lives at one moment */
    float *thread_scratch; /* thread_floats a thread: CDL_THREAD_SCRATCH, or what an op asks for */
    size_t thread_floats;
    float *tensorwise_scratch; /* tensorwise_floats a thread, for rows of learn/tensorwise.h */
    size_t tensorwise_floats;
};

/* Loops over the nodes, values and trained parameters of a program. */
#define CDL_EACH_NODE(NODE, PROGRAM)                                                               \
    for (struct cdl_node *NODE = (PROGRAM)->nodes; NODE < (PROGRAM)->nodes + (PROGRAM)->n_nodes;   \
         NODE++)
#define CDL_EACH_VALUE(VALUE, PROGRAM)                                                             \
    for (struct cdl_tensor *VALUE = (PROGRAM)->values;                                             \
         VALUE < (PROGRAM)->values + (PROGRAM)->n_values; VALUE++)
#define CDL_EACH_TRAINED(TRAINED, PROGRAM)                                                         \
    for (struct cdl_trained *TRAINED = (PROGRAM)->trained;                                         \
         TRAINED < (PROGRAM)->trained + (PROGRAM)->n_trained; TRAINED++)

/* Least arithmetic worth waking threads for: about 60 us on one core. */
#define CDL_REGION_FLOPS 1.5e7

/* node.c: makes a node of an instruction (CDL_ERR_PROGRAM: `reason` says what does not fit); and a
 * place for a fault of an instruction. */
cdl_status cdl_make_node(struct cdl_program *program, const struct cdl_instruction_def *def,
                         struct cdl_node *node, const char **reason);
struct cdl_fault *cdl_make_fault(struct cdl_program *program, int instruction, bool shared);

/* loops.c: finds the nodes that loops run (NULL, or what does not fit); then gives memory to values
 * kept for all iterations. */
const char *cdl_find_loops(struct cdl_program *program);
void cdl_link_loops(struct cdl_program *program);

/* link.c: decides which gradients flow, which nodes one thread runs for all, and where barriers
 * stand. */
void cdl_link(struct cdl_program *program);

/* pieces.c: sets the work between two polls of the watch, and whether whole gradients are kept so
 * that a step can be dropped late. */
cdl_status cdl_cut(struct cdl_program *program);
/* Operations of a node for a sample, forward; and its work, in the unit of
 * cdl_program_work. */
double cdl_node_flops(const struct cdl_node *node);
double cdl_node_work(const struct cdl_node *node);

/* micro.c: decides on micro-batches and their size; a single thread then has memory for one of
 * them. */
cdl_status cdl_split(struct cdl_program *program, const struct cdl_program_def *def);

/* derived.c: replaces *param by its copy rounded to a dtype, made once for all nodes that read it
 * so. */
cdl_status cdl_round_param(struct cdl_program *program, struct cdl_trained *trained,
                           enum cdl_dtype dtype, bool pairs, struct cdl_param **param);
/* Checks a normalization to be folded into a node's weights (NULL, or what does not fit); then
 * replaces kernel and bias by W f and (b - mean) f + beta with f = gamma / sqrt(variance +
 * epsilon). */
const char *cdl_check_folds(const struct cdl_node *node, bool training);
cdl_status cdl_fold_params(struct cdl_program *program, struct cdl_node *node);
void cdl_link_derived(struct cdl_program *program);

/* narrow.c: a node that computes through floats (CDL_THROUGH_FLOATS): the floats that it takes a
 * thread; the pass over samples [first, last), block by block. */
size_t cdl_narrow_floats(const struct cdl_node *node);
void cdl_run_narrow(const struct cdl_phase *phase, bool back, const struct cdl_node *node,
                    const struct cdl_context *ctx, size_t first, size_t last);

/* kept.c: floats to save for a parameter whose update takes long, and what that changes; else 0. */
size_t cdl_undo_floats(const struct cdl_program *program, const struct cdl_trained *trained);

/* owed.c: finds the nodes whose blocks may owe steps; then makes those that a thread's share owes,
 * behind a barrier. */
cdl_status cdl_link_owed(struct cdl_program *program);
void cdl_make_owed(const struct cdl_program *program, const struct cdl_context *ctx);

/* place.c: offsets for buffers with known lifetimes, in an arena as small as possible. */
struct cdl_buffer {
    float **place; /* receives the address */
    size_t floats;
    int birth, death; /* inclusive; two may share memory if their lives do not meet */
    int number;       /* tie-breaker in sorting */
    size_t offset;    /* the best offset so far */
    size_t tried;     /* offset in the current try */
};

/* Finds the offsets of n buffers, and reorders them. `top` is the size of the arena, `least` the
 * most that lives at one moment: no plan takes less. */
cdl_status cdl_place(struct cdl_buffer *buffers, int n, size_t *top, size_t *least);

/* plan.c: gives every value, gradient and scratch its place in one arena, and allocates it. */
cdl_status cdl_plan(struct cdl_program *program);

/* Does the node have trained parameters, or a gradient that somebody reads? Does it give a gradient
 * to an input? */
static inline bool cdl_node_trains(const struct cdl_node *node) {
    bool any = node->op->role == CDL_PROBE;
    for (int i = 0; i < CDL_MAX_PARAMS; i++) any |= node->trained[i] != NULL;
    return any;
}
static inline bool cdl_node_gives(const struct cdl_node *node) {
    bool any = false;
    for (int k = 0; k < node->n_in; k++) any |= node->needs[k];
    return any;
}

/* The most steps that blocks owe, which then make theirs; and the least for which all are visited
 * so that the caller can be asked. */
enum { CDL_MOST_OWED = 256, CDL_LEAST_OWED = 16 };

extern const struct cdl_op_row {
    const char *name, *signature, *meaning; /* as in ops.def */
    const struct cdl_op *op;
} cdl_ops[];
extern const int cdl_n_ops;
