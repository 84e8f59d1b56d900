/* map.h - expressions over whole values: the loop of each primitive, and the machine that runs
 * their byte code piece by piece, so that what is between two steps stays in the L1 cache. Sums
 * of lines, and what is made of them, stay there as well: a piece of such code is of whole lines.
 *
 * Part of the ISA template.
 */
typedef float element_of_three_fn(float a, float b, float c);

CDL_INLINE void formula_loop(const int arity, element_of_three_fn *f, size_t n, float *y,
                             const float *a, const float *b, const float *c) {
    CDL_IN_PLACE for (size_t i = 0; i < n; i++) y[i] =
        f(a[i], arity > 1 ? b[i] : 0.0f, arity > 2 ? c[i] : 0.0f);
}

#define FORMULA_OF(NAME, ARITY)                                                                    \
    static void NAME##_formula(size_t lines, size_t n, float *y, const float *a, const float *b,   \
                               const float *c) {                                                   \
        formula_loop(ARITY, element_##NAME, lines * n, y, a, b, c);                                \
    }
CDL_ELEMENTWISE(FORMULA_OF)

/* Tests for arguments beyond a formula, and the results for them. */
#define BEYOND_OF(NAME, BEYOND, INSTEAD)                                                           \
    CDL_INLINE bool NAME##_is_beyond(float a, float b) { return BEYOND; }                          \
    CDL_INLINE float NAME##_beyond(float a, float b) { return INSTEAD; }
CDL_ELEMENTWISE_BEYOND(BEYOND_OF)
typedef bool is_beyond_fn(float a, float b);
typedef float beyond_fn(float a, float b);

/* y may be an operand, so the operands are kept until what is beyond the formula is mended. */
static void mend(cdl_elementwise_fn *formula, is_beyond_fn *is_beyond, beyond_fn *beyond, size_t n,
                 float *y, const float *a, const float *b, const float *c) {
    float kept_a[CDL_MAP_CHUNK], kept_b[CDL_MAP_CHUNK];
    for (size_t at = 0; at < n; at += CDL_MAP_CHUNK, y += CDL_MAP_CHUNK) {
        const size_t some = cdl_min(n - at, CDL_MAP_CHUNK);
        memcpy(kept_a, a + at, some * sizeof(float));
        memcpy(kept_b, b + at, some * sizeof(float));
        formula(1, some, y, a + at, b + at, c);
        for (size_t i = 0; i < some; i++)
            if (is_beyond(kept_a[i], kept_b[i])) y[i] = beyond(kept_a[i], kept_b[i]);
    }
}

CDL_INLINE void checked_loop(cdl_elementwise_fn *formula, is_beyond_fn *is_beyond,
                             beyond_fn *beyond, size_t n, float *y, const float *a, const float *b,
                             const float *c) {
    int any = 0;
    if (!b) b = a; /* there is one operand */
    for (size_t i = 0; i < n; i++) any |= is_beyond(a[i], b[i]);
    if (any)
        mend(formula, is_beyond, beyond, n, y, a, b, c);
    else
        formula(1, n, y, a, b, c);
}

#define CHECKED_OF(NAME, BEYOND, INSTEAD)                                                          \
    static void NAME##_checked(size_t lines, size_t n, float *y, const float *a, const float *b,   \
                               const float *c) {                                                   \
        checked_loop(NAME##_formula, NAME##_is_beyond, NAME##_beyond, lines * n, y, a, b, c);      \
    }
CDL_ELEMENTWISE_BEYOND(CHECKED_OF)

#define ARITY_OF(NAME, ARITY) arity_of_##NAME = ARITY,
enum { CDL_ELEMENTWISE(ARITY_OF) };

CDL_INLINE void mixed_lines(const unsigned bits, element_of_three_fn *f, size_t lines, size_t n,
                            float *y, const float *a, const float *b, const float *c) {
    const size_t whole = n / CDL_LINE * CDL_LINE, all = lines * n;
    for (size_t l = 0, at = 0; at < all; l++, at += n) {
        const float first = bits & 1 ? a[l] : 0.0f, second = bits & 2 ? b[l] : 0.0f;
        const float third = bits & 4 ? c[l] : 0.0f;
        CDL_IN_PLACE for (size_t i = at; i < at + whole; i++) y[i] =
            f(bits & 1 ? first : a[i], bits & 2 ? second : b[i], bits & 4 ? third : c[i]);
    }
}

/* A third operand that is missing counts as a column, which the formula does not read. */
#define MIXED_OF(NAME, COLUMNS)                                                                    \
    static void NAME##_mixed_##COLUMNS(size_t lines, size_t n, float *y, const float *a,           \
                                       const float *b, const float *c) {                           \
        const bool has_c = arity_of_##NAME > 2;                                                    \
        mixed_lines((COLUMNS) | (has_c ? 0 : 4), element_##NAME, lines, n, y, a, b,                \
                    has_c ? c : a);                                                                \
    }
