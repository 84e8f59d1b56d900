/* turns.c - choice between a team and a single thread, by measured speed. */
#include "base/turns.h"

#include <math.h>

#define TURN 0.2        /* seconds of a trial */
#define MOST_TURNS 32.0 /* that the winner gets before the next trial */

static void begin(struct cdl_turns *turns, bool alone, double length) {
    turns->alone = alone;
    turns->length = length;
    turns->now = (struct cdl_turn){0};
}

void cdl_next_turn(struct cdl_turns *turns, bool is_crowded) {
    const struct cdl_turn now = turns->now, other = turns->other;
    turns->other = (struct cdl_turn){0};
    if (!turns->alone && !is_crowded) {
        begin(turns, false, TURN);
    } else if (other.rows == 0) {
        turns->other = now;
        begin(turns, !turns->alone, TURN);
    } else {
        const bool slower = now.seconds * (double)other.rows > other.seconds * (double)now.rows;
        const bool alone = turns->alone != slower;
        const double wins = alone == turns->alone_won ? 2.0 * turns->wins : 1.0;
        turns->wins = fmin(fmax(wins, 1.0), MOST_TURNS);
        turns->alone_won = alone;
        begin(turns, alone, turns->wins * now.seconds);
    }
}
