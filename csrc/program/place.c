/* place.c - first fit: each buffer in turn goes to the lowest offset that is free while it lives.
 * Three orders are tried; the one that needs least memory is taken.
 *
 * By birth, best for nets without branches: gaps are taken and given back as time goes on. By
 * death, the same with time running backward, often better for training nets that branch. By size,
 * the largest first, better still for some nets, but each buffer is compared with all that live
 * beside it: it is not tried with more than MOST_BY_SIZE buffers.
 */
#include "program/program.h"

#include <stdlib.h>

enum { MOST_BY_SIZE = 8192 };

static int by_birth(const void *a, const void *b) {
    const struct cdl_buffer *x = a, *y = b;
    if (x->birth != y->birth) return x->birth < y->birth ? -1 : 1;
    if (x->floats != y->floats) return x->floats > y->floats ? -1 : 1;
    return x->number < y->number ? -1 : x->number > y->number;
}

static int by_size(const void *a, const void *b) {
    const struct cdl_buffer *x = a, *y = b;
    if (x->floats != y->floats) return x->floats > y->floats ? -1 : 1;
    return by_birth(a, b);
}

static int by_death(const void *a, const void *b) {
    const struct cdl_buffer *const *x = a, *const *y = b;
    return (*x)->death<(*y)->death ? -1 : (*x)->death>(*y)->death;
}

static size_t end_of(const struct cdl_buffer *buffer) { return buffer->tried + buffer->floats; }

/* Sorts by birth, and fills `dying` in order of death. */
static void sort(struct cdl_buffer *buffers, int n, struct cdl_buffer **dying) {
    qsort(buffers, (size_t)n, sizeof *buffers, by_birth);
    for (int i = 0; i < n; i++) dying[i] = &buffers[i];
    qsort(dying, (size_t)n, sizeof(struct cdl_buffer *), by_death);
}

/* Gaps of an endless arena, by offset; no two touch. The last one has no end. */
struct gaps {
    struct gap {
        size_t offset, floats;
    } *all;
    size_t n;
};

static void drop(struct gaps *gaps, struct gap *at) {
    memmove(at, at + 1, (size_t)(gaps->all + --gaps->n - at) * sizeof *at);
}

/* Takes the lowest place of so many floats (not 0). */
static size_t take(struct gaps *gaps, size_t floats) {
    struct gap *gap = gaps->all;
    while (gap->floats < floats) gap++;
    const size_t offset = gap->offset;
    gap->offset += floats;
    gap->floats -= floats;
    if (!gap->floats) drop(gaps, gap);
    return offset;
}

/* Joins a gap to the one above it if they touch. */
static void join(struct gaps *gaps, struct gap *gap) {
    if (gap->offset + gap->floats != gap[1].offset) return;
    gap->floats += gap[1].floats;
    drop(gaps, gap + 1);
}

static void give(struct gaps *gaps, size_t offset, size_t floats) {
    struct gap *gap = gaps->all;
    while (gap->offset < offset) gap++;
    memmove(gap + 1, gap, (size_t)(gaps->all + gaps->n++ - gap) * sizeof *gap);
    *gap = (struct gap){offset, floats};
    join(gaps, gap);
    if (gap > gaps->all) join(gaps, gap - 1);
}

/* Placement in order of birth: buffers that have died give their places back first. */
static cdl_status place_by_birth(struct cdl_buffer *buffers, int n, struct cdl_buffer **dying,
                                 size_t *top) {
    struct gaps gaps = {.all = malloc(((size_t)n + 2) * sizeof *gaps.all), .n = 1};
    if (!gaps.all) return CDL_ERR_NO_MEMORY;
    gaps.all[0] = (struct gap){0, SIZE_MAX / 2};
    sort(buffers, n, dying);
    *top = 0;
    for (int i = 0, dead = 0; i < n; i++) {
        for (; dying[dead]->death < buffers[i].birth; dead++) {
            if (dying[dead]->floats) give(&gaps, dying[dead]->tried, dying[dead]->floats);
        }
        buffers[i].tried = buffers[i].floats ? take(&gaps, buffers[i].floats) : 0;
        if (end_of(&buffers[i]) > *top) *top = end_of(&buffers[i]);
    }
    free(gaps.all);
    return CDL_OK;
}

