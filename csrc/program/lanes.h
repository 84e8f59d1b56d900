/* lanes.h - small members of many models, sixteen at a time, each in a lane of the vectors: its
 * weights, what the optimizer keeps of them, and its values (ops/lanes.h). lanes.c makes the lanes
 * of a program, lanes_run.c runs members in them.
 */
#ifndef CDL_PROGRAM_LANES_H
#define CDL_PROGRAM_LANES_H

#include "ops/lanes.h"
#include "program/run.h"

/* A value in its views. Where a sample has one number both are the same memory. */
struct cdl_lanes_value {
    struct cdl_tensor in[CDL_N_VIEWS];
    struct cdl_tensor by_columns; /* by elements, with one line a sample */
    struct cdl_tensor across;     /* by elements, as a value of all members' samples (op.h) */
    bool is_in[CDL_N_VIEWS];
    enum cdl_view home; /* in which it is made, and its gradient read */
};

struct cdl_member_lanes {
    const struct cdl_program *program;
    const struct cdl_host_params *host;
    struct cdl_member *members[CDL_LINE]; /* NULL: none, or it has ended or is lost */
    struct cdl_lanes_value *values;
    struct cdl_node *nodes;
    struct cdl_lane_keys *keys; /* one a node, for those that draw */
    int64_t *numbers;           /* of these, with the seeds of one member after the other */
    struct cdl_param *params;   /* by elements, one for each of the host's */
    bool *changes;              /* whether training changes that parameter */
    struct cdl_trained *trained;
    size_t rows; /* capacity */
    bool draws;  /* a node does */
    bool decays; /* weights decay by the rate, which then must be one */
    float derived[CDL_MAX_GROUPS][CDL_MAX_DERIVED * CDL_LINE]; /* of the step, by lane */
    float *arena, *g, *scratch; /* scratch: a weight of all members, or what they report */
    double *states;             /* reports of the epoch, of one member after the other */
    /* Penalties of weights in a step, and their sum over the samples of the epoch, by lane. */
    double penalties[CDL_LINE], penalty_totals[CDL_LINE];
};

/* Lanes for a program; NULL if it has an op or a rule that cannot run there, or if it is so large
 * that they would not pay. */
struct cdl_member_lanes *cdl_lanes_create(const struct cdl_program *program,
                                          const struct cdl_host_params *host);
void cdl_lanes_destroy(struct cdl_member_lanes *lanes);

/* Takes in the first member that waits, with those of the others that go in step with it; false if
 * there are too few. Their weights and orders come by cdl_lanes_begin. */
bool cdl_lanes_enter(struct cdl_member_lanes *lanes, struct cdl_member *const *members, size_t n);
void cdl_lanes_begin(struct cdl_member_lanes *lanes);

/* Other threads may end members while one looks for some that wait. */
static inline bool cdl_member_waits(const struct cdl_member *member) {
    return __atomic_load_n(&member->state, __ATOMIC_RELAXED) == CDL_WAITS;
}

/* Are there members in the lanes? */
bool cdl_lanes_are_in(const struct cdl_member_lanes *lanes);

/* Within a region: epochs of the members in the lanes until `end`; false if the run is to end.
 * `polls`: this is the thread that called. */
bool cdl_lanes_run(struct cdl_member_lanes *lanes, struct cdl_program *program, double end,
                   bool polls);

/* Was that member in the lanes? Its weights are then written back, or dropped. */
bool cdl_lanes_leave(struct cdl_member_lanes *lanes, const struct cdl_member *member, bool back);

/* members.c: draws the orders of a member that are not yet there. */
void cdl_member_draws(struct cdl_member *member);

/* members.c: gives the nodes of a program a member's seeds. */
void cdl_take_seeds(const struct cdl_node *nodes, const struct cdl_host_params *host,
                    const struct cdl_member *member);

#endif
