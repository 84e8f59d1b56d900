/* map.c - y = an expression of up to eight values, element by element.
 *
 * A value has the shape of y or is repeated: each of its lines, of y's width or of one number,
 * serves as many lines of y; its gradient is the sum of theirs. One that is shared serves each
 * sample. Within the expression there may be
 * columns: sums of lines and the like, and what is made of them.
 *
 * The numbers are its byte code (cdl/_ir/bytecode.py writes and explains it): how many steps are
 * forward, those, and the steps backward. It is decoded once, when the program is built, without
 * the steps that serve only gradients that nobody wants. What the registers hold stays in the L1
 * cache; backward computes again what it needs of it.
 */
#include "ops/lines.h"
#include "ops/shared.h"

enum { N_FORWARD, STEPS }; /* of the code: how many steps are forward; all steps */

static const int64_t *steps_of(const struct cdl_node *node, bool backward) {
    return node->numbers + STEPS + (backward ? node->numbers[N_FORWARD] : 0);
}

static size_t n_steps_of(const struct cdl_node *node, bool backward) {
    const size_t forward = (size_t)node->numbers[N_FORWARD];
    return backward ? node->n_numbers - STEPS - forward : forward;
}

/* A step is a whole number whose bytes are the primitive, where to, three operands, and a mask of
 * the gradients that it serves. */
struct word {
    uint8_t primitive, to, from[3];
    unsigned mask;
};
static struct word word_of(int64_t number) {
    const uint64_t bits = (uint64_t)number;
    return (struct word){
        .primitive = (uint8_t)bits,
        .to = (uint8_t)(bits >> 8),
        .from = {(uint8_t)(bits >> 16), (uint8_t)(bits >> 24), (uint8_t)(bits >> 32)},
        .mask = (unsigned)(bits >> 40),
    };
}

static bool is_column(int o) {
    return o >= CDL_MAP_COLUMN && o < CDL_MAP_COLUMN + CDL_MAP_REGISTERS;
}

static bool is_constant(int o) { return o >= CDL_MAP_CONSTANT; }

static bool can_read(const struct cdl_node *node, bool backward, int o) {
    if (o < CDL_MAP_INPUT) return true;
    if (o < CDL_MAP_INPUT + node->n_in) return true;
    if (o == CDL_MAP_DY || o == CDL_MAP_Y) return backward;
    return is_constant(o) && o < CDL_MAP_CONSTANT + (int)node->n_data;
}

static bool can_write(const struct cdl_node *node, bool backward, int o, unsigned mask) {
    if (o < CDL_MAP_INPUT) return true;
    const int k = o - CDL_MAP_OUTPUT;
    return k >= 0 && k < (backward ? node->n_in : 1) && mask == 1U << k;
}

#define ARITY_OF(NAME, ARITY) ARITY,
static int arity_of(int primitive) {
    static const uint8_t arity[] = {CDL_ELEMENTWISE(ARITY_OF) CDL_LINEWISE(ARITY_OF)};
    return arity[primitive];
}

static unsigned columns_of(const struct word *step) {
    unsigned columns = 0;
    for (int j = 0; j < arity_of(step->primitive); j++)
        columns |= (unsigned)is_column(step->from[j]) << j;
    return columns;
}