/* Reverses time; twice is the identity. */
static void turn_time(struct cdl_buffer *buffers, int n) {
    for (int i = 0; i < n; i++) {
        const int birth = buffers[i].birth;
        buffers[i].birth = -buffers[i].death;
        buffers[i].death = -birth;
    }
}

static bool meet(const struct cdl_buffer *a, const struct cdl_buffer *b) {
    return a->death >= b->birth && b->death >= a->birth;
}

/* The lowest offset that is free while a buffer lives, among n that are placed, by offset. */
static size_t fit(const struct cdl_buffer *buffer, int n, struct cdl_buffer *const *placed) {
    size_t offset = 0;
    for (int j = 0; j < n; j++) {
        const struct cdl_buffer *other = placed[j];
        if (!meet(other, buffer)) continue;
        if (other->tried >= offset + buffer->floats) break;
        if (end_of(other) > offset) offset = end_of(other);
    }
    return offset;
}

/* Placement by size, the largest first; `placed` has room for all. */
static size_t place_by_size(struct cdl_buffer *buffers, int n, struct cdl_buffer **placed) {
    qsort(buffers, (size_t)n, sizeof *buffers, by_size);
    size_t top = 0;
    for (int i = 0; i < n; i++) {
        struct cdl_buffer *buffer = &buffers[i];
        buffer->tried = fit(buffer, i, placed);
        if (end_of(buffer) > top) top = end_of(buffer);
        int at = i;
        for (; at > 0 && placed[at - 1]->tried > buffer->tried; at--) placed[at] = placed[at - 1];
        placed[at] = buffer;
    }
    return top;
}

/* Peak of live floats, from buffers in order of birth and `dying` in that of death. */
static size_t most_at_once(const struct cdl_buffer *buffers, int n,
                           struct cdl_buffer *const *dying) {
    size_t most = 0, now = 0;
    for (int i = 0, dead = 0; i < n; i++) {
        for (; dying[dead]->death < buffers[i].birth; dead++) now -= dying[dead]->floats;
        now += buffers[i].floats;
        if (now > most) most = now;
    }
    return most;
}

static void keep_better(struct cdl_buffer *buffers, int n, size_t taken, size_t *top) {
    if (taken >= *top) return;
    *top = taken;
    for (int i = 0; i < n; i++) buffers[i].offset = buffers[i].tried;
}

static cdl_status place(struct cdl_buffer *buffers, int n, struct cdl_buffer **order, size_t *top,
                        size_t *least) {
    size_t taken;
    *top = SIZE_MAX;
    CDL_TRY(place_by_birth(buffers, n, order, &taken));
    keep_better(buffers, n, taken, top);
    *least = most_at_once(buffers, n, order);
    if (*top == *least) return CDL_OK;
    turn_time(buffers, n);
    CDL_TRY(place_by_birth(buffers, n, order, &taken));
    turn_time(buffers, n);
    keep_better(buffers, n, taken, top);
    if (*top > *least && n <= MOST_BY_SIZE)
        keep_better(buffers, n, place_by_size(buffers, n, order), top);
    return CDL_OK;
}

cdl_status cdl_place(struct cdl_buffer *buffers, int n, size_t *top, size_t *least) {
    struct cdl_buffer **order = calloc((size_t)n + 1, sizeof(struct cdl_buffer *));
    if (!order) return CDL_ERR_NO_MEMORY;
    for (int i = 0; i < n; i++) buffers[i].number = i;
    const cdl_status status = place(buffers, n, order, top, least);
    free(order);
    return status;
}
