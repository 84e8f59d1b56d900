/* loops.h - the loops around the formulas of activations.h, losses.h, metrics.h, optimizers.h.
 *
 * Part of the ISA template. A batch of single columns is one contiguous row, so each loop treats
 * n == 1 as one row of `rows` elements; else rows are whole lines and there is no scalar tail.
 */
typedef float element_fn(float x, const float *p);
typedef float element_gradient_fn(float x, float y, const float *p);

/* Floats of a row. Rows become one row where nothing lies between them (`packed`), or they are
 * single columns: a long loop costs less than many short ones. */
CDL_INLINE size_t join_rows(size_t *rows, size_t n, bool packed) {
    const size_t all = *rows, width = n == 1 ? 1 : cdl_round_up(n, CDL_LINE);
    if (n > 1 && !packed) return width;
    *rows = 1;
    return all * width;
}

CDL_INLINE void activate(element_fn *f, size_t rows, size_t n, const float *x, size_t ldx, float *y,
                         size_t ldy, const float *params) {
    assert(are_padded(rows, n, x, ldx) && are_padded(rows, n, y, ldy));
    assert(are_dense(rows, n, ldx) && are_dense(rows, n, ldy));
    const float p[CDL_MAX_ROW_PARAMS] = {params[0], params[1], params[2], params[3]};
    const size_t width = join_rows(&rows, n, ldx == cdl_padded(n) && ldy == ldx);
    for (size_t r = 0; r < rows; r++, x += ldx, y += ldy)
        CDL_IN_PLACE for (size_t j = 0; j < width; j++) y[j] = f(x[j], p);
}

CDL_INLINE void activate_backward(element_gradient_fn *d, size_t rows, size_t n,
                                  struct cdl_matrix x, struct cdl_matrix y, struct cdl_matrix dy,
                                  struct cdl_output dx, const float *params) {
    assert(are_padded(rows, n, x.at, x.ld) && are_padded(rows, n, y.at, y.ld));
    assert(are_padded(rows, n, dy.at, dy.ld) && are_padded(rows, n, dx.at, dx.ld));
    assert(are_dense(rows, n, x.ld) && are_dense(rows, n, dx.ld));
    const float p[CDL_MAX_ROW_PARAMS] = {params[0], params[1], params[2], params[3]};
    const bool alike = y.ld == x.ld && dy.ld == x.ld && dx.ld == x.ld;
    const size_t width = join_rows(&rows, n, alike && x.ld == cdl_padded(n));
    for (size_t r = 0; r < rows; r++) {
        CDL_IN_PLACE for (size_t j = 0; j < width; j++) {
            const float gradient = d(x.at[j], y.at[j], p);
            dx.at[j] = gradient == 0.0f ? 0.0f : dy.at[j] * gradient; /* also of an infinite dy */
        }
        x.at += x.ld, y.at += y.ld, dy.at += dy.ld, dx.at += dx.ld;
    }
}

