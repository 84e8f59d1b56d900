/* lanes.h - ops on sixteen models at a time, each of which has a lane of the vectors.
 *
 * A value lies in one or two views. By elements: of each sample and element a line, with a number
 * of each model. By members: of each sample a row of each model, as it would have alone.
 * Elementwise ops run by elements without change, on lines of CDL_LINE floats; losses and metrics
 * run by members, on sixteen times the samples. Only products (dense_lanes.c) and normalizations of
 * lines, which sum in the order of a single model, and random draws, which use the key of each
 * model, have code of their own. So the bits are those of each model alone.
 */
#pragma once

#include "ops/op.h"

enum cdl_view { CDL_BY_ELEMENTS, CDL_BY_MEMBERS, CDL_N_VIEWS };

struct cdl_lanes_op {
    enum cdl_view view;
    bool by_columns; /* by elements, a sample is one line: columns of statistics have their lane */
    bool draws;      /* the node's `code` has the keys of the lanes, by the seed that is number */
    int seed;        /* `seed` of the node */
    bool (*fits)(const struct cdl_node *node); /* NULL: always */
    /* By members: is the node one that takes its values as elements, across (op.h)? */
    bool (*across)(const struct cdl_node *node);
    cdl_pass_fn *forward, *backward; /* NULL: the op's own */
    size_t (*scratch_floats)(const struct cdl_node *node, size_t rows);
    cdl_update_rows_fn *update;
    /* NULL: report(), of one member after the other. */
    void (*report)(const struct cdl_node *node, const struct cdl_context *ctx, double *states);
};
extern const struct cdl_lanes_op cdl_lanes_dense, cdl_lanes_elementwise, cdl_lanes_columns;

/* Does a node take its values across? And in which view are they? */
static inline bool cdl_is_across(const struct cdl_node *node) {
    return node->op->lanes->across && node->op->lanes->across(node);
}
static inline enum cdl_view cdl_view_of(const struct cdl_node *node) {
    return cdl_is_across(node) ? CDL_BY_ELEMENTS : node->op->lanes->view;
}
