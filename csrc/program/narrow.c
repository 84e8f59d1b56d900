/* narrow.c - float ops on values of bfloat16, by float scratch for some samples at a time.
 *
 * Such values take two bytes a number in the arena, and the op sees floats only. A block of samples
 * is one whose sums are added up in order (CDL_ROW_BLOCK).
 */
#include "program/steps.h"

enum { MOST_VALUES = CDL_MAX_INPUTS + CDL_MAX_OUTPUTS };

/* Value v of a node, inputs first. */
static struct cdl_tensor *value_of(const struct cdl_node *node, int v) {
    return v < node->n_in ? node->in[v] : node->out[v - node->n_in];
}

static size_t block_floats(const struct cdl_tensor *value) {
    return CDL_ROW_BLOCK * value->lines * cdl_stride(value->width);
}

bool cdl_is_narrow(const struct cdl_node *node) {
    bool any = false;
    for (int v = 0; v < node->n_in + node->n_out && node->op->bf16 == CDL_BF16_THROUGH_FLOATS; v++)
        any |= cdl_is_bf16(value_of(node, v)) && !value_of(node, v)->shared;
    return any;
}

size_t cdl_narrow_floats(const struct cdl_node *node) {
    size_t floats = 0;
    for (int v = 0; v < node->n_in + node->n_out; v++)
        if (cdl_is_bf16(value_of(node, v))) floats += 2 * block_floats(value_of(node, v));
    return floats;
}

/* Copy of a node whose bfloat16 values are floats in scratch, for samples from `first` on. */
struct twin {
    struct cdl_node node;
    struct cdl_tensor values[MOST_VALUES];
};

static void look_at(const struct cdl_node *node, float *scratch, size_t first, struct twin *twin) {
    twin->node = *node;
    for (int v = 0; v < node->n_in + node->n_out; v++) {
        const struct cdl_tensor *value = value_of(node, v);
        struct cdl_tensor *floats = &twin->values[v];
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
        *(v < node->n_in ? &twin->node.in[v] : &twin->node.out[v - node->n_in]) = floats;
    }
}

/* Converts the op's operands to floats (in), or its results to bfloat16. */
static void convert(const struct cdl_node *node, const struct cdl_kernels *kernels,
                    const struct twin *twin, bool back, bool in, size_t first, size_t rows) {
    for (int v = 0; v < node->n_in + node->n_out; v++) {
        const struct cdl_tensor *value = value_of(node, v), *floats = &twin->values[v];
        const bool is_in = v < node->n_in;
        const size_t lines = rows * value->lines, n = value->width;
        if (!cdl_is_bf16(value)) continue;
        if (in &&
            (back ? !node->op->reads_back || node->op->reads_back(node, is_in ? v : CDL_OUTPUT)
                  : is_in))
            kernels->bf16_to_floats(lines, n, cdl_bf16(cdl_rows(value, first)), value->ld,
                                    cdl_rows(floats, first), floats->ld);
        if (in && back && !is_in && value->grad)
            kernels->bf16_to_floats(lines, n, cdl_bf16(cdl_grad_rows(value, first)), value->ld,
                                    cdl_grad_rows(floats, first), floats->ld);
        if (!in && !back && !is_in)
            kernels->bf16_from_floats(lines, n, cdl_rows(floats, first), floats->ld,
                                      cdl_bf16(cdl_rows(value, first)), value->ld);
        if (!in && back && is_in && node->needs[v])
            kernels->bf16_from_floats(lines, n, cdl_grad_rows(floats, first), floats->ld,
                                      cdl_bf16(cdl_grad_rows(value, first)), value->ld);
    }
}

void cdl_run_narrow(const struct cdl_phase *phase, bool back, const struct cdl_node *node,
                    const struct cdl_context *ctx, size_t first, size_t last) {
    struct twin twin;
    for (size_t end; first < last; first = end) {
        end = cdl_min(last, first / CDL_ROW_BLOCK * CDL_ROW_BLOCK + CDL_ROW_BLOCK);
        look_at(node, ctx->scratch, first, &twin);
        convert(node, ctx->kernels, &twin, back, true, first, end - first);
        phase->run(&twin.node, ctx, first, end);
        if (!phase->sums) convert(node, ctx->kernels, &twin, back, false, first, end - first);
    }
}
