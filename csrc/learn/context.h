/* context.h - the context of a run for ops: the batch, the step, the rows of each thread. */
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

/* Block of samples from `first` on, of those before `last`. */
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

/* Scratch that update() always has in thread_scratch: one block of a weight's gradient. */
enum { CDL_CHUNK = 64, CDL_THREAD_SCRATCH = CDL_CHUNK * CDL_PANEL };

/* Sums n floats over all processes that train one model, the same to the bit on each. `step`: they
 * are CDL_HEADER and all gradients of a step; else sums that an op needs over the whole batch.
 * False: the run ends on all processes, and the batch is void. */
typedef bool cdl_join_fn(void *who, float *floats, size_t n, bool step);

/* Memory shared by those processes for the floats of a step; NULL: the program's own will do. */
typedef float *cdl_block_fn(void *who, size_t n);

/* This process among those that share the rows of every batch. */
struct cdl_ranks {
    int rank, all;
    cdl_join_fn *join;
    cdl_block_fn *block;
    void *who;
    bool ended; /* the last join ended the run */
    bool own;   /* passes have only this process's rows, equally many on each */
    bool leaves;
    size_t leaf_floats; /* stride from a leaf's gradients to the next leaf's */
};

/* Leaves of a reproducible sum, with the same bits for any number of processes: a batch has up to
 * so many, of whole blocks of samples. Each has a place for its gradients; the caller's join adds
 * the places up as a tree, into the first. */
enum { CDL_LEAVES = 8 };

/* Header in front of the gradients; the caller's join fills the rest. */
enum { CDL_HEADER_FAULTS, CDL_HEADER = 16 };

/* The state of a run that ops may read. */
struct cdl_context {
    const struct cdl_kernels *kernels;
    bool training;
    int stage; /* stage of an op with forward_stages or backward_stages, from 0 */
    /* Within a loop: the iteration, their number, and the draws of earlier iterations per user-
     * seeded generator. Else 0. */
    size_t iteration, iterations;
    uint64_t drawn;
    size_t rows;  /* live samples for the node: of this batch, or 1 if it is shared */
    size_t start; /* index of row 0 in the caller's arrays; in predictions it may wrap */
    size_t batch; /* live samples of this batch */
    /* Joined batch of several processes: its samples, the granularity in samples of a process's
     * share, and the processes. Else `batch`, CDL_ROW_BLOCK and NULL. */
    size_t joined, unit;
    struct cdl_ranks *ranks;
    bool keeps;  /* parts hold unjoined gradients of earlier batches */
    bool last;   /* last batch of a pass */
    size_t leaf; /* offset of the gradients of the current leaf */
    size_t seen; /* samples of the forward and backward pass while a leaf learns; else 0 */
    /* Micro-batches (program/micro.c). micro: samples of one, or 0; first: row 0's place in the
     * (joined) batch; row: start of update() among the rows; adds: gradients of earlier samples are
     * there to add to; more: more samples come before the update. */
    size_t micro, first, row;
    bool adds, more;
    size_t slot;         /* slot for gradients if above 0, for cdl_learn_slots() */
    int thread, threads; /* number of the thread, and of all; threads of a prediction share nothing:
                            all are 1 */
    float *scratch; /* scratch of this thread, the most that thread_floats() of its ops ask for */
    size_t scratch_floats;
    uint64_t seed, step;
    struct cdl_watch
        *watch; /* interrupts; NULL: this step cannot end, being short or in its update */
    bool asks;  /* this thread polls the watch */
    struct cdl_step optimizer;
};

/* Sums over all processes, by the calling thread; other threads wait at a barrier. */
void cdl_join(const struct cdl_context *ctx, float *floats, size_t n);

/* Do contributions shared by all processes count here? They do so once. */
static inline bool cdl_counts_shared(const struct cdl_context *ctx) {
    return !ctx->ranks || (ctx->ranks->rank == 0 && ctx->leaf == 0);
}

/* Samples of the forward and backward pass; an update may take `rows` of them, from `row` on. */
static inline size_t cdl_seen_rows(const struct cdl_context *ctx) {
    return ctx->seen ? ctx->seen : ctx->rows;
}

/* Are gradients of this batch and of parts joined now? Yes, unless more come before the update. */
static inline bool cdl_joins_now(const struct cdl_context *ctx) {
    return !ctx->ranks || ctx->optimizer.apply || ctx->last;
}

/* Must the work stop, since nothing will come of it? Polled between pieces of 10 us and more. */
static inline bool cdl_stopped(const struct cdl_context *ctx) {
    return ctx->watch && cdl_watch_stops(ctx->watch, ctx->asks);
}

#endif
