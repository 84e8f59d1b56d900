/* lanes.c - lanes of a program: copies of its nodes and values, by elements or by members. */
#include "program/lanes.h"

#include <stdlib.h>
#include <string.h>

#include "base/caches.h"
#include "learn/tensorwise.h"
#include "program/program.h"

/* Samples of a batch whose gradients of weights are one chain of sums (products/gradient.c). */
enum { MOST_ROWS = 2048 };

static bool value_fits(const struct cdl_tensor *value) {
    return value->lines == 1 && !value->shared && !value->fault && !value->external_grad &&
           (cdl_is_int(value) || value->dtype == CDL_DTYPE_float32);
}

static bool node_fits(const struct cdl_node *node) {
    const struct cdl_lanes_op *lanes = node->op->lanes;
    if (!lanes || node->shared || node->loop || node->adds || node->arithmetic != CDL_DIRECT)
        return false;
    return !lanes->fits || lanes->fits(node);
}

/* Is `w` the memory of a host parameter, or NULL? Lanes copy only those. */
static bool knows(const struct cdl_host_params *host, const float *w) {
    bool any = !w;
    for (size_t i = 0; i < host->n_params; i++) any |= host->params[i]->w == w;
    return any;
}

/* Numbers of a weight for which lanes pay. Where a line is several registers a tile has fewer
 * columns, and waits for L2: a step of 16-32-1 took 1.07 of the time on AVX2, and 0.9 on AVX-512,
 * one of 8-16-1 0.7 and 0.6. */
static size_t most_numbers(const struct cdl_kernels *kernels) {
    return kernels->line_registers == 1 ? SIZE_MAX : 256;
}

/* Does a parameter learn element by element, from what one instruction hands over? */
static bool trained_fits(const struct cdl_program *program, const struct cdl_host_params *host,
                         const struct cdl_trained *trained) {
    const struct cdl_group_def *group = &program->groups[trained->group];
    bool known = knows(host, trained->average) && knows(host, trained->accumulated);
    for (int s = 0; s < CDL_MAX_SLOTS; s++) known &= knows(host, trained->slots[s]);
    known &= trained->param->rows * trained->param->cols <= most_numbers(program->kernels);
    return known && trained->users == 1 && !trained->gradient && !trained->added_grad &&
           !trained->rounded && trained->constraint != CDL_NORM &&
           trained->dtype != CDL_DTYPE_float16 && !cdl_tensorwise_rules[group->optimizer];
}

static bool fits(const struct cdl_program *program, const struct cdl_host_params *host) {
    bool all = program->training == (program->n_groups > 0) && !program->micro &&
               !program->keeps_grads && !program->may_fail && !program->after &&
               !program->settles && !program->n_parts && !program->derives[program->training] &&
               !program->ranks.all && !program->n_penalties && !program->rules.loss_scale &&
               program->rows <= MOST_ROWS;
    for (int i = 0; i < program->n_values; i++) all &= value_fits(&program->values[i]);
    for (int i = 0; i < program->n_nodes; i++) {
        all &= node_fits(&program->nodes[i]);
        for (int k = 0; k < CDL_MAX_PARAMS; k++) {
            const struct cdl_param *param = program->nodes[i].param[k];
            all &= !param || knows(host, param->w);
        }
    }
    for (int i = 0; i < program->n_trained && all; i++)
        all = trained_fits(program, host, &program->trained[i]);
    return all;
}

/* ---- memory ------------------------------------------------------------------------------------
 */

/* Places in the arena, which comes once all are known. */
struct room {
    float *arena; /* or NULL, while floats are counted */
    size_t floats;
};
static float *take(struct room *room, size_t floats) {
    float *at = room->arena ? room->arena + room->floats : NULL;
    room->floats += cdl_round_up(floats, CDL_LINE);
    return at;
}

static size_t index_of(const struct cdl_member_lanes *lanes, const struct cdl_tensor *value) {
    return (size_t)(value - lanes->program->values);
}

static struct cdl_tensor seen(const struct cdl_tensor *value, enum cdl_view view) {
    struct cdl_tensor tensor = *value;
    tensor.uncached = false;
    tensor.ld = view == CDL_BY_ELEMENTS ? CDL_LINE : cdl_padded(value->width);
    if (view == CDL_BY_ELEMENTS) tensor.lines = value->width, tensor.width = CDL_LINE;
    tensor.row_floats = tensor.lines * tensor.ld;
    return tensor;
}

