/* thread_pool.c - the threads of regions: kept in between, spinning a while, then asleep. */
#define _GNU_SOURCE
#include "base/thread_pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/threads.h"

/* Stack of Linux's for a first thread; that of others is 512 KB on macOS, 128 KB with musl. */
enum { STACK = 8 << 20 };

/* Each worker is called by itself: those that a region does not need sleep on, and it does not wait
 * for them. */
struct worker {
    struct pool *pool;
    int number;        /* of the thread in a region */
    atomic_uint calls; /* the worker waits for the next */
    pthread_t thread;
    pthread_cond_t called;
    char apart[64]; /* of another cache line than the next worker's */
};

struct pool {
    int workers;
    struct worker worker[CDL_MAX_THREADS];
    atomic_uint running;                 /* workers that have not finished the last region */
    void (*work)(void *arg, int thread); /* NULL ends the workers */
    void *arg;
    pthread_mutex_t lock;
    pthread_cond_t finished;
};

static _Thread_local struct pool *own;
static _Thread_local bool within;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;

static void *live(void *given) {
    struct worker *self = given;
    struct pool *pool = self->pool;
    within = true;
    for (unsigned seen = 0;; seen++) {
        if (!cdl_changes_soon(&self->calls, seen)) {
            pthread_mutex_lock(&pool->lock);
            while (atomic_load(&self->calls) == seen) pthread_cond_wait(&self->called, &pool->lock);
            pthread_mutex_unlock(&pool->lock);
        }
        if (!pool->work) return NULL;
        pool->work(pool->arg, self->number);
        if (atomic_fetch_sub(&pool->running, 1) == 1) {
            pthread_mutex_lock(&pool->lock);
            pthread_cond_signal(&pool->finished);
            pthread_mutex_unlock(&pool->lock);
        }
    }
}

static void call(struct pool *pool, void (*work)(void *, int), void *arg, int workers) {
    pool->work = work;
    pool->arg = arg;
    atomic_store(&pool->running, (unsigned)workers);
    pthread_mutex_lock(&pool->lock);
    for (int i = 0; i < workers; i++) {
        atomic_fetch_add(&pool->worker[i].calls, 1);
        pthread_cond_signal(&pool->worker[i].called);
    }
    pthread_mutex_unlock(&pool->lock);
}

/* At the end of the thread that owns the pool. */
static void end(void *given) {
    struct pool *pool = given;
    call(pool, NULL, NULL, pool->workers);
    for (int i = 0; i < pool->workers; i++) {
        pthread_join(pool->worker[i].thread, NULL);
        pthread_cond_destroy(&pool->worker[i].called);
    }
    pthread_cond_destroy(&pool->finished);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
    own = NULL;
}

static void make_key(void) { pthread_key_create(&key, end); }

static struct pool *found(void) {
    pthread_once(&once, make_key);
    if (!own) {
        own = calloc(1, sizeof *own);
        if (!own) return NULL;
        pthread_mutex_init(&own->lock, NULL);
        pthread_cond_init(&own->finished, NULL);
        pthread_setspecific(key, own);
    }
    return own;
}

/* Signals are for threads of Python. */
static bool join(struct pool *pool) {
    struct worker *worker = &pool->worker[pool->workers];
    worker->pool = pool;
    worker->number = pool->workers + 1;
    pthread_cond_init(&worker->called, NULL);
    sigset_t all, before;
    sigfillset(&all);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const bool made = pthread_create(&worker->thread, &attributes, live, worker) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (!made) pthread_cond_destroy(&worker->called);
    pool->workers += made;
    return made;
}

bool cdl_thread_pool_run(int *size, void (*work)(void *arg, int thread), void *arg) {
    struct pool *pool = within ? NULL : found();
    if (!pool) return false;
    while (pool->workers + 1 < *size && join(pool)) continue;
    if (pool->workers + 1 < *size) *size = pool->workers + 1;
    if (*size < 2) return false;
    within = true;
    call(pool, work, arg, *size - 1);
    work(arg, 0);
    for (unsigned left; (left = atomic_load(&pool->running)) > 0;) {
        if (cdl_changes_soon(&pool->running, left)) continue;
        pthread_mutex_lock(&pool->lock);
        while (atomic_load(&pool->running) > 0) pthread_cond_wait(&pool->finished, &pool->lock);
        pthread_mutex_unlock(&pool->lock);
    }
    within = false;
    return true;
}

void cdl_thread_pool_forget(void) {
    if (own) pthread_setspecific(key, NULL);
    own = NULL;
    within = false;
}
