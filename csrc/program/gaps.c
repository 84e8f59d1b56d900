/* gaps.c - a treap of free places; see gaps.h. */
#include "program/gaps.h"

#include <stdbool.h>
#include <stdlib.h>

#include "base/memory.h"
#include "base/rng.h"

static size_t most_of(const struct cdl_gap *gap) { return gap ? gap->most : 0; }

static struct cdl_gap *known(struct cdl_gap *gap) {
    const size_t left = most_of(gap->left), right = most_of(gap->right);
    const size_t below = cdl_max(left, right);
    gap->most = cdl_max(gap->floats, below);
    return gap;
}

/* Splits a tree at `offset`. */
static void split(struct cdl_gap *gap, size_t offset, struct cdl_gap **low, struct cdl_gap **high) {
    if (!gap) {
        *low = *high = NULL;
    } else if (gap->offset < offset) {
        split(gap->right, offset, &gap->right, high);
        *low = known(gap);
    } else {
        split(gap->left, offset, low, &gap->left);
        *high = known(gap);
    }
}

/* Joins two trees, all of `low` below all of `high`. */
static struct cdl_gap *joined(struct cdl_gap *low, struct cdl_gap *high) {
    if (!low) return high;
    if (!high) return low;
    if (low->priority < high->priority) {
        low->right = joined(low->right, high);
        return known(low);
    }
    high->left = joined(low, high->left);
    return known(high);
}

cdl_status cdl_gaps_open(struct cdl_gaps *gaps, size_t buffers) {
    const size_t n = buffers + 2; /* a gap above each buffer, one below all, one in transit */
    *gaps = (struct cdl_gaps){.all = calloc(n, sizeof *gaps->all)};
    if (!gaps->all) return CDL_ERR_NO_MEMORY;
    for (size_t i = 0; i < n; i++) {
        gaps->all[i].priority = cdl_mix64(i);
        gaps->all[i].right = i + 1 < n ? &gaps->all[i + 1] : NULL;
    }
    gaps->spare = gaps->all;
    cdl_gaps_give(gaps, 0, SIZE_MAX / 2);
    return CDL_OK;
}

void cdl_gaps_close(struct cdl_gaps *gaps) { free(gaps->all); }

static void spare(struct cdl_gaps *gaps, struct cdl_gap *gap) {
    gap->right = gaps->spare;
    gaps->spare = gap;
}

/* Cuts so many floats from the lowest gap that has them, and drops the gap if nothing is left. */
static struct cdl_gap *cut(struct cdl_gaps *gaps, struct cdl_gap *gap, size_t floats, size_t *at) {
    if (most_of(gap->left) >= floats) {
        gap->left = cut(gaps, gap->left, floats, at);
    } else if (gap->floats >= floats) {
        *at = gap->offset;
        gap->offset += floats;
        gap->floats -= floats;
        if (!gap->floats) {
            struct cdl_gap *rest = joined(gap->left, gap->right);
            spare(gaps, gap);
            return rest;
        }
    } else {
        gap->right = cut(gaps, gap->right, floats, at);
    }
    return known(gap);
}

size_t cdl_gaps_take(struct cdl_gaps *gaps, size_t floats) {
    size_t at = 0;
    gaps->root = cut(gaps, gaps->root, floats, &at);
    return at;
}

/* Removes the gap that ends or begins at an offset; NULL if there is none. */
static struct cdl_gap *touching(struct cdl_gap **tree, size_t offset, bool ends) {
    struct cdl_gap **place = tree, *gap, *low, *high;
    while (*place && (ends ? (*place)->right : (*place)->left))
        place = ends ? &(*place)->right : &(*place)->left;
    gap = *place;
    if (!gap || (ends ? gap->offset + gap->floats : gap->offset) != offset) return NULL;
    split(*tree, ends ? gap->offset : gap->offset + 1, &low, &high);
    *tree = ends ? low : high;
    return gap;
}

void cdl_gaps_give(struct cdl_gaps *gaps, size_t offset, size_t floats) {
    struct cdl_gap *low, *high, *gap = gaps->spare;
    gaps->spare = gap->right;
    split(gaps->root, offset, &low, &high);
    struct cdl_gap *below = touching(&low, offset, true);
    struct cdl_gap *above = touching(&high, offset + floats, false);
    gap->offset = below ? below->offset : offset;
    gap->floats = floats + (below ? below->floats : 0) + (above ? above->floats : 0);
    gap->left = gap->right = NULL;
    if (below) spare(gaps, below);
    if (above) spare(gaps, above);
    gaps->root = joined(joined(low, known(gap)), high);
}
