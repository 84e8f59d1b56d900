/* narrow.c - float ops on values of bfloat16, by float scratch for some samples at a time.
 *
 * Such values take two bytes a number in the arena, and the op sees floats only. A block of samples
 * is one whose sums are added up in order (CDL_ROW_BLOCK).
 */
#include "program/steps.h"

enum { MOST_VALUES = CDL_MAX_INPUTS + CDL_MAX_OUTPUTS };

static size_t block_floats(const struct cdl_tensor *value) {
    return CDL_ROW_BLOCK * value->lines * cdl_stride(value->width);
}

size_t cdl_narrow_floats(const struct cdl_node *node) {
    size_t floats = 0;
    for (int v = 0; v < cdl_values_of(node); v++)
        if (cdl_is_bf16(cdl_value_of(node, v))) floats += 2 * block_floats(cdl_value_of(node, v));
    return floats;
}

/* Copy of a node whose bfloat16 values are floats in scratch, for samples from `first` on. */
struct float_view {
    struct cdl_node node;
    struct cdl_tensor values[MOST_VALUES];
};

static void look_at(const struct cdl_node *node, float *scratch, size_t first,
                    struct float_view *view) {
    view->node = *node;
    for (int v = 0; v < cdl_values_of(node); v++) {
        const struct cdl_tensor *value = cdl_value_of(node, v);
        struct cdl_tensor *floats = &view->values[v];
        if (!cdl_is_bf16(value)) continue;
        *floats = *value;
        floats->dtype = CDL_DTYPE_float32;
        floats->ld = cdl_stride(value->width);
        floats->row_floats = value->lines * floats->ld;
        const uintptr_t before = first * floats->row_floats * sizeof(float);
        floats->data = (float *)((uintptr_t)scratch - before);
        scratch += block_floats(value);
        if (value->grad) floats->grad = (float *)((uintptr_t)scratch - before);
        scratch += block_floats(value);
        *(v < node->n_in ? &view->node.in[v] : &view->node.out[v - node->n_in]) = floats;
    }
}

/* Does a pass read the numbers of value v, or (gradient) its gradient? Does it write them? */
static bool reads(const struct cdl_node *node, bool back, int v, bool gradient) {
    const bool is_in = v < node->n_in;
    if (gradient) return back && !is_in && cdl_value_of(node, v)->grad;
    if (!back) return is_in;
    return !node->op->reads_back || node->op->reads_back(node, is_in ? v : CDL_OUTPUT);
}
static bool writes(const struct cdl_node *node, bool back, int v, bool gradient) {
    const bool is_in = v < node->n_in;
    return back == gradient && (back ? is_in && node->needs[v] : !is_in);
}

/* Converts what the op reads to floats (in), or its results to bfloat16. */
static void convert(const struct cdl_node *node, const struct cdl_kernels *kernels,
                    const struct float_view *view, bool back, bool in, size_t first, size_t rows) {
    for (int v = 0; v < cdl_values_of(node); v++) {
        const struct cdl_tensor *value = cdl_value_of(node, v), *floats = &view->values[v];
        const size_t lines = rows * value->lines, n = value->width;
        for (int g = 0; g < 2 && cdl_is_bf16(value); g++) {
            if (!(in ? reads : writes)(node, back, v, g)) continue;
            float *line = g ? cdl_grad_rows(floats, first) : cdl_rows(floats, first);
            uint16_t *low = cdl_bf16(g ? cdl_grad_rows(value, first) : cdl_rows(value, first));
            if (in)
                kernels->bf16_to_floats(lines, n, low, value->ld, line, floats->ld);
            else
                kernels->bf16_from_floats(lines, n, line, floats->ld, low, value->ld);
        }
    }
}

void cdl_run_narrow(const struct cdl_phase *phase, bool back, const struct cdl_node *node,
                    const struct cdl_context *ctx, size_t first, size_t last) {
    struct float_view view;
    for (size_t end; first < last; first = end) {
        end = cdl_min(last, first / CDL_ROW_BLOCK * CDL_ROW_BLOCK + CDL_ROW_BLOCK);
        look_at(node, ctx->scratch, first, &view);
        convert(node, ctx->kernels, &view, back, true, first, end - first);
        phase->run(&view.node, ctx, first, end);
        if (!phase->sums) convert(node, ctx->kernels, &view, back, false, first, end - first);
    }
}
