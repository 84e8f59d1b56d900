/* program.h - what a built program holds: its nodes, their memory, its accumulators. */
#ifndef CDL_PROGRAM_PROGRAM_H
#define CDL_PROGRAM_PROGRAM_H

#include "base/threads.h"
#include "base/watch.h"
#include "ops/op.h"
#include "program/definition.h"
#include "program/feed.h"
#include "program/run.h"

/* What is made of weights and kept (derived.c). */
struct cdl_derived {
    struct cdl_param *from[CDL_MAX_PARAMS]; /* or NULL */
    void (*make)(const struct cdl_derived *row, const struct cdl_kernels *kernels, size_t block);
    uint64_t version;     /* of `from`, of which it is made; 0: of none yet */
    bool stale;           /* to be made now */
    struct cdl_param *to; /* a weight, block by block, or NULL: what `node` keeps */
    const struct cdl_node *node;
    enum cdl_dtype dtype;        /* that `to` is rounded to */
    float epsilon;               /* of a normalization that is folded into `to` */
    struct cdl_trained *trained; /* of from[0], or NULL */
    bool learned;                /* what learns from[0] makes it, too (cdl_trained.rounded) */
};

struct cdl_program {
    const struct cdl_kernels *kernels;
    size_t rows;  /* capacity of all threads together */
    size_t batch; /* of outputs, where values have memory for a micro-batch */
    bool training;
    int threads;
    bool forced;      /* the caller chose the number of threads */
    bool lockstep;    /* all threads share each node (lockstep.h) */
    double row_flops; /* of one sample, forward */
    int n_values, n_nodes, n_inputs, n_outputs, n_trained, n_parts, n_reports, n_hosts;
    int loops; /* how many */
    int n_external_grads, n_once, n_faults, n_penalties, n_gradientless;
    struct cdl_tensor *values;
    struct cdl_node *nodes;
    struct cdl_tensor **inputs, **outputs;
    struct cdl_tensor **external_grads; /* that get their gradients from the caller */
    struct cdl_trained *trained;
    struct cdl_host *hosts;   /* one an instruction that has one */
    struct cdl_fault *faults; /* one an instruction that may have one */
    struct cdl_derived *derived;
    int n_derived;
    struct cdl_trained *parts; /* of those that several instructions use */
    struct cdl_node **reports;
    double **states; /* one a report */
    size_t *state_sizes;
    double penalty, penalty_total, penalty_count;
    struct cdl_ranks ranks; /* all: 0 if this process is the only one */
    float *joined;          /* CDL_HEADER and the gradients of all parts, if there are ranks */
    size_t joined_floats;
    bool holds; /* parts hold gradients that have not been joined */
    int n_groups;
    struct cdl_group_def groups[CDL_MAX_GROUPS];
    struct cdl_rules rules;
    struct cdl_program *after; /* run once all have learned, or NULL */
    bool keeps_grads;  /* gradients are kept, and nothing learns before all of them are there */
    bool reaches;      /* some parameter's step depends on lengths (learn/tensorwise.h) */
    bool limits_norms; /* some parameter's columns do not grow beyond a norm */
    bool may_fail;     /* a host or a fault may end a run */
    bool settles;    /* a node, or a program after it, has something to do once all have learned */
    bool derives[2]; /* in evaluation, in training: rows of derived weights change in a run */
    bool follows_batches; /* in training a node changes parameters as it goes forward */
    bool mixes_rows;      /* samples of a batch see each other in predictions too */
    bool keeps_order;     /* and a sample what the one in its place of the batch before has left */
    bool reads_rows;   /* the first node is dense, and alone reads the first input, line by line */
    bool learns_later; /* after the backward pass of all nodes, not each after its own */
    bool is_long;      /* a batch takes so long that the watch is looked at within it */
    size_t piece;      /* samples that are gathered or copied out between two looks */
    size_t micro;      /* samples of a micro-batch (micro.c), or 0 */
    size_t slots;      /* in lockstep: of micro-batches that have memory */
    double *saved;     /* the states of reports when the batch began, where it has several parts */
    size_t block;      /* rows that a prediction takes through all nodes, each thread its own */
    struct cdl_watch watch;
    float *undo; /* undo_floats: what parameters were whose step takes long (kept.c) */
    size_t undo_floats;
    float *saved_params; /* what the parameters were that ops change as they go forward, or NULL */
    float *arena;
    size_t floats, least_floats; /* of the arena; of what lives at one moment */
    float *thread_scratch; /* thread_floats a thread: CDL_THREAD_SCRATCH, or what an op asks for */
    size_t thread_floats;
    float *tensorwise_scratch; /* tensorwise_floats a thread, for rows of learn/tensorwise.h */
    size_t tensorwise_floats;
};

/* Arithmetic that is worth waking threads for: about 60 us on one core. */
#define CDL_REGION_FLOPS 1.5e7

/* loops.c: which nodes loops run, or NULL; then what is kept of them for all iterations. */
const char *cdl_find_loops(struct cdl_program *program);
void cdl_link_loops(struct cdl_program *program);

/* link.c: which gradients flow, what one thread does for all, and where the others wait for it. */
void cdl_link(struct cdl_program *program);

/* pieces.c: what is done at a time, before the watch is looked at again; whether gradients are kept
 * for its sake. */
cdl_status cdl_cut(struct cdl_program *program);

/* micro.c: whether batches go through in micro-batches, and of how many samples; then, if a single
 * thread takes one after the other, there is memory for one alone. */
cdl_status cdl_split(struct cdl_program *program, const struct cdl_program_def *def);

/* derived.c: *param becomes what it is rounded to a dtype, made once for all nodes that read it so.
 */
cdl_status cdl_round_param(struct cdl_program *program, struct cdl_trained *trained,
                           enum cdl_dtype dtype, bool pairs, struct cdl_param **param);
/* NULL, or what does not fit of a normalization that a node's weights are to hold; and that the
 * kernel and the bias become W f and (b - mean) f + beta with f = gamma / sqrt(variance + epsilon).
 */
const char *cdl_check_folds(const struct cdl_node *node, bool training);
cdl_status cdl_fold_params(struct cdl_program *program, struct cdl_node *node);
void cdl_link_derived(struct cdl_program *program);
void cdl_destroy_derived(struct cdl_program *program);

/* narrow.c: whether values of bfloat16 become floats for a node, block by block; floats that this
 * takes a thread; samples [first, last) of a pass. */
bool cdl_is_narrow(const struct cdl_node *node);
size_t cdl_narrow_floats(const struct cdl_node *node);
void cdl_pass_narrow(cdl_pass_fn *phase, const struct cdl_node *node, const struct cdl_context *ctx,
                     size_t first, size_t last);

/* kept.c: the floats of a parameter whose step takes long, with all that it changes; else 0. */
size_t cdl_undo_floats(const struct cdl_program *program, const struct cdl_trained *trained);

/* plan.c: gives every value, gradient and scratch its place in one arena, and allocates it. */
cdl_status cdl_plan(struct cdl_program *program);

/* Whether the node's parameters learn, or somebody reads its gradient; whether an input gets a
 * gradient from it. */
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

extern const struct cdl_op_row {
    const char *name, *signature, *meaning; /* as in ops.def */
    const struct cdl_op *op;
} cdl_ops[];
extern const int cdl_n_ops;

#endif