static void place_value(struct cdl_member_lanes *lanes, struct room *room, int i) {
    struct cdl_lanes_value *value = &lanes->values[i];
    const struct cdl_tensor *of = &lanes->program->values[i];
    const size_t samples = lanes->rows * CDL_LINE;
    float *data = NULL, *grad = NULL;
    bool has_room = false; /* that a view before has taken */
    for (int v = 0; v < CDL_N_VIEWS; v++) {
        if (!value->is_in[v]) continue;
        struct cdl_tensor *tensor = &value->in[v];
        *tensor = seen(of, (enum cdl_view)v);
        if (!has_room || of->width > 1) {
            const size_t floats = samples * (v == CDL_BY_ELEMENTS ? of->width : tensor->ld);
            data = take(room, floats), grad = of->grad ? take(room, floats) : NULL;
        }
        has_room = true;
        tensor->data = data, tensor->grad = grad;
    }
    value->by_columns = value->in[CDL_BY_ELEMENTS];
    value->by_columns.lines = 1;
    value->by_columns.width = value->by_columns.ld = value->by_columns.row_floats;
    value->across = seen(of, CDL_BY_MEMBERS);
    value->across.data = value->in[CDL_BY_ELEMENTS].data;
    value->across.grad = value->in[CDL_BY_ELEMENTS].grad;
    value->across.across = of->width > 1;
}

static void place(struct cdl_member_lanes *lanes, struct room *room) {
    const struct cdl_program *program = lanes->program;
    const struct cdl_host_params *host = lanes->host;
    size_t largest = CDL_LINE, of_node = CDL_LINE; /* elements of a weight; of those of a node */
    for (int i = 0; i < program->n_values; i++) place_value(lanes, room, i);
    for (size_t i = 0; i < host->n_params; i++) {
        const size_t elements = host->params[i]->rows * host->params[i]->cols;
        lanes->params[i] = (struct cdl_param){.rows = elements, .cols = CDL_LINE};
        lanes->params[i].w = take(room, elements * CDL_LINE);
        largest = cdl_max(largest, cdl_round_up(elements, CDL_LINE));
    }
    for (int i = 0; i < program->n_nodes; i++) {
        struct cdl_node *node = &lanes->nodes[i];
        const bool by_members = node->op->lanes->view == CDL_BY_MEMBERS;
        const size_t samples = lanes->rows * (by_members ? CDL_LINE : 1);
        size_t (*floats)(const struct cdl_node *, size_t) = node->op->lanes->scratch_floats;
        if (!floats) floats = node->op->scratch_floats;
        if (floats) node->scratch = take(room, floats(node, samples));
        size_t elements = 0;
        for (int k = 0; k < CDL_MAX_PARAMS; k++)
            elements += node->param[k] ? node->param[k]->rows : 0;
        of_node = cdl_max(of_node, elements);
    }
    lanes->g = take(room, cdl_max(largest, of_node) * CDL_LINE);
    const size_t columns = 2 * cdl_round_up(lanes->rows, CDL_LINE); /* of values and weights */
    lanes->scratch = take(room, cdl_max(largest, columns) * CDL_LINE);
}

/* ---- nodes and weights --------------------------------------------------------------------------
 */

static struct cdl_param *param_of(const struct cdl_member_lanes *lanes,
                                  const struct cdl_param *param) {
    for (size_t i = 0; i < lanes->host->n_params && param; i++) {
        if (lanes->host->params[i] == param) return &lanes->params[i];
    }
    return NULL;
}

static float *floats_of(struct cdl_member_lanes *lanes, const float *w) {
    for (size_t i = 0; i < lanes->host->n_params && w; i++) {
        if (lanes->host->params[i]->w != w) continue;
        lanes->changes[i] = true;
        return lanes->params[i].w;
    }
    return NULL;
}

static void make_trained(struct cdl_member_lanes *lanes, int i) {
    const struct cdl_trained *of = &lanes->program->trained[i];
    struct cdl_trained *trained = &lanes->trained[i];
    *trained = *of;
    trained->penalty = NULL;
    lanes->decays |= of->decay != 0.0f;
    trained->param = param_of(lanes, of->param);
    floats_of(lanes, of->param->w);
    for (int s = 0; s < CDL_MAX_SLOTS; s++) trained->slots[s] = floats_of(lanes, of->slots[s]);
    trained->average = floats_of(lanes, of->average);
    trained->accumulated = floats_of(lanes, of->accumulated);
}

static struct cdl_tensor *tensor_of(const struct cdl_member_lanes *lanes, const struct cdl_node *of,
                                    const struct cdl_tensor *tensor) {
    struct cdl_lanes_value *value = &lanes->values[index_of(lanes, tensor)];
    if (of->op->lanes->by_columns) return &value->by_columns;
    return cdl_is_across(of) ? &value->across : &value->in[of->op->lanes->view];
}

