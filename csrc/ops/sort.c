/* sort.c - each line in ascending order, and where in the line each number was: two outputs, of
 * which the first has a gradient. Equal numbers keep their order, NaN come last.
 *
 * A number and its place are one key of 64 bits, so that sorting is comparing integers; keys are
 * merged from runs of 16 that were sorted by insertion.
 */
#include "ops/lines.h"

enum { VALUES, PLACES };
enum { RUN = 16 };

static const char *check(const struct cdl_node *node) {
    const struct cdl_tensor *x = node->in[0];
    CDL_EXPECT(x->width <= CDL_EXACT, "x: expected at most 2^24 columns");
    for (int i = VALUES; i <= PLACES; i++) CDL_CHECK(cdl_check_alike(x, node->out[i]));
    return NULL;
}

/* For each sample two lines of keys. */
static size_t keys_of(const struct cdl_node *node) {
    return cdl_round_up(2 * node->in[0]->width, CDL_LINE / 2);
}
static size_t scratch_floats(const struct cdl_node *node, size_t rows) {
    return rows * keys_of(node) * 2;
}

/* Unsigned numbers in the order of floats: the sign bit transposed, or all bits if it was set. */
static uint64_t key_of(float x, size_t place) {
    uint32_t bits;
    const float plain = x + 0.0f; /* no -0 */
    memcpy(&bits, &plain, sizeof bits);
    const uint32_t order = bits >> 31 ? ~bits : bits | 0x80000000U;
    return (uint64_t)(x != x ? UINT32_MAX : order) << 32 | (uint32_t)place;
}

static void insert(uint64_t *keys, size_t n) {
    for (size_t i = 1; i < n; i++) {
        const uint64_t key = keys[i];
        size_t j = i;
        for (; j > 0 && keys[j - 1] > key; j--) keys[j] = keys[j - 1];
        keys[j] = key;
    }
}

static void merge(const uint64_t *a, size_t n_a, const uint64_t *b, size_t n_b, uint64_t *to) {
    size_t i = 0, j = 0;
    while (i < n_a && j < n_b) *to++ = a[i] <= b[j] ? a[i++] : b[j++];
    while (i < n_a) *to++ = a[i++];
    while (j < n_b) *to++ = b[j++];
}

/* Sorts n keys; returns the one of the two buffers that has the result. */
static const uint64_t *sorted(uint64_t *keys, uint64_t *other, size_t n) {
    for (size_t i = 0; i < n; i += RUN) insert(keys + i, cdl_min(n - i, RUN));
    for (size_t run = RUN; run < n; run *= 2) {
        for (size_t i = 0; i < n; i += 2 * run) {
            const size_t n_a = cdl_min(n - i, run), left = n - i - n_a;
            merge(keys + i, n_a, keys + i + n_a, cdl_min(left, run), other + i);
        }
        uint64_t *const done = other;
        other = keys;
        keys = done;
    }
    return keys;
}

static void forward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0];
    const size_t n = x->width;
    for (size_t i = first; i < last; i++) {
        uint64_t *keys = (uint64_t *)(void *)node->scratch + i * keys_of(node);
        for (size_t l = 0; l < x->lines; l++) {
            const float *from = cdl_rows(x, i) + l * x->ld;
            float *values = cdl_rows(node->out[VALUES], i) + l * x->ld;
            float *places = cdl_rows(node->out[PLACES], i) + l * x->ld;
            for (size_t j = 0; j < n; j++) keys[j] = key_of(from[j], j);
            const uint64_t *order = sorted(keys, keys + n, n);
            for (size_t j = 0; j < n; j++) {
                values[j] = from[(uint32_t)order[j]];
                places[j] = (float)(uint32_t)order[j];
            }
        }
        for (int o = VALUES; o <= PLACES; o++)
            cdl_clear_pads(x, cdl_rows(node->out[o], i), x->lines);
    }
}

static void backward(CDL_PASS) {
    const struct cdl_tensor *x = node->in[0];
    for (size_t l = first * x->lines; l < last * x->lines; l++) {
        const float *places = node->out[PLACES]->data + l * x->ld;
        const float *dy = node->out[VALUES]->grad ? node->out[VALUES]->grad + l * x->ld : NULL;
        float *dx = x->grad + l * x->ld;
        for (size_t j = 0; j < x->width; j++) dx[(size_t)places[j]] = dy ? dy[j] : 0.0f;
    }
    cdl_clear_pads(x, cdl_grad_rows(x, first), (last - first) * x->lines);
}

const struct cdl_op cdl_op_sort = {
    .check = check,
    .scratch_floats = scratch_floats,
    .forward = forward,
    .backward = backward,
};
