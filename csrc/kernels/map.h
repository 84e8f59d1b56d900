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

/* n floats from float j on of `lines` lines from line l on. */
struct map_piece {
    size_t l, lines, j, n;
};

/* Lines that end in pads keep them 0, whatever the formula makes of them. */
CDL_INLINE void clear_map_pads(const struct cdl_map *m, float *y, struct map_piece piece) {
    const size_t end = m->width / CDL_LINE * CDL_LINE, n = piece.n / piece.lines;
    const int32_t live = (int32_t)(m->width - end);
    if (m->width == 1 || live == 0 || piece.j + n <= end) return;
    const size_t block = end - piece.j;
    for (size_t l = 0; l < piece.lines; l++, y += n) {
        for (int32_t j = 0; j < CDL_LINE; j++)
            y[block + (size_t)j] = j < live ? y[block + (size_t)j] : 0.0f;
    }
}

/* The memory of a run: where each operand is, and chunks that hold repeated lines, so far those
 * from `held` on, and gradients by repeated lines before they are added up. */
struct map_room {
    float *place[CDL_MAP_OPERANDS], *lines[8], *gradients[8];
    const float *held[8];
    size_t n_held[8];
};

CDL_INLINE size_t repeated_line(const struct cdl_map *m, int k, size_t l) {
    return l / m->repeat[k].run * m->repeat[k].ld;
}

/* Whether output k is the gradient of repeated lines. */
CDL_INLINE bool adds_up(const struct cdl_map *m, int k) {
    return m->backward && m->out[k] && m->repeat[k].run;
}

/* Writes lines of an operand as often as the piece reads them, unless they are there already. */
static const float *repeat_lines(const struct cdl_map *m, struct map_room *room, int k,
                                 struct map_piece piece) {
    const bool is_column = m->repeat[k].is_column;
    const float *x = m->in[k] + repeated_line(m, k, piece.l);
    if (piece.lines == 1 && !is_column) return x + piece.j;
    const float *last = m->in[k] + repeated_line(m, k, piece.l + piece.lines - 1);
    float *to = room->lines[k];
    if (x == last && x == room->held[k] && piece.n <= room->n_held[k]) return to;
    room->held[k] = x == last ? x : NULL, room->n_held[k] = piece.n;
    const size_t n = piece.n / piece.lines;
    for (size_t i = 0; i < piece.lines; i++, to += n) {
        x = m->in[k] + repeated_line(m, k, piece.l + i);
        if (is_column) {
            for (size_t j = 0; j < n; j++) to[j] = *x;
        } else {
            memcpy(to, x, n * sizeof(float));
        }
    }
    return room->lines[k];
}

/* Adds gradients of a piece, whose pads are 0, to those of the lines that were repeated. */
static void add_repeated(const struct cdl_map *m, const float *gradients, int k,
                         struct map_piece piece) {
    const size_t n = piece.n / piece.lines;
    for (size_t i = 0; i < piece.lines; i++, gradients += n) {
        float *dx = m->out[k] + repeated_line(m, k, piece.l + i);
        if (m->repeat[k].is_column)
            *dx += reduced(CDL_REDUCTION_sum, 1, n, gradients, n);
        else
            for (size_t j = 0; j < n; j++) dx[piece.j + j] += gradients[j];
    }
}

/* All steps for a piece, which is of whole lines or within one. */
static void map_piece(const struct cdl_map *m, struct map_room *room, struct map_piece piece) {
    const size_t at = piece.l * m->ld + piece.j;
    float **place = room->place;
    for (int k = 0; k <= CDL_MAP_Y - CDL_MAP_INPUT; k++) {
        const float *in = m->in[k];
        if (in && k < 8 && m->repeat[k].run)
            in = repeat_lines(m, room, k, piece);
        else if (in)
            in += at;
        place[CDL_MAP_INPUT + k] = (float *)(uintptr_t)in;
    }
    for (int k = 0; k < 8; k++) {
        float *out = m->out[k] ? m->out[k] + at : NULL;
        place[CDL_MAP_OUTPUT + k] = adds_up(m, k) ? room->gradients[k] : out;
    }
    for (int s = 0; s < m->n_steps; s++) {
        const struct cdl_map_step *step = &m->steps[s];
        step->loop(piece.n, place[step->to], place[step->from[0]], place[step->from[1]],
                   place[step->from[2]]);
    }
    for (int k = 0; k < 8; k++) {
        if (!m->out[k]) continue;
        clear_map_pads(m, place[CDL_MAP_OUTPUT + k], piece);
        if (adds_up(m, k)) add_repeated(m, room->gradients[k], k, piece);
    }
}

/* Chunks of a run: registers, constants, repeated lines and their gradients. */
CDL_INLINE size_t map_chunks(const struct cdl_map *m) {
    size_t chunks = (size_t)(m->n_registers + m->n_constants);
    for (int k = 0; k < 8; k++) {
        if (m->repeat[k].run) chunks += adds_up(m, k) ? 2u : 1u;
    }
    return chunks;
}

/* A multiple of 64, so that each number meets the same loop, of vectors or of what is left over. */
CDL_INLINE size_t map_chunk_size(size_t chunks) {
    return chunks * CDL_MAP_CHUNK <= CDL_MAP_ROOM ? CDL_MAP_CHUNK : CDL_MAP_ROOM / chunks / 64 * 64;
}

/* Single columns are one long row; short lines go several at a time; a long one in parts. */
static void map(const struct cdl_map *m) {
    _Alignas(64) float memory[CDL_MAP_ROOM], *free = memory;
    struct map_room room = {.held = {NULL}};
    const size_t floats = m->lines * m->ld, chunk = map_chunk_size(map_chunks(m));
    assert(m->n_registers <= CDL_MAP_REGISTERS && m->n_constants <= CDL_MAP_CONSTANTS);
    assert(m->n_steps <= CDL_MAP_STEPS && m->ld >= cdl_padded(m->width));
    for (int r = 0; r < m->n_registers; r++, free += chunk) room.place[r] = free;
    for (int c = 0; c < m->n_constants; c++, free += chunk) {
        const float value = (float)m->constants[c];
        room.place[CDL_MAP_CONSTANT + c] = free;
        for (size_t i = 0; i < chunk && i < floats; i++) free[i] = value;
    }
    for (int k = 0; k < 8; k++) {
        if (!m->repeat[k].run) continue;
        room.lines[k] = free, free += chunk;
        if (adds_up(m, k)) room.gradients[k] = free, free += chunk;
    }
    if (m->ld <= chunk) {
        const size_t together = chunk / m->ld;
        for (size_t l = 0; l < m->lines; l += together) {
            const size_t lines = cdl_min(m->lines - l, together);
            map_piece(m, &room, (struct map_piece){l, lines, 0, lines * m->ld});
        }
        return;
    }
    const size_t padded = cdl_padded(m->width);
    for (size_t l = 0; l < m->lines; l++) {
        for (size_t j = 0; j < padded; j += chunk)
            map_piece(m, &room, (struct map_piece){l, 1, j, cdl_min(padded - j, chunk)});
    }
}
