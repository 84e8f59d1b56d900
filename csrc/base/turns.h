/* turns.h - teams of threads and single threads in turn, beside busy processes.
 *
 * A thread that has lost its core gets it back milliseconds later, and the others wait longer than
 * a step takes. So on a crowded machine a team lets a single thread run for a turn, and the faster
 * of the two continues, for longer the more often it has won.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* The turn that is on, of one thread or of the team; the turn before it, of the other, or nothing;
 * and which has won, how often. All 0 at first. */
struct cdl_turns {
    bool alone, alone_won;
    double length, wins;
    struct cdl_turn {
        double seconds;
        size_t rows; /* that runs of so many seconds have computed */
    } now, other;
};

static inline bool cdl_turn_ends(const struct cdl_turns *turns) {
    return turns->now.seconds >= turns->length && turns->now.rows;
}

void cdl_next_turn(struct cdl_turns *turns, bool is_crowded);
