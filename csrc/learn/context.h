/* context.h - the context of a run for ops: the batch, the step, the rows of each thread. */
#pragma once

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

/* Scratch that update() always has in ctx->scratch: one block of a weight's gradient. */
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
    bool own;   /* epochs have only this process's rows, equally many on each */
    bool leaves;
    size_t leaf_floats; /* stride from a leaf's gradients to the next leaf's */
};

/* Leaves of a reproducible sum, with the same bits for any number of processes: a batch has up to
 * so many, of whole blocks of samples. Each has a place for its gradients; the caller's join adds
 * the places up as a tree, into the first. */
enum { CDL_LEAVES = 8 };

/* Header in front of the gradients; the caller's join fills the rest. */
enum { CDL_HEADER_FAULTS, CDL_HEADER = 16 };

/* Samples of an update: n from `first` on. Updates of one step that add to each other have at most
 * `most` samples each, which alone decides the order of blocks: each of them has its thread. */
struct cdl_rows {
    size_t first, n, most;
};

/* Sink of an update's gradients, block by block (cdl_learn): they are added to what earlier samples
 * left, and left for later ones, or learned from. */
struct cdl_sink {
    bool adds, leaves;
    size_t slot; /* place of what is left: a slot of its own, or 0: the sum */
    size_t leaf; /* offset of the gradients of a leaf (CDL_LEAVES) */
};
extern const struct cdl_sink cdl_all_here; /* no earlier and no later samples */

/* The state of a run that ops may read. */
struct cdl_context {
    const struct cdl_kernels *kernels;
    bool training;
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
    bool keeps;          /* parts hold unjoined gradients of earlier batches */
    bool last;           /* last batch of an epoch */
    size_t micro;        /* samples of a micro-batch (program/micro.c), or 0 */
    size_t first;        /* place of row 0 in the (joined) batch */
    int thread, threads; /* number of the thread, and of all; threads of a prediction share nothing:
                            all are 1 */
    float *scratch; /* scratch of this thread, the most that thread_floats() of its ops ask for */
    size_t scratch_floats;
    uint64_t seed, step;
    const struct cdl_step *owed; /* steps that blocks which nobody read may owe, the oldest first;
                                    NULL: no block may owe any */
    size_t n_owed;
    struct cdl_watch
        *watch; /* interrupts; NULL: this step cannot end, being short or in its update */
    bool polls; /* this thread polls the watch */
    struct cdl_step optimizer;
};

/* Sums over all processes, by the calling thread; other threads wait at a barrier. */
void cdl_join(const struct cdl_context *ctx, float *floats, size_t n);

/* Do contributions shared by all processes count here? They do so once. */
static inline bool cdl_counts_shared(const struct cdl_context *ctx) {
    return !ctx->ranks || ctx->ranks->rank == 0;
}

/* A thread's share of n samples or other things, [first, last): whole blocks of `block`, dealt as
 * evenly as possible. */
struct cdl_range {
    size_t first, last;
};
static inline struct cdl_range cdl_share(size_t block, size_t n, int thread, int threads) {
    const size_t blocks = (n + block - 1) / block, t = (size_t)thread, all = (size_t)threads;
    const size_t first = blocks * t / all * block, last = blocks * (t + 1) / all * block;
    return (struct cdl_range){first, cdl_min(last, n)};
}
static inline struct cdl_range cdl_own_blocks(const struct cdl_context *ctx, size_t block,
                                              size_t n) {
    return cdl_share(block, n, ctx->thread, ctx->threads);
}
static inline struct cdl_range cdl_own(const struct cdl_context *ctx, size_t n) {
    return cdl_own_blocks(ctx, 1, n);
}

/* Are gradients of this batch and of parts joined now? Yes, unless more come before the update. */
static inline bool cdl_joins_now(const struct cdl_context *ctx) {
    return !ctx->ranks || ctx->optimizer.apply || ctx->last;
}

/* Must the work stop, since nothing will come of it? Polled between pieces of 10 us and more. */
static inline bool cdl_stopped(const struct cdl_context *ctx) {
    return ctx->watch && cdl_watch_stops(ctx->watch, ctx->polls);
}