#define ACTIVATION_LOOPS(NAME, READS, PARAMS)                                                      \
    static void NAME##_loop(size_t rows, size_t n, const float *x, size_t ldx, float *y,           \
                            size_t ldy, const float *p) {                                          \
        activate(f_##NAME, rows, n, x, ldx, y, ldy, p);                                            \
    }                                                                                              \
    static void NAME##_gradient_loop(size_t rows, size_t n, struct cdl_matrix x,                   \
                                     struct cdl_matrix y, struct cdl_matrix dy,                    \
                                     struct cdl_output dx, const float *p) {                       \
        activate_backward(d_##NAME, rows, n, x, y, dy, dx, p);                                     \
    }
CDL_ACTIVATIONS(ACTIVATION_LOOPS)

/* Elementwise losses. Single columns (n == 1) run as one vector over the batch. Short lines, pads
 * included, run several at a time; a long one in parts. The values of a line are added up after. */
enum { LOSS_ELEMENTS = 1024 };

/* A formula of losses.h, and its loop over n predictions y: gradients times `scale` to dy,
 * predictions that metrics read to q. */
typedef float element_loss_fn(float y, float t, const float *p, float *gradient, float *q);
struct elements {
    size_t n;
    const float *y, *t;
    float scale;
    const float *p;
    float *dy, *q, *value;
};
typedef void elements_fn(const struct elements *e);

CDL_INLINE void each_loss(element_loss_fn *loss, const struct elements *e) {
    const float *params = e->p, *restrict y = e->y, *restrict t = e->t;
    float *restrict dy = e->dy, *restrict q = e->q, *restrict value = e->value;
    const float p[CDL_MAX_ROW_PARAMS] = {params[0], params[1], params[2], params[3]};
    const float scale = e->scale;
    const size_t n = e->n;
    for (size_t j = 0; j < n; j++) {
        float gradient, seen;
        value[j] = loss(y[j], t[j], p, &gradient, &seen);
        dy[j] = gradient * scale;
        q[j] = seen;
    }
}

CDL_INLINE void column_loss(const struct cdl_scoring *s, elements_fn *elements) {
    elements(&(struct elements){s->rows, s->y, s->t, s->scale, s->p, s->dy, s->q, s->value});
    if (!s->weight) return;
    const float *restrict weight = s->weight;
    float *restrict dy = s->dy;
    if (s->lines == 1) {
        for (size_t i = 0; i < s->rows; i++) dy[i] *= weight[i];
    } else {
        for (size_t i = 0; i < s->rows; i++) dy[i] *= weight[i / s->lines];
    }
}

/* After the elements of line i: its weight, its pads. */
CDL_INLINE void finish_line(const struct cdl_scoring *s, size_t i) {
    float *dy = s->dy + i * s->ldy, *q = s->q + i * s->ldy;
    const float weight = line_weight(s, i);
    for (size_t j = 0; j < cdl_padded(s->n) && s->weight; j++) dy[j] *= weight;
    for (size_t j = s->n; j < s->ldy; j++) dy[j] = q[j] = 0.0f;
}

CDL_INLINE void short_lines_loss(const struct cdl_scoring *s, elements_fn *elements) {
    const size_t ld = s->ldy, together = LOSS_ELEMENTS / ld;
    float value[LOSS_ELEMENTS];
    for (size_t first = 0; first < s->rows; first += together) {
        const size_t lines = cdl_min(s->rows - first, together);
        elements(&(struct elements){lines * ld, s->y + first * ld, (const float *)s->t + first * ld,
                                    s->scale / (float)s->n, s->p, s->dy + first * ld,
                                    s->q + first * ld, value});
        for (size_t l = 0; l < lines; l++) {
            s->value[first + l] = line_total(s->n, value + l * ld) / (float)s->n;
            finish_line(s, first + l);
        }
    }
}

CDL_INLINE void long_line_loss(const struct cdl_scoring *s, size_t i, elements_fn *elements) {
    const float *y = s->y + i * s->ldy, *t = (const float *)s->t + i * s->ldt;
    float value[LOSS_ELEMENTS];
    float sum = 0.0f;
    for (size_t at = 0; at < s->n; at += LOSS_ELEMENTS) {
        const size_t n = cdl_min(s->n - at, LOSS_ELEMENTS);
        elements(&(struct elements){cdl_round_up(n, CDL_LINE), y + at, t + at,
                                    s->scale / (float)s->n, s->p, s->dy + i * s->ldy + at,
                                    s->q + i * s->ldy + at, value});
        sum += line_total(n, value);
    }
    s->value[i] = sum / (float)s->n;
    finish_line(s, i);
}

/* Lines across (cdl_scoring), each summed up in line_total's order. */
CDL_INLINE void across_loss(const struct cdl_scoring *s, elements_fn *elements) {
    const size_t n = s->n;
    for (size_t i = 0; i < s->rows; i += CDL_LINE) {
        float value[CDL_LINE * CDL_LINE], *dy = s->dy + i * n;
        elements(&(struct elements){n * CDL_LINE, s->y + i * n, (const float *)s->t + i * n,
                                    s->scale / (float)n, s->p, dy, s->q + i * n, value});
        for (size_t lane = 0; lane < CDL_LINE; lane += CDL_VLEN) {
            columns of;
            for (size_t j = 0; j < n; j++) vf_store(of.at[j], vf_load(value + j * CDL_LINE + lane));
            vf_store(s->value + i + lane, columns_sum(n, &of) / vf_splat((float)n));
        }
        for (size_t j = 0; j < n * CDL_LINE && s->weight; j++) dy[j] *= s->weight[i + j % CDL_LINE];
    }
}

CDL_INLINE void assert_scoring(const struct cdl_scoring *s) {
    assert(are_padded(s->rows, s->n, s->y, s->ldy) && (!s->weight || s->lines > 0));
    assert(s->rows == 0 || (s->t && s->dy && s->q && s->value && s->p));
}

/* Not inlined: one for all losses, whose loops it calls through the pointer. */
static __attribute__((noinline)) void element_loss(const struct cdl_scoring *s,
                                                   elements_fn *elements) {
    if (s->across) {
        across_loss(s, elements);
        return;
    }
    assert_scoring(s);
    assert(are_padded(s->rows, s->n, s->t, s->ldt) && are_dense(s->rows, s->n, s->ldy));
    if (s->n == 1) {
        column_loss(s, elements);
    } else if (s->ldy == s->ldt && s->ldy <= LOSS_ELEMENTS) {
        short_lines_loss(s, elements);
    } else {
        for (size_t i = 0; i < s->rows; i++) long_line_loss(s, i, elements);
    }
}

#define ELEMENT_LOSS_LOOPS(NAME, PARAMS)                                                           \
    static void NAME##_elements(const struct elements *e) { each_loss(NAME, e); }                  \
    static void NAME##_loss(const struct cdl_scoring *s) { element_loss(s, NAME##_elements); }
CDL_ELEMENT_LOSSES(ELEMENT_LOSS_LOOPS)

CDL_INLINE const void *target_of(const struct cdl_scoring *s, size_t i, const enum cdl_target is) {
    if (is == CDL_TARGET_IS_CLASSES) return (const int32_t *)s->t + i;
    return (const float *)s->t + (is == CDL_TARGET_IS_VALUES ? i * s->ldt : i);
}

/* Losses of a line, in blocks of lines whose logarithms are taken together. Single columns are
 * copied to a line of their own, which has room for pads. */
enum { LOSS_BLOCK = 64 };
typedef struct line_loss line_loss_fn(size_t n, const float *y, const void *target, float scale,
                                      const float *p, float *dz, float *q);

CDL_INLINE void line_losses(const struct cdl_scoring *s, const enum cdl_loss kind,
                            const enum cdl_target target, line_loss_fn *loss_of) {
    assert_scoring(s);
    const float p[CDL_MAX_ROW_PARAMS] = {s->p[0], s->p[1], s->p[2], s->p[3]};
    for (size_t block = few_classes_loss(kind, s); block < s->rows; block += LOSS_BLOCK) {
        const size_t lines = cdl_min(s->rows - block, LOSS_BLOCK);
        float sum[LOSS_BLOCK], total[LOSS_BLOCK], rest[LOSS_BLOCK];
        for (size_t l = 0; l < lines; l++) {
            const size_t i = block + l;
            const float scale = s->scale * line_weight(s, i);
            /* One call, since it is inlined. */
            float y[CDL_LINE], one[CDL_LINE], dy[CDL_LINE], q[CDL_LINE];
            const bool single = s->n == 1;
            const size_t at = i * s->ldy;
            const void *t = target_of(s, i, target);
            if (single) {
                memset(y, 0, sizeof y);
                memset(one, 0, sizeof one);
                y[0] = s->y[i];
                memcpy(one, t, sizeof one[0]);
            }
            const struct line_loss loss =
                loss_of(s->n, single ? y : s->y + at, single ? one : t, scale, p,
                        single ? dy : s->dy + at, single ? q : s->q + at);
            if (single) s->dy[i] = dy[0], s->q[i] = q[0];
            sum[l] = loss.sum, total[l] = loss.total, rest[l] = loss.rest;
        }
        for (size_t l = 0; l < lines; l++)
            s->value[block + l] = fma_f(total[l], log_f(sum[l]), rest[l]);
    }
}

#define LINE_LOSS_LOOP(NAME, TARGET, PARAMS)                                                       \
    static void NAME##_loss(const struct cdl_scoring *s) {                                         \
        line_losses(s, CDL_LOSS_##NAME, CDL_TARGET_IS_##TARGET, NAME);                             \
    }
CDL_LINE_LOSSES(LINE_LOSS_LOOP)

typedef float metric_fn(size_t n, const float *y, const void *target, const float *p);

CDL_INLINE void line_metrics(const struct cdl_scoring *s, const enum cdl_metric kind,
                             const enum cdl_target target, metric_fn *metric) {
    assert(are_padded(s->rows, s->n, s->y, s->ldy) && (s->rows == 0 || (s->t && s->value)));
    const float p[CDL_MAX_ROW_PARAMS] = {s->p[0], s->p[1], s->p[2], s->p[3]};
    for (size_t i = few_classes_metric(kind, s); i < s->rows; i++)
        s->value[i] = metric(s->n, s->y + i * s->ldy, target_of(s, i, target), p);
}

#define METRIC_LOOP(NAME, TARGET, PARAMS)                                                          \
    static void NAME##_metric(const struct cdl_scoring *s) {                                       \
        line_metrics(s, CDL_METRIC_##NAME, CDL_TARGET_IS_##TARGET, metric_##NAME);                 \
    }
CDL_METRICS(METRIC_LOOP)

/* Updates run over whole lines, pads included: a pad's gradient is 0, so it stays 0. */
typedef float update_fn(float w, float g, float *slot, const float *s);

CDL_INLINE void update_all(const int n_slots, update_fn *update, size_t n, float *restrict w,
                           const float *restrict g, float *const *slots, const float *derived) {
    assert(n > 0 && w && g && are_apart(w, n, g, n) && (n_slots == 0 || slots));
    float s[CDL_MAX_DERIVED];
    for (int i = 0; i < CDL_MAX_DERIVED; i++) s[i] = derived[i];
    float *restrict slot0 = n_slots > 0 ? slots[0] : NULL;
    float *restrict slot1 = n_slots > 1 ? slots[1] : NULL;
    float *restrict slot2 = n_slots > 2 ? slots[2] : NULL;
    for (size_t i = 0; i < n; i++) {
        float slot[CDL_MAX_SLOTS];
        if (n_slots > 0) slot[0] = slot0[i];
        if (n_slots > 1) slot[1] = slot1[i];
        if (n_slots > 2) slot[2] = slot2[i];
        w[i] = update(w[i], g[i], slot, s);
        if (n_slots > 0) slot0[i] = slot[0];
        if (n_slots > 1) slot1[i] = slot[1];
        if (n_slots > 2) slot2[i] = slot[2];
    }
}

#define UPDATE_LOOP(NAME, N_SLOTS, HYPERS, SLOTS)                                                  \
    static void NAME##_loop_update(size_t n, float *w, const float *g, float *const *slots,        \
                                   const float *s) {                                               \
        update_all(N_SLOTS, NAME##_update, n, w, g, slots, s);                                     \
    }
CDL_OPTIMIZERS(UPDATE_LOOP)

/* A line of numbers makes all its steps in registers. */
CDL_INLINE void rest_all(const int n_slots, update_fn *update, size_t n, float *w,
                         float *const *slots, const struct cdl_rests *rests) {
    assert(n % CDL_LINE == 0 && w && slots && rests);
    for (size_t i = 0; i < n; i += CDL_LINE) {
        float line[CDL_LINE], slot[CDL_MAX_SLOTS][CDL_LINE];
        memcpy(line, w + i, sizeof line);
        for (int k = 0; k < n_slots; k++) memcpy(slot[k], slots[k] + i, sizeof slot[k]);
        for (size_t t = 0; t < rests->steps; t++) {
            const float *s = rests->derived + t * rests->stride;
            const float decay = rests->decay * rests->rates[t * rests->stride];
            for (size_t l = 0; l < CDL_LINE; l++) {
                float own[CDL_MAX_SLOTS];
                for (int k = 0; k < n_slots; k++) own[k] = slot[k][l];
                const float left = fma_f(-decay, line[l], line[l]);
                line[l] = update(decay != 0.0f ? left : line[l], 0.0f, own, s);
                for (int k = 0; k < n_slots; k++) slot[k][l] = own[k];
            }
        }
        memcpy(w + i, line, sizeof line);
        for (int k = 0; k < n_slots; k++) memcpy(slots[k] + i, slot[k], sizeof slot[k]);
    }
}

#define REST_LOOP(NAME, N_SLOTS)                                                                   \
    static void NAME##_rest(size_t n, float *w, float *const *slots,                               \
                            const struct cdl_rests *rests) {                                       \
        rest_all(N_SLOTS, NAME##_update, n, w, slots, rests);                                      \
    }
CDL_RESTING(REST_LOOP)

/* Weights of CDL_LINE models in lanes, of which each has numbers of its own: s[which][lane]. */
CDL_INLINE void update_lanes(const int n_slots, update_fn *update, size_t n, float *restrict w,
                             const float *restrict g, float *const *slots, const float *s) {
    float *restrict slot0 = n_slots > 0 ? slots[0] : NULL;
    float *restrict slot1 = n_slots > 1 ? slots[1] : NULL;
    float *restrict slot2 = n_slots > 2 ? slots[2] : NULL;
    for (size_t i = 0; i < n; i += CDL_LINE) {
        for (size_t l = 0; l < CDL_LINE; l++) {
            float own[CDL_MAX_DERIVED], slot[CDL_MAX_SLOTS];
            CDL_UNROLL for (size_t d = 0; d < CDL_MAX_DERIVED; d++) own[d] = s[d * CDL_LINE + l];
            if (n_slots > 0) slot[0] = slot0[i + l];
            if (n_slots > 1) slot[1] = slot1[i + l];
            if (n_slots > 2) slot[2] = slot2[i + l];
            w[i + l] = update(w[i + l], g[i + l], slot, own);
            if (n_slots > 0) slot0[i + l] = slot[0];
            if (n_slots > 1) slot1[i + l] = slot[1];
            if (n_slots > 2) slot2[i + l] = slot[2];
        }
    }
}

#define UPDATE_LANES_LOOP(NAME, N_SLOTS, HYPERS, SLOTS)                                            \
    static void NAME##_lanes_update(size_t n, float *w, const float *g, float *const *slots,       \
                                    const float *s) {                                              \
        update_lanes(N_SLOTS, NAME##_update, n, w, g, slots, s);                                   \
    }
CDL_OPTIMIZERS(UPDATE_LANES_LOOP)
