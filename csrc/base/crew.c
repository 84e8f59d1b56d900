/* crew.c - threads of cdl's own: kept between regions, spinning a while, then asleep. */
#define _GNU_SOURCE
#include "base/crew.h"

#ifdef CDL_HAS_CREW
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/pause.h"
#include "base/threads.h"

/* A pause takes 10 to 50 ns. Regions follow each other in microseconds as long as there is work;
 * who waits longer than some 60 us leaves the core to others. STACK is Linux's for a first thread;
 * that of others is 512 KB on macOS. */
enum { SPINS = 4000, STACK = 8 << 20 };

struct crew {
    int workers;
    pthread_t worker[CDL_MAX_THREADS];
    atomic_uint calls;                   /* of regions: workers wait for the next */
    atomic_int running;                  /* workers that have not finished the last one */
    int size;                            /* threads of the region, the caller among them */
    void (*work)(void *arg, int thread); /* NULL ends the workers */
    void *arg;
    pthread_mutex_t lock;
    pthread_cond_t called, finished;
};

struct start {
    struct crew *crew;
    int thread;
    unsigned seen; /* calls before this worker came */
};

static _Thread_local struct crew *own;
static _Thread_local bool within;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;

static void *live(void *given) {
    const struct start start = *(struct start *)given;
    struct crew *crew = start.crew;
    free(given);
    within = true;
    for (unsigned seen = start.seen;; seen++) {
        for (int spins = 0; spins < SPINS && atomic_load(&crew->calls) == seen; spins++)
            cdl_pause();
        if (atomic_load(&crew->calls) == seen) {
            pthread_mutex_lock(&crew->lock);
            while (atomic_load(&crew->calls) == seen) pthread_cond_wait(&crew->called, &crew->lock);
            pthread_mutex_unlock(&crew->lock);
        }
        if (!crew->work) return NULL;
        if (start.thread < crew->size) crew->work(crew->arg, start.thread);
        if (atomic_fetch_sub(&crew->running, 1) == 1) {
            pthread_mutex_lock(&crew->lock);
            pthread_cond_signal(&crew->finished);
            pthread_mutex_unlock(&crew->lock);
        }
    }
}

static void call(struct crew *crew, void (*work)(void *, int), void *arg, int size) {
    crew->work = work;
    crew->arg = arg;
    crew->size = size;
    atomic_store(&crew->running, crew->workers);
    pthread_mutex_lock(&crew->lock);
    atomic_fetch_add(&crew->calls, 1);
    pthread_cond_broadcast(&crew->called);
    pthread_mutex_unlock(&crew->lock);
}

/* At the end of the thread that owns the crew. */
static void end(void *given) {
    struct crew *crew = given;
    call(crew, NULL, NULL, 0);
    for (int i = 0; i < crew->workers; i++) pthread_join(crew->worker[i], NULL);
    pthread_cond_destroy(&crew->called);
    pthread_cond_destroy(&crew->finished);
    pthread_mutex_destroy(&crew->lock);
    free(crew);
}

static void make_key(void) { pthread_key_create(&key, end); }

static struct crew *found(void) {
    pthread_once(&once, make_key);
    if (!own) {
        own = calloc(1, sizeof *own);
        if (!own) return NULL;
        pthread_mutex_init(&own->lock, NULL);
        pthread_cond_init(&own->called, NULL);
        pthread_cond_init(&own->finished, NULL);
        pthread_setspecific(key, own);
    }
    return own;
}

/* Signals are for threads of Python. */
static bool join(struct crew *crew) {
    struct start *start = malloc(sizeof *start);
    if (!start) return false;
    *start = (struct start){crew, crew->workers + 1, atomic_load(&crew->calls)};
    sigset_t all, before;
    sigfillset(&all);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const bool made = pthread_create(&crew->worker[crew->workers], &attributes, live, start) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (!made) free(start);
    crew->workers += made;
    return made;
}

bool cdl_crew_run(int *size, void (*work)(void *arg, int thread), void *arg) {
    struct crew *crew = within ? NULL : found();
    if (!crew) return false;
    while (crew->workers + 1 < *size && join(crew)) continue;
    if (crew->workers + 1 < *size) *size = crew->workers + 1;
    if (*size < 2) return false;
    within = true;
    call(crew, work, arg, *size);
    work(arg, 0);
    for (int spins = 0; spins < SPINS && atomic_load(&crew->running) > 0; spins++) cdl_pause();
    if (atomic_load(&crew->running) > 0) {
        pthread_mutex_lock(&crew->lock);
        while (atomic_load(&crew->running) > 0) pthread_cond_wait(&crew->finished, &crew->lock);
        pthread_mutex_unlock(&crew->lock);
    }
    within = false;
    return true;
}

void cdl_crew_forget(void) {
    if (own) pthread_setspecific(key, NULL);
    own = NULL;
    within = false;
}
#endif
