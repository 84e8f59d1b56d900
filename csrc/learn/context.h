/* context.h - what a run tells those who work in it: the batch, the step, who takes which rows. */
#ifndef CDL_LEARN_CONTEXT_H
#define CDL_LEARN_CONTEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/memory.h"
#include "base/watch.h"
#include "kernels/kernels.h"
#include "learn/step.h"

/* Threads cut a batch at multiples of this: no two threads share the sum of a block, and a kernel's
 * vectors and tail fall on the same rows at any number of threads. */
enum { CDL_ROW_BLOCK = 16 };

static inline size_t cdl_row_blocks(size_t rows) {
    return (rows + CDL_ROW_BLOCK - 1) / CDL_ROW_BLOCK;
}

/* The block of samples that begins at `first`, of those before `last`. */
struct cdl_row_block {
    size_t first, last, rows, number;
};
static inline struct cdl_row_block cdl_row_block_at(size_t first, size_t last) {
    const size_t rows = cdl_min(last - first, CDL_ROW_BLOCK);
    return (struct cdl_row_block){first, first + rows, rows, first / CDL_ROW_BLOCK};
}
#define CDL_EACH_BLOCK(B, FIRST, LAST)                                                             \
    for (struct cdl_row_block B = cdl_row_block_at(FIRST, LAST); B.first < (LAST);                 \
         B = cdl_row_block_at(B.last, LAST))

/* Floats that update() may always use in thread_scratch: one block of a weight's gradient. */
enum { CDL_CHUNK = 64, CDL_THREAD_SCRATCH = CDL_CHUNK * CDL_PANEL };

/* Makes of n floats the sums of those of all processes that train one model, the same to the bit on
 * each. `step`: the floats are those of a step, CDL_HEADER and all gradients; else what an op needs
 * of the whole batch. False: the run ends on all of them, and its batch is void. */
typedef bool cdl_join_fn(void *who, float *floats, size_t n, bool step);

/* Memory for the floats of a step where those processes may see each other's; NULL: the program's
 * own is as good. */
typedef float *cdl_block_fn(void *who, size_t n);

/* Of several processes that take a share each of the rows of every batch, this one. */
struct cdl_ranks {
    int rank, all;
    cdl_join_fn *join;
    cdl_block_fn *block;
    void *who;
    bool ended; /* the last join said so */
    bool own;   /* a pass has this one's rows alone, and every other process as many */
    bool leaves;
    size_t leaf_floats; /* from a leaf's gradients to those of the next */
};

/* Where sums are to have the same bits for any number of processes, a batch has up to so many
 * leaves, of whole blocks of samples. Each has a place for its gradients; the caller's join adds
 * the places up as a tree, into the first. */
enum { CDL_LEAVES = 8 };

/* What travels in front of the gradients; the caller's join fills the rest. */
enum { CDL_HEADER_FAULTS, CDL_HEADER = 16 };

/* The state of a run that ops may read. */
struct cdl_context {
    const struct cdl_kernels *kernels;
    bool training;
    int stage; /* of an op with forward_stages or backward_stages, from 0 */
    /* Within a loop: which iteration, of how many, and how many numbers of each generator that the
     * user has seeded the iterations before have drawn. Else 0. */
    size_t iteration, iterations;
    uint64_t drawn;
    size_t rows;  /* live samples that the node sees: of this batch, or 1 if it is shared */
    size_t start; /* number of row 0 in the caller's arrays; in predictions it may wrap */
    size_t batch; /* live samples of this batch */
    /* Where several processes share the batches: all samples of this one, and at what multiples of
     * samples it is cut among them. Else `batch`, CDL_ROW_BLOCK and NULL. */
    size_t joined, unit;
    struct cdl_ranks *ranks;
    bool keeps;  /* parts hold gradients of batches before, which have not been joined */
    bool last;   /* of the batches of a pass */
    size_t leaf; /* floats in front of the gradients of the leaf that learns */
    size_t seen; /* where a leaf learns, all samples of the passes before; else 0 */
    /* Of a batch in micro-batches (program/micro.c): samples of one, or 0; of the (joined) batch,
     * row 0 of the values; and where update() begins among those, whether a sum of gradients is
     * there from samples before, and whether more samples come before anything learns. */
    size_t micro, first, row;
    bool adds, more;
    size_t slot;         /* above 0: where gradients are left for cdl_learn_slots(), instead */
    int thread, threads; /* which of how many; in predictions threads share nothing and are 1 */
    float *scratch;      /* this thread's: what thread_floats() of its ops ask for */
    size_t scratch_floats;
    uint64_t seed, step;
    struct cdl_watch *watch; /* NULL: the run does not end here, since the step is short or begun */
    bool asks;               /* whether this thread looks after the watch */
    struct cdl_step optimizer;
};

/* The sums of all processes, by the thread that called; other threads wait behind a barrier. */
void cdl_join(const struct cdl_context *ctx, float *floats, size_t n);

/* Whether what the samples of all processes have in common counts here: it does so once. */
static inline bool cdl_counts_shared(const struct cdl_context *ctx) {
    return !ctx->ranks || (ctx->ranks->rank == 0 && ctx->leaf == 0);
}

/* Samples of the passes forward and back: an update may be of `rows` of them, from `row` on. */
static inline size_t cdl_seen_rows(const struct cdl_context *ctx) {
    return ctx->seen ? ctx->seen : ctx->rows;
}

/* Whether the gradients of this batch, and those that parts hold, are joined: unless more come
 * before anything learns from them. */
static inline bool cdl_joins_now(const struct cdl_context *ctx) {
    return !ctx->ranks || ctx->optimizer.apply || ctx->last;
}

/* Whether to leave the work: nothing will come of it. Between pieces of 10 us and more. */
static inline bool cdl_stopped(const struct cdl_context *ctx) {
    return ctx->watch && cdl_watch_stops(ctx->watch, ctx->asks);
}

#endif
