/* turns.c - turns of a team and of one thread (base/turns.c), on a clock of the test's own. */
#include "base/turns.h"

#include <stdio.h>

/* The turn that is on, of calls of 0.01 s, in which one thread computes `alone` rows and a team
 * `team`; its length in calls. */
static int turn(struct cdl_turns *turns, size_t alone, size_t team, bool is_crowded) {
    int calls = 0;
    do {
        turns->now.seconds += 0.01;
        turns->now.rows += turns->alone ? alone : team;
        calls++;
    } while (!cdl_turn_ends(turns));
    cdl_next_turn(turns, is_crowded);
    return calls;
}

/* Calls by one thread, of so many turns. */
static int alone_of(int n, struct cdl_turns *turns, size_t alone, size_t team, int *all) {
    int calls = 0;
    *all = 0;
    for (int i = 0; i < n; i++) {
        const bool is_alone = turns->alone;
        const int more = turn(turns, alone, team, true);
        *all += more;
        calls += is_alone ? more : 0;
    }
    return calls;
}

int main(void) {
    struct cdl_turns turns = {0};
    int all;
    for (int i = 0; i < 9; i++)
        if (turn(&turns, 5, 2, false), turns.alone) return puts("alone on a free core"), 1;
    const int by_one = alone_of(40, &turns, 5, 2, &all);
    if (by_one < 0.9 * all) return printf("%d of %d calls by one, the faster\n", by_one, all), 1;
    alone_of(4, &turns, 2, 3, &all); /* until the winner's turns are short again */
    const int by_team = alone_of(40, &turns, 2, 3, &all);
    if (by_team > 0.1 * all) return printf("%d of %d calls by one, the slower\n", by_team, all), 1;
    alone_of(4, &turns, 5, 2, &all);
    turn(&turns, 5, 2, false);
    turn(&turns, 5, 2, false);
    if (turns.alone) return puts("alone when the core is free again"), 1;
    return 0;
}