static void make_node(struct cdl_member_lanes *lanes, int i) {
    const struct cdl_node *of = &lanes->program->nodes[i];
    struct cdl_node *node = &lanes->nodes[i];
    if (of->op->lanes->draws) node->code = &lanes->keys[i], lanes->draws = true;
    for (int k = 0; k < of->n_in; k++) node->in[k] = tensor_of(lanes, of, of->in[k]);
    for (int k = 0; k < of->n_out; k++) node->out[k] = tensor_of(lanes, of, of->out[k]);
    const bool follows = lanes->program->training && cdl_follows_batches(of);
    for (int k = 0; k < CDL_MAX_PARAMS; k++) {
        if (of->param[k] && follows) floats_of(lanes, of->param[k]->w);
        node->param[k] = param_of(lanes, of->param[k]);
        if (of->trained[k])
            node->trained[k] = &lanes->trained[of->trained[k] - lanes->program->trained];
    }
}

/* In which views the values are. */
static void find_views(struct cdl_member_lanes *lanes) {
    const struct cdl_program *program = lanes->program;
    for (int i = 0; i < program->n_values; i++) lanes->values[i].home = CDL_BY_MEMBERS;
    for (int i = 0; i < program->n_nodes; i++) {
        const struct cdl_node *node = &program->nodes[i];
        const enum cdl_view view = cdl_view_of(node);
        for (int k = 0; k < node->n_in; k++)
            lanes->values[index_of(lanes, node->in[k])].is_in[view] = true;
        for (int k = 0; k < node->n_out; k++) {
            lanes->values[index_of(lanes, node->out[k])].home = view;
            lanes->values[index_of(lanes, node->out[k])].is_in[view] = true;
        }
    }
    for (int i = 0; i < program->n_inputs; i++) { /* which are fed as elements, or turned */
        struct cdl_lanes_value *value = &lanes->values[index_of(lanes, program->inputs[i])];
        if (!value->is_in[CDL_BY_MEMBERS]) value->home = CDL_BY_ELEMENTS;
        value->is_in[CDL_BY_MEMBERS] = true;
    }
}

static bool allocate(struct cdl_member_lanes *lanes) {
    const struct cdl_program *program = lanes->program;
    const size_t params = lanes->host->n_params, nodes = (size_t)program->n_nodes;
    size_t numbers = 0; /* of nodes that draw */
    for (size_t i = 0; i < nodes; i++) {
        if (program->nodes[i].op->lanes->draws) numbers += program->nodes[i].n_numbers;
    }
    lanes->values = calloc((size_t)program->n_values + 1, sizeof *lanes->values);
    lanes->nodes = calloc(nodes + 1, sizeof *lanes->nodes);
    lanes->keys = calloc(nodes + 1, sizeof *lanes->keys);
    lanes->numbers = calloc(numbers + 1, sizeof *lanes->numbers);
    lanes->params = calloc(params + 1, sizeof *lanes->params);
    lanes->changes = calloc(params + 1, sizeof *lanes->changes);
    lanes->trained = calloc((size_t)program->n_trained + 1, sizeof *lanes->trained);
    lanes->states = calloc(cdl_found_doubles(program) * CDL_LINE, sizeof *lanes->states);
    return lanes->values && lanes->nodes && lanes->keys && lanes->numbers && lanes->params &&
           lanes->changes && lanes->trained && lanes->states;
}

static bool make(struct cdl_member_lanes *lanes) {
    const struct cdl_program *program = lanes->program;
    if (!allocate(lanes)) return false;
    memcpy(lanes->nodes, program->nodes, (size_t)program->n_nodes * sizeof *lanes->nodes);
    find_views(lanes);
    int64_t *numbers = lanes->numbers;
    for (int i = 0; i < program->n_nodes; i++) {
        struct cdl_node *node = &lanes->nodes[i];
        make_node(lanes, i);
        if (!node->op->lanes->draws) continue;
        memcpy(numbers, node->numbers, node->n_numbers * sizeof *numbers);
        node->numbers = numbers, numbers += node->n_numbers;
    }
    struct room room = {NULL, 0};
    place(lanes, &room);
    if (room.floats * sizeof(float) > cdl_caches()->l2) return false;
    lanes->arena = cdl_alloc(room.floats);
    if (!lanes->arena) return false;
    room = (struct room){lanes->arena, 0};
    place(lanes, &room);
    for (int i = 0; i < program->n_trained; i++) make_trained(lanes, i);
    return true;
}

struct cdl_member_lanes *cdl_lanes_create(const struct cdl_program *program,
                                          const struct cdl_host_params *host) {
    struct cdl_member_lanes *lanes = fits(program, host) ? calloc(1, sizeof *lanes) : NULL;
    if (!lanes) return NULL;
    lanes->program = program, lanes->host = host, lanes->rows = program->rows;
    if (make(lanes)) return lanes;
    cdl_lanes_destroy(lanes);
    return NULL;
}

void cdl_lanes_destroy(struct cdl_member_lanes *lanes) {
    if (!lanes) return;
    cdl_free(lanes->arena);
    free(lanes->values);
    free(lanes->nodes);
    free(lanes->keys);
    free(lanes->numbers);
    free(lanes->params);
    free(lanes->changes);
    free(lanes->trained);
    free(lanes->states);
    free(lanes);
}
