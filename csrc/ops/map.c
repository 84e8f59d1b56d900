/* map.c - y = an expression of up to eight values of one shape, element by element.
 *
 * The numbers are its byte code (cdl/_bytecode.py writes and explains it), forward and backward:
 * how many constants and steps there are, constants, steps. What the registers hold stays in the L1
 * cache; backward computes again what it needs of it. Backward skips steps that serve only
 * gradients that nobody wants.
 */
#include "ops/op.h"

#include <math.h>

enum { N_CONSTANTS, N_FORWARD, N_BACKWARD, CONSTANTS }; /* numbers */

static const double *steps_of(const struct cdl_node *node, bool backward) {
    const double *forward = node->numbers + CONSTANTS + (size_t)node->numbers[N_CONSTANTS];
    return backward ? forward + (size_t)node->numbers[N_FORWARD] : forward;
}

/* A step is a whole number whose bytes are the primitive, where to, three operands, and a mask. */
static struct cdl_map_step step_of(double number) {
    const uint64_t bits = (uint64_t)number;
    return (struct cdl_map_step){
        .primitive = (uint8_t)bits,
        .to = (uint8_t)(bits >> 8),
        .from = {(uint8_t)(bits >> 16), (uint8_t)(bits >> 24), (uint8_t)(bits >> 32)},
    };
}
static unsigned mask_of(double number) { return (unsigned)((uint64_t)number >> 40); }

static bool is_count(double number, double most) {
    return number >= 0.0 && number <= most && number == floor(number);
}

static bool can_read(const struct cdl_node *node, bool backward, int o) {
    if (o < CDL_MAP_REGISTERS) return true;
    if (o >= CDL_MAP_INPUT && o < CDL_MAP_INPUT + node->n_in) return true;
    if (o == CDL_MAP_DY || o == CDL_MAP_Y) return backward;
    return o >= CDL_MAP_CONSTANT && o < CDL_MAP_CONSTANT + (int)node->numbers[N_CONSTANTS];
}

static bool can_write(const struct cdl_node *node, bool backward, int o, unsigned mask) {
    if (o < CDL_MAP_REGISTERS) return true;
    const int k = o - CDL_MAP_OUTPUT;
    return k >= 0 && k < (backward ? node->n_in : 1) && mask == 1U << k;
}

static bool is_code(const struct cdl_node *node, bool backward) {
    static const int arity[] = {
#define X(NAME, ARITY) ARITY,
        CDL_ELEMENTWISE(X)
#undef X
    };
    const double *steps = steps_of(node, backward);
    for (int s = 0; s < (int)node->numbers[backward ? N_BACKWARD : N_FORWARD]; s++) {
        if (!is_count(steps[s], 0x1p48)) return false;
        const struct cdl_map_step step = step_of(steps[s]);
        if (step.primitive >= CDL_N_ELEMENTWISE) return false;
        if (!can_write(node, backward, step.to, mask_of(steps[s]))) return false;
        for (int j = 0; j < arity[step.primitive]; j++) {
            if (!can_read(node, backward, step.from[j])) return false;
        }
    }
    return true;
}

static cdl_status check(const struct cdl_node *node) {
    const struct cdl_tensor *y = node->out[0];
    const double *n = node->numbers;
    for (int k = 0; k < node->n_in; k++) {
        const struct cdl_tensor *x = node->in[k];
        if (x->is_int || x->lines != y->lines || x->width != y->width) return CDL_ERR_PROGRAM;
    }
    if (node->n_numbers < CONSTANTS || !is_count(n[N_CONSTANTS], CDL_MAP_CONSTANTS) ||
        !is_count(n[N_FORWARD], CDL_MAP_STEPS) || !is_count(n[N_BACKWARD], CDL_MAP_STEPS) ||
        (double)node->n_numbers != CONSTANTS + n[N_CONSTANTS] + n[N_FORWARD] + n[N_BACKWARD])
        return CDL_ERR_PROGRAM;
    return is_code(node, false) && is_code(node, true) ? CDL_OK : CDL_ERR_PROGRAM;
}

/* Some 4 flops an element and step: a function takes about 20, a sum 1. */
static double flops(const struct cdl_node *node) {
    return 4.0 * node->numbers[N_FORWARD] * (double)(node->out[0]->lines * node->out[0]->width);
}

/* Registers up to the last one that a step names. */
static int registers_of(const struct cdl_map_step *step, int so_far) {
    const uint8_t named[] = {step->to, step->from[0], step->from[1], step->from[2]};
    for (size_t i = 0; i < sizeof named; i++) {
        if (named[i] < CDL_MAP_REGISTERS && named[i] >= so_far) so_far = named[i] + 1;
    }
    return so_far;
}

static void run(const struct cdl_node *node, const struct cdl_context *ctx, struct cdl_map *map,
                bool backward, unsigned wanted) {
    const double *steps = steps_of(node, backward);
    for (int s = 0; s < (int)node->numbers[backward ? N_BACKWARD : N_FORWARD]; s++) {
        if (!(mask_of(steps[s]) & wanted)) continue;
        map->steps[map->n_steps] = step_of(steps[s]);
        map->n_registers = registers_of(&map->steps[map->n_steps++], map->n_registers);
    }
    map->n_constants = (int)node->numbers[N_CONSTANTS];
    map->constants = node->numbers + CONSTANTS;
    ctx->kernels->map(map);
}

static struct cdl_map map_of(const struct cdl_node *node, size_t first, size_t last) {
    const struct cdl_tensor *y = node->out[0];
    struct cdl_map map = {.lines = (last - first) * y->lines, .width = y->width, .ld = y->ld};
    for (int k = 0; k < node->n_in; k++) map.in[k] = cdl_rows(node->in[k], first);
    return map;
}

static bool gives(const struct cdl_node *node, int k) {
    const double *steps = steps_of(node, true);
    unsigned all = 0;
    for (int s = 0; s < (int)node->numbers[N_BACKWARD]; s++) all |= mask_of(steps[s]);
    return all >> k & 1;
}

static void forward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                    size_t last) {
    struct cdl_map map = map_of(node, first, last);
    map.out[0] = cdl_rows(node->out[0], first);
    run(node, ctx, &map, false, 1);
}

static void backward(const struct cdl_node *node, const struct cdl_context *ctx, size_t first,
                     size_t last) {
    struct cdl_map map = map_of(node, first, last);
    unsigned wanted = 0;
    map.in[CDL_MAP_DY - CDL_MAP_INPUT] = cdl_grad_rows(node->out[0], first);
    map.in[CDL_MAP_Y - CDL_MAP_INPUT] = cdl_rows(node->out[0], first);
    for (int k = 0; k < node->n_in; k++) {
        if (!node->needs[k]) continue;
        map.out[k] = cdl_grad_rows(node->in[k], first);
        wanted |= 1U << k;
    }
    if (wanted) run(node, ctx, &map, true, wanted);
}

const struct cdl_op cdl_op_map = {
    .name = "map",
    .attributes = "",
    .params = "",
    .check = check,
    .flops = flops,
    .forward = forward,
    .backward = backward,
    .gives = gives,
    .many = true,
};