#define IS_MIXED(NAME, COLUMNS)                                                                    \
    if (primitive == CDL_ELEMENTWISE_##NAME && columns == (COLUMNS)) return true;
static bool is_mixed(int primitive, unsigned columns) {
    CDL_MIXED(IS_MIXED)
    return false;
}

/* Does a step read and write columns where its primitive does? */
static bool is_of_one_kind(const struct word *step) {
    const unsigned columns = columns_of(step), all = (1U << arity_of(step->primitive)) - 1;
    const bool gives_column = is_column(step->to);
    unsigned constants = 0;
    for (int j = 0; j < arity_of(step->primitive); j++)
        constants |= (unsigned)is_constant(step->from[j]) << j;
    if (step->primitive == CDL_LINEWISE_spread) return columns == all && !gives_column;
    if (step->primitive > CDL_LINEWISE_spread) return !(columns | constants) && gives_column;
    if (gives_column) return (columns | constants) == all;
    return columns == 0 || is_mixed(step->primitive, columns);
}

static const char *check_code(const struct cdl_node *node, bool backward) {
    const int64_t *steps = steps_of(node, backward);
    for (size_t s = 0; s < n_steps_of(node, backward); s++) {
        CDL_EXPECT(steps[s] >= 0 && steps[s] < (int64_t)1 << 48,
                   "steps: expected whole numbers of 48 bits");
        const struct word step = word_of(steps[s]);
        CDL_EXPECT(step.primitive < CDL_MAP_PRIMITIVES, "steps: expected primitives of the table");
        CDL_EXPECT(can_write(node, backward, step.to, step.mask),
                   "steps: expected results in a register or an output of their own");
        for (int j = 0; j < arity_of(step.primitive); j++)
            CDL_EXPECT(can_read(node, backward, step.from[j]),
                       "steps: expected operands that there are in this direction");
        CDL_EXPECT(is_of_one_kind(&step), "steps: expected all of columns, or of elements");
    }
    return NULL;
}

static bool is_repeated(const struct cdl_tensor *x, const struct cdl_tensor *y) {
    return !cdl_same_shape(x, y) || x->shared != y->shared;
}

static const char *check_operand(const struct cdl_tensor *x, const struct cdl_tensor *y) {
    if (!is_repeated(x, y)) return cdl_check_alike(x, y);
    CDL_EXPECT(!cdl_is_int(x) && !cdl_is_int(y), "x, output: expected floats");
    CDL_EXPECT(y->width > 1 && (x->width == 1 || x->width == y->width) && y->lines % x->lines == 0,
               "output: expected the shape of x, or its lines repeated");
    return NULL;
}

/* Resources that the steps of one direction use. */
struct use {
    int n_registers;
    unsigned wide_constants;
    bool of_lines;
};

static void note(struct use *use, const struct word *step) {
    const bool of_elements = !is_column(step->to);
    use->of_lines |= step->primitive > CDL_LINEWISE_none;
    if (step->to < CDL_MAP_REGISTERS && step->to >= use->n_registers)
        use->n_registers = step->to + 1;
    for (int j = 0; j < arity_of(step->primitive); j++) {
        const int from = step->from[j];
        if (from < CDL_MAP_REGISTERS && from >= use->n_registers) use->n_registers = from + 1;
        if (is_constant(from) && of_elements)
            use->wide_constants |= 1U << (from - CDL_MAP_CONSTANT);
    }
}

static struct use use_of(const struct cdl_node *node, bool backward, unsigned wanted) {
    struct use use = {0};
    for (size_t s = 0; s < n_steps_of(node, backward); s++) {
        const struct word step = word_of(steps_of(node, backward)[s]);
        if (step.mask & wanted) note(&use, &step);
    }
    return use;
}

/* Is there room in a piece for a whole line of all that is kept, where a step needs whole lines? */
static const char *check_lines(const struct cdl_node *node) {
    const struct cdl_tensor *y = node->out[0];
    const size_t floats = cdl_round_up(y->width, 64); /* as pieces are cut in kernels/map.h */
    for (int backward = 0; backward < 2; backward++) {
        const struct use use = use_of(node, backward, ~0U);
        if (!use.of_lines) continue;
        size_t chunks = (size_t)use.n_registers;
        for (int c = 0; c < CDL_MAP_CONSTANTS; c++) chunks += use.wide_constants >> c & 1;
        for (int k = 0; k < node->n_in; k++)
            chunks += is_repeated(node->in[k], y) ? 1 + (size_t)backward : 0;
        CDL_EXPECT(y->width > 1, "output: expected lines of several numbers");
        CDL_EXPECT(chunks * floats <= CDL_MAP_ROOM_OF_LINES, "output: expected shorter lines");
    }
    return NULL;
}

static const char *check(const struct cdl_node *node) {
    for (int k = 0; k < node->n_in; k++) CDL_CHECK(check_operand(node->in[k], node->out[0]));
    CDL_EXPECT(node->n_data <= CDL_MAP_CONSTANTS, "constants: expected fewer");
    CDL_EXPECT(node->numbers[N_FORWARD] >= 0 &&
                   (size_t)node->numbers[N_FORWARD] <= node->n_numbers - STEPS,
               "code: expected as many steps as it says");
    CDL_EXPECT(n_steps_of(node, false) <= CDL_MAP_STEPS && n_steps_of(node, true) <= CDL_MAP_STEPS,
               "code: expected fewer steps");
    CDL_CHECK(check_code(node, false));
    CDL_CHECK(check_code(node, true));
    return check_lines(node);
}

/* Some 4 flops an element and step: a function takes about 20, a sum 1. */
static double flops(const struct cdl_node *node) {
    return 4.0 * (double)node->numbers[N_FORWARD] *
           (double)(node->out[0]->lines * node->out[0]->width);
}

struct code {
    struct {
        int n_steps;
        struct use use;
    } way[2];
    uint8_t plain, products; /* as in struct cdl_map */
    struct cdl_map_step steps[];
};

static struct code *code_of(const struct cdl_node *node) { return node->code; }

static size_t code_bytes(const struct cdl_node *node) {
    const size_t steps = n_steps_of(node, false) + n_steps_of(node, true);
    return sizeof(struct code) + steps * sizeof(struct cdl_map_step);
}

/* Is a step the gradient by a repeated input, a copy of that by the result? It is added up without
 * one. */
static bool is_plain(const struct cdl_node *node, const struct word *step) {
    const int k = step->to - CDL_MAP_OUTPUT;
    return step->primitive == CDL_ELEMENTWISE_copy && step->from[0] == CDL_MAP_DY && k >= 0 &&
           is_repeated(node->in[k], node->out[0]);
}

/* Is a step the product of elements that a repeated line gets as its gradient? */
static bool is_product(const struct cdl_node *node, const struct cdl_map_step *step) {
    const int k = step->to - CDL_MAP_OUTPUT;
    return step->primitive == CDL_ELEMENTWISE_multiply && !step->columns && k >= 0 &&
           is_repeated(node->in[k], node->out[0]) && node->in[k]->width > 1;
}

static void decode(const struct cdl_node *node, const struct cdl_kernels *kernels, bool backward,
                   unsigned wanted, struct cdl_map_step *to) {
    int n_steps = 0;
    for (size_t s = 0; s < n_steps_of(node, backward); s++) {
        const struct word word = word_of(steps_of(node, backward)[s]);
        if (!(word.mask & wanted)) continue;
        if (is_plain(node, &word)) {
            code_of(node)->plain |= (uint8_t)word.mask;
            continue;
        }
        struct cdl_map_step *step = &to[n_steps++];
        *step = (struct cdl_map_step){
            .primitive = word.primitive, .to = word.to, .of_columns = is_column(word.to)};
        if (!step->of_columns) step->columns = (uint8_t)columns_of(&word);
        memcpy(step->from, word.from, sizeof step->from);
        kernels->elementwise_loop(word.primitive, step->columns, &step->loop);
        step->adds = backward && is_product(node, step);
        if (step->adds) code_of(node)->products |= (uint8_t)word.mask;
    }
    code_of(node)->way[backward].n_steps = n_steps;
    code_of(node)->way[backward].use = use_of(node, backward, wanted);
}

static void derive(const struct cdl_node *node, const struct cdl_kernels *kernels) {
    unsigned wanted = 0;
    for (int k = 0; k < node->n_in; k++) wanted |= (unsigned)node->needs[k] << k;
    struct cdl_map_step *steps = code_of(node)->steps;
    code_of(node)->plain = code_of(node)->products = 0;
    decode(node, kernels, false, 1, steps);
    decode(node, kernels, true, wanted, steps + code_of(node)->way[false].n_steps);
}

static struct cdl_map map_of(const struct cdl_node *node, size_t first, size_t last,
                             bool backward) {
    const struct cdl_tensor *y = node->out[0];
    const struct code *code = code_of(node);
    struct cdl_map map = {.lines = (last - first) * y->lines,
                          .width = y->width,
                          .ld = y->ld,
                          .backward = backward,
                          .of_lines = code->way[backward].use.of_lines,
                          .plain = backward ? code->plain : 0,
                          .products = backward ? code->products : 0,
                          .n_steps = code->way[backward].n_steps,
                          .n_registers = code->way[backward].use.n_registers,
                          .n_constants = (int)node->n_data,
                          .wide_constants = code->way[backward].use.wide_constants,
                          .steps = code->steps + (backward ? code->way[false].n_steps : 0),
                          .constants = node->data};
    for (int k = 0; k < node->n_in; k++) {
        const struct cdl_tensor *x = node->in[k];
        map.in[k] = cdl_rows(x, first);
        if (is_repeated(x, y))
            map.repeat[k] = (struct cdl_map_repeat){y->lines / x->lines, x->ld,
                                                    x->shared == y->shared ? SIZE_MAX : y->lines,
                                                    x->width == 1};
    }
    return map;
}

static bool gives(const struct cdl_node *node, int k) {
    const int64_t *steps = steps_of(node, true);
    unsigned all = 0;
    for (size_t s = 0; s < n_steps_of(node, true); s++) all |= word_of(steps[s]).mask;
    return all >> k & 1;
}

static bool reads_back(const struct cdl_node *node, int k) {
    const int64_t *steps = steps_of(node, true);
    const int operand = k == CDL_OUTPUT ? CDL_MAP_Y : CDL_MAP_INPUT + k;
    unsigned wanted = 0;
    bool any = false;
    for (int i = 0; i < node->n_in; i++) wanted |= (unsigned)node->needs[i] << i;
    for (size_t s = 0; s < n_steps_of(node, true); s++) {
        const struct word step = word_of(steps[s]);
        for (size_t j = 0; j < sizeof step.from && (step.mask & wanted); j++)
            any |= step.from[j] == operand;
    }
    return any;
}

static void forward(CDL_PASS) {
    struct cdl_map map = map_of(node, first, last, false);
    map.out[0] = cdl_rows(node->out[0], first);
    ctx->kernels->map(&map);
}

static size_t lines_of(const struct cdl_tensor *x, size_t rows) {
    return x->shared ? x->lines : rows * x->lines;
}

/* Gradients of samples; by shared inputs they are sums, of a block at most. */
static void give(CDL_PASS) {
    struct cdl_map map = map_of(node, first, last, true);
    map.in[CDL_MAP_DY - CDL_MAP_INPUT] = cdl_grad_rows(node->out[0], first);
    map.in[CDL_MAP_Y - CDL_MAP_INPUT] = cdl_rows(node->out[0], first);
    for (int k = 0; k < node->n_in; k++) {
        const struct cdl_tensor *x = node->in[k];
        if (!node->needs[k]) continue;
        if (cdl_shared_floats(node, k))
            map.out[k] = cdl_shared_sums(node, ctx, k, first / CDL_ROW_BLOCK);
        else
            map.out[k] = cdl_grad_rows(x, first);
        if (map.repeat[k].run)
            memset(map.out[k], 0, lines_of(x, last - first) * x->ld * sizeof(float));
    }
    if (map.n_steps || map.plain) ctx->kernels->map(&map);
    for (int k = 0; k < node->n_in; k++) {
        const struct cdl_tensor *x = node->in[k];
        if (map.out[k] && map.products >> k & 1)
            cdl_clear_pads(x, map.out[k], lines_of(x, last - first));
    }
}

static void backward(CDL_PASS) {
    if (!node->mixes) {
        give(node, ctx, first, last);
        return;
    }
    CDL_EACH_BLOCK(block, first, last) give(node, ctx, block.first, block.last);
}

#define BY_CODE                                                                                    \
    .check = check, .code_bytes = code_bytes, .derive = derive, .flops = flops,                    \
    .scratch_floats = cdl_shared_scratch, .forward = forward,                                      \
    .backward = {{backward}, {cdl_add_shared, CDL_THREADS, .mixes = true}}, .any_samples = true,   \
    .gives = gives, .reads_back = reads_back, .all_inputs = true, .mixes = true,                   \
    .bf16 = CDL_BF16_THROUGH_FLOATS, .parts = CDL_BY_MICRO_BATCHES
const struct cdl_op cdl_op_map = {BY_CODE};

/* The steps backward are not the derivatives of those forward, but what the user wants instead. */
const struct cdl_op cdl_op_custom_gradient = {BY_CODE};
