/* members.c - many models that are alike train with the program of one of them.
 *
 * A member's weights, and what the optimizer keeps of them, are copied to the parameters of the
 * program, train there for all epochs, and are copied back, or up to sixteen members train at once
 * in lanes (lanes.h): the weights of a small net are
 * a few kilobytes, while a program of its own would take longer to make than to run. The bits are
 * those of the member alone.
 */
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "program/lanes.h"
#include "program/shuffle.h"
#include "program/steps.h"

static void copy_params(struct cdl_param *const *from, struct cdl_param *const *to, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const size_t bytes = cdl_param_floats(to[i]) * sizeof(float);
        /* A frozen weight stays: members of other threads may have it, too. */
        if (memcmp(to[i]->w, from[i]->w, bytes) == 0) continue;
        memcpy(to[i]->w, from[i]->w, bytes);
        cdl_param_changes(to[i]);
    }
}

/* Copies of weights that a member has as floats row by row. */
static void copy_floats(const struct cdl_host_params *host, const struct cdl_member *member,
                        bool back) {
    for (size_t i = 0; i < host->n_params; i++) {
        if (back) {
            cdl_param_get(host->params[i], member->floats[i]);
            continue;
        }
        cdl_param_set(host->params[i], member->floats[i]);
        cdl_param_changes(host->params[i]);
    }
}

void cdl_take_seeds(const struct cdl_node *nodes, const struct cdl_host_params *host,
                    const struct cdl_member *member) {
    for (size_t i = 0; i < host->n_seeds; i++) {
        const struct cdl_seed_place *place = &host->seeds[i];
        /* Numbers of a node are its own copy. */
        ((int64_t *)nodes[place->instruction].numbers)[place->number] = member->seeds[i];
    }
}

void cdl_member_enters(const struct cdl_program *program, const struct cdl_host_params *host,
                       struct cdl_member *member) {
    if (member->params)
        copy_params(member->params, host->params, host->n_params);
    else
        copy_floats(host, member, false);
    cdl_take_seeds(program->nodes, host, member);
    member->state = CDL_IS_IN;
}

void cdl_member_draws(struct cdl_member *member) {
    const size_t rows = member->epoch.rows, drawn = member->drawn;
    if (!member->draws || drawn >= member->epochs) return;
    cdl_row_orders_draw(member->draws, rows, member->first, member->orders + drawn * rows,
                        member->epochs - drawn);
    member->drawn = member->epochs;
}

void cdl_member_leaves(const struct cdl_host_params *host, struct cdl_member *member) {
    if (member->state != CDL_IS_IN) return;
    member->state = CDL_ENDED;
    for (size_t i = 0; i < host->n_lanes; i++) {
        if (cdl_lanes_leave(host->lanes[i], member, true)) return;
    }
    if (member->params)
        copy_params(host->params, member->params, host->n_params);
    else
        copy_floats(host, member, true);
}

void cdl_member_is_freed(const struct cdl_host_params *host, const struct cdl_member *member) {
    for (size_t i = 0; i < host->n_lanes; i++) cdl_lanes_leave(host->lanes[i], member, false);
}

bool cdl_are_finite(const double *numbers, size_t n) {
    double lost = 0.0;
    for (size_t i = 0; i < n; i++) lost += numbers[i] - numbers[i];
    return lost == 0.0;
}

/* Epochs of a member; false if the run is to end. */
static bool run_member(struct cdl_program *program, struct cdl_member *member, double end) {
    const size_t doubles = cdl_found_doubles(program);
    while (member->done < member->epochs) {
        double *found = member->found + member->done * doubles;
        const int64_t *order = member->orders + member->done * member->epoch.rows;
        bool stops = false;
        const bool finished = cdl_train_epoch(program, &member->epoch, order, found, &stops);
        if (!finished && cdl_watch_stopped(&program->watch)) return false;
        if (!finished || !cdl_are_finite(found, doubles)) {
            member->state = CDL_LOST;
            return !stops;
        }
        member->done++;
        if (stops || cdl_now() >= end) return false;
    }
    return true;
}