CDL_MIXED(MIXED_OF)

#define MIXED_LOOP(NAME, COLUMNS)                                                                  \
    if (primitive == CDL_ELEMENTWISE_##NAME && bits == (COLUMNS)) return NAME##_mixed_##COLUMNS;
static cdl_elementwise_fn *mixed_loop(int primitive, unsigned bits) {
    CDL_MIXED(MIXED_LOOP)
    return NULL;
}

#define FORMULA_LOOP(NAME, ARITY) [CDL_ELEMENTWISE_##NAME] = NAME##_formula,
#define CHECKED_LOOP(NAME, BEYOND, INSTEAD)                                                        \
    if (primitive == CDL_ELEMENTWISE_##NAME) *loop = NAME##_checked;

/* Loop of a primitive with columns among its operands, or without; NULL: it is one of lines. */
static void elementwise_loop(int primitive, unsigned bits, cdl_elementwise_fn **loop) {
    static cdl_elementwise_fn *const loops[] = {CDL_ELEMENTWISE(FORMULA_LOOP)};
    *loop = primitive < CDL_N_ELEMENTWISE ? loops[primitive] : NULL;
    if (bits && *loop) *loop = mixed_loop(primitive, bits);
    if (bits) return;
    CDL_ELEMENTWISE_BEYOND(CHECKED_LOOP)
}

/* n floats from float j on of each of `lines` lines from line l on. */
struct map_piece {
    size_t l, lines, j, n;
};

/* Lines that end in pads keep them 0, whatever the formula makes of them. */
CDL_INLINE void clear_map_pads(const struct cdl_map *m, float *y, struct map_piece piece) {
    const size_t end = m->width / CDL_LINE * CDL_LINE, n = piece.n;
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
    return l % m->repeat[k].period / m->repeat[k].run * m->repeat[k].ld;
}

/* Is output k the gradient of repeated lines; and is it written ahead of its sum? */
CDL_INLINE bool adds_up(const struct cdl_map *m, int k) {
    return m->backward && m->out[k] && m->repeat[k].run;
}
CDL_INLINE bool is_written(const struct cdl_map *m, int k) {
    return adds_up(m, k) && !((m->plain | m->products) >> k & 1);
}

/* Do the lines of an operand that a piece reads, at most all of a period, lie one behind the other?
 */
CDL_INLINE bool are_in_place(const struct cdl_map *m, int k, struct map_piece piece) {
    return m->repeat[k].run == 1 && !m->repeat[k].is_column && piece.n == m->repeat[k].ld;
}

/* Is there one line for all? */
CDL_INLINE bool is_one_line(const struct cdl_map *m, int k) {
    return m->repeat[k].run == m->repeat[k].period;
}

/* Writes lines of an operand as often as the piece reads them, unless they are there already. */
static const float *repeat_lines(const struct cdl_map *m, struct map_room *room, int k,
                                 struct map_piece piece) {
    const bool is_column = m->repeat[k].is_column;
    const float *x = m->in[k] + repeated_line(m, k, piece.l);
    const size_t run = m->repeat[k].run, period = m->repeat[k].period;
    const bool is_within = piece.l % period + piece.lines <= period;
    if (!is_column && (piece.lines == 1 || (is_within && are_in_place(m, k, piece))))
        return x + piece.j;
    /* Lines that the next pieces read as well: one, or those of whole periods. */
    const bool is_kept =
        run == 1 || is_one_line(m, k) || !is_within || piece.l % run + piece.lines <= run;
    float *to = room->lines[k];
    if (is_kept && x == room->held[k] && piece.lines <= room->n_held[k]) return to;
    room->held[k] = is_kept ? x : NULL, room->n_held[k] = piece.lines;
    const size_t n = piece.n, step = run == 1 && is_within ? m->repeat[k].ld : 0;
    for (size_t i = 0; i < piece.lines; i++, to += n, x += step) {
        if (!step) x = m->in[k] + repeated_line(m, k, piece.l + i);
        if (is_column) {
            for (size_t j = 0; j < n; j++) to[j] = *x;
        } else {
            memcpy(to, x, n * sizeof(float));
        }
    }
    return room->lines[k];
}

/* dx[j] += g[j] of so many lines, one after the other; or g[j] f[j], where there are factors. */
CDL_INLINE void add_lines(const bool has_factors, size_t lines, size_t n, float *restrict dx,
                          const float *g, const float *f) {
    enum { TOGETHER = 4 * CDL_LINE };
    size_t j = 0;
    for (; j + TOGETHER <= n; j += TOGETHER) {
        float sum[TOGETHER];
        for (size_t i = 0; i < TOGETHER; i++) sum[i] = dx[j + i];
        for (size_t l = 0, at = j; l < lines; l++, at += n) {
            for (size_t i = 0; i < TOGETHER; i++)
                sum[i] = has_factors ? fma_f(g[at + i], f[at + i], sum[i]) : sum[i] + g[at + i];
        }
        for (size_t i = 0; i < TOGETHER; i++) dx[j + i] = sum[i];
    }
    for (; j < n; j += CDL_LINE) {
        for (size_t l = 0, at = j; l < lines; l++, at += n) {
            for (size_t i = 0; i < CDL_LINE; i++)
                dx[j + i] =
                    has_factors ? fma_f(g[at + i], f[at + i], dx[j + i]) : dx[j + i] + g[at + i];
        }
    }
}

/* Adds gradients of a piece, or their products with factors, to those of the lines that were
 * repeated. Pads are 0 for a repeated number, whose sum they are part of. */
static void add_repeated(const struct cdl_map *m, const float *gradients, const float *factors,
                         int k, struct map_piece piece) {
    const bool in_place = are_in_place(m, k, piece), is_one = is_one_line(m, k);
    /* Lines of a period lie one behind the other: they are added up as one line. */
    const size_t together = in_place ? cdl_min(piece.lines, m->repeat[k].period) : 1;
    const size_t n = together * piece.n, run = m->repeat[k].run;
    const size_t first = m->repeat[k].is_column ? 0 : piece.j, lines = piece.lines / together;
    for (size_t i = 0, some; i < lines; i += some) {
        some = lines - i;
        if (!in_place && !is_one) some = cdl_min(some, run - (piece.l + i) % run);
        const float *from = gradients + i * n;
        float *dx = m->out[k] + repeated_line(m, k, piece.l + i) + first;
        if (factors)
            add_lines(true, some, n, dx, from, factors + i * n);
        else if (!m->repeat[k].is_column)
            add_lines(false, some, n, dx, from, NULL);
        for (size_t l = 0; l < some && m->repeat[k].is_column; l++)
            *dx += reduced(CDL_REDUCTION_sum, 1, n, from + l * n, n);
    }
}

/* A primitive of lines, each of which is n floats of which `width` count. */
static void line_step(const struct cdl_map_step *step, struct map_piece piece, size_t width,
                      float *const *place) {
    const size_t n = piece.n;
    const float *a = place[step->from[0]], *b = place[step->from[1]];
    float *to = place[step->to];
    for (size_t l = 0; l < piece.lines; l++, a += n) {
        switch (step->primitive) {
        case CDL_LINEWISE_line_dot:
            to[l] = line_product(width, a, 0.0f, b + l * n, 0.0f);
            break;
        case CDL_LINEWISE_line_max:
            to[l] = reduced(CDL_REDUCTION_max, 1, width, a, n);
            break;
        case CDL_LINEWISE_line_min:
            to[l] = reduced(CDL_REDUCTION_min, 1, width, a, n);
            break;
        default:
            to[l] = reduced(CDL_REDUCTION_sum, 1, width, a, n);
        }
    }
}

static void spread(struct map_piece piece, const float *column, float *to) {
    for (size_t l = 0; l < piece.lines; l++, to += piece.n) {
        for (size_t j = 0; j < piece.n; j++) to[j] = column[l];
    }
}

CDL_INLINE void map_step(const struct cdl_map *m, const struct cdl_map_step *step,
                         struct map_piece piece, float *const *place) {
    if (step->adds)
        add_repeated(m, place[step->from[0]], place[step->from[1]], step->to - CDL_MAP_OUTPUT,
                     piece);
    else if (step->loop)
        step->loop(piece.lines, step->of_columns ? 1 : piece.n, place[step->to],
                   place[step->from[0]], place[step->from[1]], place[step->from[2]]);
    else if (step->primitive == CDL_LINEWISE_spread)
        spread(piece, place[step->from[0]], place[step->to]);
    else
        line_step(step, piece, m->width, place);
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
        if (adds_up(m, k)) out = m->plain >> k & 1 ? place[CDL_MAP_DY] : room->gradients[k];
        place[CDL_MAP_OUTPUT + k] = out;
    }
    for (int s = 0; s < m->n_steps; s++) map_step(m, &m->steps[s], piece, place);
    for (int k = 0; k < 8; k++) {
        if (!m->out[k] || m->products >> k & 1) continue;
        if (!(m->plain >> k & 1)) clear_map_pads(m, place[CDL_MAP_OUTPUT + k], piece);
        if (adds_up(m, k)) add_repeated(m, place[CDL_MAP_OUTPUT + k], NULL, k, piece);
    }
}

/* Chunks of a run: registers, constants, repeated lines and their gradients. */
CDL_INLINE size_t map_chunks(const struct cdl_map *m) {
    size_t chunks = (size_t)m->n_registers;
    for (int c = 0; c < m->n_constants; c++) chunks += m->wide_constants >> c & 1;
    for (int k = 0; k < 8; k++) {
        if (m->repeat[k].run) chunks += is_written(m, k) ? 2u : 1u;
    }
    return chunks;
}

/* A multiple of 64, so that each number meets the same loop, of vectors or of what is left over. */
CDL_INLINE size_t map_chunk_size(const struct cdl_map *m) {
    const size_t chunks = map_chunks(m), line = cdl_round_up(m->width, 64);
    const size_t fits = CDL_MAP_ROOM / (chunks ? chunks : 1) / 64 * 64;
    if (!m->of_lines) return cdl_min(fits, CDL_MAP_CHUNK);
    const size_t some = cdl_min(fits, CDL_MAP_LINES * m->ld);
    assert(chunks * line <= CDL_MAP_ROOM_OF_LINES);
    return some > line ? some : line;
}

/* After how many lines repeated ones begin again, 1 if all lines read the same. */
CDL_INLINE size_t period_of(const struct cdl_map *m) {
    for (int k = 0; k < 8; k++) {
        const bool begins_again = m->repeat[k].run && m->repeat[k].period < SIZE_MAX;
        if (begins_again && !is_one_line(m, k)) return m->repeat[k].period;
    }
    return 1;
}

/* Lines of the piece from line l on, of so many at most: whole periods, or a part of one. */
CDL_INLINE size_t lines_of_piece(size_t period, size_t l, size_t most) {
    if (period <= most) return most - most % period;
    const size_t parts = (period + most - 1) / most;
    return cdl_min((period + parts - 1) / parts, period - l % period);
}

/* Single columns are one long row; short lines go several at a time; a long one in parts. */
static void map(const struct cdl_map *m) {
    _Alignas(64) float memory[CDL_MAP_ROOM_OF_LINES], *free = memory;
    _Alignas(64) float per_line[CDL_MAP_REGISTERS + CDL_MAP_CONSTANTS][CDL_MAP_LINES];
    struct map_room room = {.held = {NULL}};
    const size_t floats = m->lines * m->ld, chunk = map_chunk_size(m);
    assert(m->n_registers <= CDL_MAP_REGISTERS && m->n_constants <= CDL_MAP_CONSTANTS);
    assert(m->n_steps <= CDL_MAP_STEPS && m->ld >= cdl_padded(m->width));
    for (int r = 0; r < m->n_registers; r++, free += chunk) room.place[r] = free;
    for (int r = 0; r < CDL_MAP_REGISTERS; r++) room.place[CDL_MAP_COLUMN + r] = per_line[r];
    for (int c = 0; c < m->n_constants; c++) {
        const bool is_wide = m->wide_constants >> c & 1;
        const size_t n = is_wide ? cdl_min(chunk, floats) : CDL_MAP_LINES;
        float *to = is_wide ? free : per_line[CDL_MAP_REGISTERS + c];
        room.place[CDL_MAP_CONSTANT + c] = to;
        for (size_t i = 0; i < n; i++) to[i] = (float)m->constants[c];
        if (is_wide) free += chunk;
    }
    for (int k = 0; k < 8; k++) {
        if (!m->repeat[k].run) continue;
        room.lines[k] = free, free += chunk;
        if (is_written(m, k)) room.gradients[k] = free, free += chunk;
    }
    if (m->ld <= chunk) {
        const size_t period = period_of(m);
        for (size_t l = 0, lines; l < m->lines; l += lines) {
            lines = cdl_min(m->lines - l, lines_of_piece(period, l, chunk / m->ld));
            map_piece(m, &room, (struct map_piece){l, lines, 0, m->ld});
        }
        return;
    }
    const size_t padded = cdl_padded(m->width);
    for (size_t l = 0; l < m->lines; l++) {
        for (size_t j = 0; j < padded; j += chunk)
            map_piece(m, &room, (struct map_piece){l, 1, j, cdl_min(padded - j, chunk)});
    }
}
