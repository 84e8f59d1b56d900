/* gaps.h - free places of an endless arena, and search for the lowest one that is large enough.
 *
 * A treap by offset whose nodes know the largest gap below them: taking and giving back cost the
 * logarithm of the number of gaps. A gap's priority is a hash of its number, so that equal calls
 * find equal places.
 */
#ifndef CDL_PROGRAM_GAPS_H
#define CDL_PROGRAM_GAPS_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

struct cdl_gap {
    size_t offset, floats;
    size_t most; /* floats of the largest gap at or below it */
    uint64_t priority;
    struct cdl_gap *left, *right;
};

struct cdl_gaps {
    struct cdl_gap *root;
    struct cdl_gap *spare; /* not in the tree, linked by `right` */
    struct cdl_gap *all;
};

/* Starts with one gap, the whole arena; at most `buffers` may be taken at a time. */
cdl_status cdl_gaps_open(struct cdl_gaps *gaps, size_t buffers);
void cdl_gaps_close(struct cdl_gaps *gaps);

/* Takes the lowest offset with so many free floats (not 0); gives them back. */
size_t cdl_gaps_take(struct cdl_gaps *gaps, size_t floats);
void cdl_gaps_give(struct cdl_gaps *gaps, size_t offset, size_t floats);

#endif