/* Threads that take groups of members into their lanes, one group after the other. */
struct lanes_job {
    struct cdl_program *program;
    const struct cdl_host_params *host;
    struct cdl_member *const *members;
    size_t n, next; /* members; the first that may wait and has not been tried */
    double end;
    atomic_bool stops;
    pthread_mutex_t lock; /* of `next` and of who waits */
};

static bool takes_in(struct lanes_job *job, struct cdl_member_lanes *lanes) {
    bool takes = false;
    pthread_mutex_lock(&job->lock);
    for (; job->next < job->n && !takes; job->next += !takes) {
        const size_t i = job->next;
        takes = cdl_member_waits(job->members[i]) &&
                cdl_lanes_enter(lanes, job->members + i, job->n - i);
    }
    pthread_mutex_unlock(&job->lock);
    if (takes) cdl_lanes_begin(lanes);
    return takes;
}

static void lanes_work(void *arg, struct cdl_team *team, int thread) {
    struct lanes_job *job = arg;
    /* A team may be smaller than the one of the call before. */
    for (size_t i = (size_t)thread; i < job->host->n_lanes; i += (size_t)team->size) {
        struct cdl_member_lanes *lanes = job->host->lanes[i];
        while (cdl_lanes_are_in(lanes) || (i == (size_t)thread && takes_in(job, lanes))) {
            if (cdl_lanes_run(lanes, job->program, job->end, thread == 0)) continue;
            atomic_store(&job->stops, true);
            break;
        }
    }
}

/* Members that are in lanes, and those that can be; false if the run is to end. */
static bool run_lanes(struct cdl_program *program, const struct cdl_host_params *host,
                      struct cdl_member *const *members, size_t n, double end) {
    struct lanes_job job = {program, host, members, n, 0, end, false, PTHREAD_MUTEX_INITIALIZER};
    size_t most = cdl_min(host->n_lanes, (n + CDL_LINE - 1) / CDL_LINE), busy = 0;
    for (size_t i = 0; i < host->n_lanes; i++) {
        if (cdl_lanes_are_in(host->lanes[i])) busy = i + 1;
    }
    cdl_prepare(program, program->training);
    cdl_region((int)cdl_max(most, busy), lanes_work, &job);
    pthread_mutex_destroy(&job.lock);
    return !job.stops;
}

void cdl_train_members(struct cdl_program *program, const struct cdl_host_params *host,
                       struct cdl_member *const *members, size_t n, double seconds) {
    const double end = cdl_now() + seconds;
    cdl_watch_begin(&program->watch);
    if (host->n_lanes && !run_lanes(program, host, members, n, end)) return;
    for (size_t i = 0; i < n; i++) {
        struct cdl_member *member = members[i];
        if (member->state == CDL_ENDED || member->state == CDL_LOST) continue;
        if (member->state == CDL_WAITS) cdl_member_enters(program, host, member);
        cdl_member_draws(member);
        const bool goes_on = run_member(program, member, end);
        if (member->done == member->epochs) cdl_member_leaves(host, member);
        if (!goes_on) return;
    }
}

size_t cdl_predict_members(struct cdl_program *program, const struct cdl_host_params *host,
                           const struct cdl_member_rows *of, size_t done, double seconds) {
    const double end = cdl_now() + seconds;
    const struct cdl_tensor *value = program->outputs[0];
    size_t before = 0;
    for (size_t k = 0; k < done; k++) before += (size_t)of->rows[k];
    float *output = of->output + before * value->lines * value->width;
    for (double now = 0.0; done < of->n && now < end; now = cdl_now()) {
        const size_t rows = (size_t)of->rows[done];
        struct cdl_array array = *of->array;
        array.data += of->firsts[done] * array.strides[0];
        for (size_t i = 0; i < host->n_params; i++) {
            const size_t numbers = host->params[i]->rows * host->params[i]->cols;
            cdl_param_set(host->params[i], of->stacks[i] + done * numbers);
            cdl_param_changes(host->params[i]);
        }
        cdl_predict(program, &array, rows, &output, (struct cdl_draws){0});
        if (cdl_watch_stopped(&program->watch) || cdl_has_failed(program)) break;
        output += rows * value->lines * value->width;
        done++;
    }
    return done;
}
