/* map.h - expressions over whole values: the loop of each primitive, and the machine that runs
 * their byte code piece by piece, so that what is between two steps stays in the L1 cache.
 *
 * Part of the ISA template.
 */
typedef float element_of_three_fn(float a, float b, float c);

CDL_INLINE void formula_loop(const int arity, element_of_three_fn *f, size_t n, float *y,
                             const float *a, const float *b, const float *c) {
    for (size_t i = 0; i < n; i++) y[i] = f(a[i], arity > 1 ? b[i] : 0.0f, arity > 2 ? c[i] : 0.0f);
}

#define X(NAME, ARITY)                                                                             \
    static void NAME##_formula(size_t n, float *y, const float *a, const float *b,                 \
                               const float *c) {                                                   \
        formula_loop(ARITY, element_##NAME, n, y, a, b, c);                                        \
    }
CDL_ELEMENTWISE(X)
#undef X

/* Whether arguments are beyond a formula, and the result instead. */
#define X(NAME, BEYOND, INSTEAD)                                                                   \
    CDL_INLINE bool NAME##_is_beyond(float a, float b) { return (void)a, (void)b, BEYOND; }        \
    CDL_INLINE float NAME##_beyond(float a, float b) { return (void)a, (void)b, INSTEAD; }
CDL_ELEMENTWISE_BEYOND(X)
#undef X
typedef bool is_beyond_fn(float a, float b);
typedef float beyond_fn(float a, float b);

/* y may be an operand, so the operands are kept until what is beyond the formula is mended. */
static void mend(cdl_elementwise_fn *formula, is_beyond_fn *is_beyond, beyond_fn *beyond, size_t n,
                 float *y, const float *a, const float *b, const float *c) {
    float kept_a[CDL_MAP_CHUNK], kept_b[CDL_MAP_CHUNK];
    memcpy(kept_a, a, n * sizeof(float));
    memcpy(kept_b, b, n * sizeof(float));
    formula(n, y, a, b, c);
    for (size_t i = 0; i < n; i++)
        if (is_beyond(kept_a[i], kept_b[i])) y[i] = beyond(kept_a[i], kept_b[i]);
}

CDL_INLINE void checked_loop(cdl_elementwise_fn *formula, is_beyond_fn *is_beyond,
                             beyond_fn *beyond, size_t n, float *y, const float *a, const float *b,
                             const float *c) {
    int any = 0;
    for (size_t i = 0; i < n; i++) any |= is_beyond(a[i], b[i]);
    if (any)
        mend(formula, is_beyond, beyond, n, y, a, b, c);
    else
        formula(n, y, a, b, c);
}

#define X(NAME, BEYOND, INSTEAD)                                                                   \
    static void NAME##_checked(size_t n, float *y, const float *a, const float *b,                 \
                               const float *c) {                                                   \
        checked_loop(NAME##_formula, NAME##_is_beyond, NAME##_beyond, n, y, a, b, c);              \
    }
CDL_ELEMENTWISE_BEYOND(X)
#undef X

static void elementwise_loop(int primitive, cdl_elementwise_fn **loop) {
    static cdl_elementwise_fn *const loops[] = {
#define X(NAME, ARITY) [CDL_ELEMENTWISE_##NAME] = NAME##_formula,
        CDL_ELEMENTWISE(X)
#undef X
    };
    *loop = loops[primitive];
    switch (primitive) {
#define X(NAME, BEYOND, INSTEAD)                                                                   \
    case CDL_ELEMENTWISE_##NAME:                                                                   \
        *loop = NAME##_checked;                                                                    \
        break;
        CDL_ELEMENTWISE_BEYOND(X)
#undef X
    }
}

/* Lines that end in pads keep them 0, whatever the formula makes of them. */
CDL_INLINE void clear_map_pads(const struct cdl_map *m, float *y, size_t lines) {
    const size_t block = m->width / CDL_LINE * CDL_LINE;
    const int32_t live = (int32_t)(m->width - block);
    if (m->width == 1 || live == 0) return;
    for (size_t l = 0; l < lines; l++, y += m->ld) {
        for (int32_t j = 0; j < CDL_LINE; j++)
            y[block + (size_t)j] = j < live ? y[block + (size_t)j] : 0.0f;
    }
}

/* All steps for n floats from `at` on, which end `lines` lines. */
static void map_chunk(const struct cdl_map *m, float **place, size_t at, size_t n, size_t lines) {
    for (int k = 0; k <= CDL_MAP_Y - CDL_MAP_INPUT; k++)
        place[CDL_MAP_INPUT + k] = (float *)(uintptr_t)m->in[k] + (m->in[k] ? at : 0);
    for (int k = 0; k < 8; k++) place[CDL_MAP_OUTPUT + k] = m->out[k] ? m->out[k] + at : NULL;
    for (int s = 0; s < m->n_steps; s++) {
        const struct cdl_map_step *step = &m->steps[s];
        step->loop(n, place[step->to], place[step->from[0]], place[step->from[1]],
                   place[step->from[2]]);
    }
    for (int k = 0; k < 8 && lines; k++) {
        if (m->out[k]) clear_map_pads(m, place[CDL_MAP_OUTPUT + k], lines);
    }
}

/* A multiple of 64, so that each number meets the same loop, of vectors or of what is left over. */
CDL_INLINE size_t map_chunk_size(const struct cdl_map *m) {
    const size_t rows = (size_t)(m->n_registers + m->n_constants);
    return rows * CDL_MAP_CHUNK <= CDL_MAP_ROOM ? CDL_MAP_CHUNK : CDL_MAP_ROOM / rows / 64 * 64;
}

/* Single columns are one long row; short lines go several at a time; a long one in parts. */
static void map(const struct cdl_map *m) {
    _Alignas(64) float room[CDL_MAP_ROOM], *free = room;
    float *place[CDL_MAP_OPERANDS];
    const size_t floats = m->lines * m->ld, chunk = map_chunk_size(m);
    assert(m->n_registers <= CDL_MAP_REGISTERS && m->n_constants <= CDL_MAP_CONSTANTS);
    assert(m->n_steps <= CDL_MAP_STEPS && m->ld >= cdl_padded(m->width));
    for (int r = 0; r < m->n_registers; r++, free += chunk) place[r] = free;
    for (int c = 0; c < m->n_constants; c++, free += chunk) {
        const float value = (float)m->constants[c];
        place[CDL_MAP_CONSTANT + c] = free;
        for (size_t i = 0; i < chunk && i < floats; i++) free[i] = value;
    }
    if (m->ld <= chunk) {
        const size_t together = chunk / m->ld;
        for (size_t l = 0; l < m->lines; l += together) {
            const size_t lines = cdl_min(m->lines - l, together);
            map_chunk(m, place, l * m->ld, lines * m->ld, lines);
        }
        return;
    }
    const size_t padded = cdl_padded(m->width);
    for (size_t l = 0; l < m->lines; l++) {
        for (size_t j = 0; j < padded; j += chunk) {
            const size_t n = cdl_min(padded - j, chunk);
            map_chunk(m, place, l * m->ld + j, n, 0);
        }
        for (int k = 0; k < 8; k++) {
            if (m->out[k]) clear_map_pads(m, m->out[k] + l * m->ld, 1);
        }
    }
}
