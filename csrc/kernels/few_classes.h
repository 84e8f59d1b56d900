/* few_classes.h - softmax, its losses and accuracy where a row is no more than a line.
 *
 * Part of the ISA template. A reduction along a row of ten costs more than the arithmetic, so as
 * many rows as a register has floats are transposed, and class j of all of them is one register.
 * Lanes never mix, so a row's result does not depend on the rows beside it. Fewer than FEW_ROWS
 * rows that are left over are done line by line; sums are taken in line_sum's order, so that a
 * row has the same probabilities either way.
 */
enum { FEW_ROWS = 4 };

/* Class j of row r is at[j][r]. */
typedef struct {
    _Alignas(64) float at[CDL_LINE][CDL_VLEN];
} columns;

/* The number of rows in the block that begins at row i; 0 if too few are left. */
CDL_INLINE size_t few_rows(size_t rows, size_t i) {
    const size_t left = rows - i;
    return left >= CDL_VLEN ? CDL_VLEN : (left >= FEW_ROWS ? left : 0);
}
CDL_INLINE bool are_few(size_t rows, size_t n) {
    return rows >= FEW_ROWS && n > 1 && n <= CDL_LINE;
}

CDL_INLINE vf column(const columns *x, size_t j) { return vf_load(x->at[j]); }

/* Column j of the first n, behind which all are 0. */
CDL_INLINE vf column_of(const columns *x, size_t n, size_t j) {
    return j < n ? column(x, j) : vf_splat(0);
}

/* The first n columns, with those beside them in a four. Lanes beyond `rows` hold the last row. */
CDL_INLINE void columns_load(size_t rows, size_t n, const float *x, size_t ldx, columns *to) {
    _Alignas(64) float few[CDL_VLEN * CDL_LINE];
    for (size_t r = 0; r < CDL_VLEN && rows < CDL_VLEN; r++)
        memcpy(few + r * CDL_LINE, x + cdl_min(r, rows - 1) * ldx, CDL_LINE * sizeof *few);
    if (rows < CDL_VLEN) x = few, ldx = CDL_LINE;
    CDL_UNROLL for (size_t j = 0; j < CDL_LINE; j += 4) {
        vf v[4];
        if (j >= n) break;
        CDL_UNROLL for (size_t r = 0; r < 4; r++) v[r] = vf_load_fours(x + r * ldx + j, ldx);
        vf_transpose_fours(v);
        CDL_UNROLL for (size_t c = 0; c < 4; c++) vf_store(to->at[j + c], v[c]);
    }
}

/* Columns behind the first n are 0. */
CDL_INLINE void columns_store(size_t rows, size_t n, const columns *x, float *to, size_t ld) {
    CDL_UNROLL for (size_t j = 0; j < CDL_LINE; j += CDL_VLEN) {
        vf v[CDL_VLEN];
        CDL_UNROLL for (size_t c = 0; c < CDL_VLEN; c++) v[c] = column_of(x, n, j + c);
        if (j < n) vf_transpose(v);
        if (rows == CDL_VLEN) {
            CDL_UNROLL for (size_t r = 0; r < CDL_VLEN; r++) vf_store(to + r * ld + j, v[r]);
        } else {
            CDL_UNROLL for (size_t r = 0; r < CDL_VLEN; r++) {
                if (r < rows) vf_store(to + r * ld + j, v[r]);
            }
        }
    }
}

/* Line i of those that lie across (cdl_scoring). */
CDL_INLINE size_t across_at(size_t n, size_t i) {
    return i / CDL_LINE * n * CDL_LINE + i % CDL_LINE;
}

/* The columns of some lines from number i on, as a call has them. */
CDL_INLINE void lines_load(const struct cdl_scoring *s, size_t rows, size_t i, const float *x,
                           size_t ld, columns *to) {
    const float *from = x + across_at(s->n, i);
    for (size_t j = 0; j < s->n && s->across; j++)
        vf_store(to->at[j], vf_load(from + j * CDL_LINE));
    if (!s->across) columns_load(rows, s->n, x + i * ld, ld, to);
}
CDL_INLINE void lines_store(const struct cdl_scoring *s, size_t rows, size_t i, const columns *x,
                            float *to) {
    float *at = to + across_at(s->n, i);
    for (size_t j = 0; j < s->n && s->across; j++) vf_store(at + j * CDL_LINE, column(x, j));
    if (!s->across) columns_store(rows, s->n, x, to + i * s->ldy, s->ldy);
}

/* The sum of the columns: the upper half onto the lower one, again and again, as line_sum. */
CDL_INLINE vf columns_sum(size_t n, const columns *x) {
    vf s[CDL_LINE / 2];
    CDL_UNROLL for (size_t j = 0; j < 8; j++) s[j] = column_of(x, n, j) + column_of(x, n, j + 8);
    CDL_UNROLL for (size_t j = 0; j < 4; j++) s[j] += s[j + 4];
    return (s[0] + s[2]) + (s[1] + s[3]);
}

/* The largest of each row; NaN only if the first is (the others show in the sums). */
CDL_INLINE vf columns_top(size_t n, const columns *x) {
    vf top = column(x, 0), other = top;
    for (size_t j = 1; j + 1 < n; j += 2) {
        top = vf_max(column(x, j), top);
        other = vf_max(column(x, j + 1), other);
    }
    return vf_max(vf_max(column(x, n - 1), other), top);
}

/* x less each row's largest to x, its exponential to e; returns the sums. */
CDL_INLINE vf columns_exp(size_t n, columns *restrict x, columns *restrict e) {
    const vf top = columns_top(n, x);
    for (size_t j = 0; j < n; j++) vf_store(x->at[j], column(x, j) - top);
    const float *from = x->at[0];
    float *to = e->at[0];
    for (size_t i = 0; i < n * CDL_VLEN; i++) to[i] = exp_down_f(from[i]);
    return columns_sum(n, e);
}

/* Softmax of the first rows; how many they were. */
static size_t few_softmax(size_t rows, size_t n, const float *x, size_t ldx, float *y, size_t ldy) {
    columns z, e;
    size_t i = 0;
    for (size_t these; (these = few_rows(rows, i)) > 0; i += these) {
        columns_load(these, n, x + i * ldx, ldx, &z);
        const vf inverse = vf_splat(1) / columns_exp(n, &z, &e);
        for (size_t j = 0; j < n; j++) vf_store(e.at[j], column(&e, j) * inverse);
        columns_store(these, n, &e, y + i * ldy, ldy);
    }
    return i;
}

CDL_INLINE void few_store(size_t rows, vf values, float *to) {
    float value[CDL_VLEN];
    vf_store(rows == CDL_VLEN ? to : value, values);
    for (size_t r = 0; r < rows && rows < CDL_VLEN; r++) to[r] = value[r];
}

/* The softmax losses of losses.h. `these` rows from i on; t: their targets by class, which sum to
 * `total`; sparse: -1 if these are 1 for one class or none; room: for z, q and dz. */
CDL_INLINE void few_softmax_loss(const struct cdl_scoring *s, size_t i, size_t these,
                                 const columns *t, vf total, vi sparse, columns room[3]) {
    columns *z = &room[0], *q = &room[1], *dz = &room[2];
    const size_t n = s->n;
    lines_load(s, these, i, s->y, s->ldy, z);
    const vf sum = columns_exp(n, z, q);
    vf scale = vf_splat(s->scale);
    for (size_t r = 0; r < these && s->weight; r++) scale[r] *= line_weight(s, i + r);
    const vf inverse = vf_splat(1) / sum;
    /* Selected, not multiplied by 0, which would make NaN of infinite scores. */
    const vi ignored = sparse & (total == vf_splat(0));
    const vf all = total * scale;
    for (size_t j = 0; j < n; j++) {
        const vf p = column(q, j) * inverse, tj = column(t, j);
        const vf tz = tj * column(z, j);
        vf_store(z->at[j], vf_select(sparse & (tj == vf_splat(0)), vf_splat(0), tz));
        vf_store(q->at[j], p);
        vf_store(dz->at[j], vf_select(ignored, vf_splat(0), vf_fma(-tj, scale, p * all)));
    }
    const vf dot = columns_sum(n, z);
    lines_store(s, these, i, q, s->q);
    lines_store(s, these, i, dz, s->dy);
    float value[CDL_VLEN], sums[CDL_VLEN];
    vf_store(sums, sum);
    for (size_t r = 0; r < CDL_VLEN; r++) value[r] = log_f(sums[r]);
    const vf loss = vf_fma(vf_load(value), total, -dot);
    few_store(these, vf_select(ignored, vf_splat(0), loss), s->value + i);
}

static size_t few_dense_targets(const struct cdl_scoring *s) {
    columns t, room[3];
    const vf keep = vf_splat(1.0f - s->p[0]), extra = vf_splat(s->p[0] / (float)s->n);
    size_t i = 0;
    for (size_t these; (these = few_rows(s->rows, i)) > 0; i += these) {
        lines_load(s, these, i, s->t, s->ldt, &t);
        for (size_t j = 0; j < s->n; j++) vf_store(t.at[j], vf_fma(column(&t, j), keep, extra));
        few_softmax_loss(s, i, these, &t, columns_sum(s->n, &t), (vi){0}, room);
    }
    return i;
}

CDL_INLINE vi few_classes(const struct cdl_scoring *s, size_t i, size_t these) {
    vi classes = {0};
    memcpy(&classes, (const int32_t *)s->t + i, these * sizeof(int32_t));
    return classes;
}

static size_t few_sparse_targets(const struct cdl_scoring *s) {
    columns t, room[3];
    size_t i = 0;
    for (size_t these; (these = few_rows(s->rows, i)) > 0; i += these) {
        const vi classes = few_classes(s, i, these);
        vf total = vf_splat(0);
        for (size_t j = 0; j < s->n; j++) {
            const vf hit = vf_select(classes == (int32_t)j - (vi){0}, vf_splat(1), vf_splat(0));
            vf_store(t.at[j], hit);
            total += hit;
        }
        few_softmax_loss(s, i, these, &t, total, ~(vi){0}, room);
    }
    return i;
}

/* The first rows of a loss, if it is one of these; how many they were. */
CDL_INLINE size_t few_classes_loss(enum cdl_loss kind, const struct cdl_scoring *s) {
    if (!are_few(s->rows, s->n)) return 0;
    if (kind == CDL_LOSS_softmax_categorical_crossentropy) return few_dense_targets(s);
    if (kind == CDL_LOSS_softmax_sparse_categorical_crossentropy) return few_sparse_targets(s);
    return 0;
}

/* cdl_argmax of each row. */
CDL_INLINE vi columns_argmax(size_t n, const columns *x) {
    vf top = column(x, 0);
    vi best = {0};
    for (size_t j = 1; j < n; j++) {
        const vf v = column(x, j);
        const vi above = (v > top) | ((v != v) & (top == top));
        top = vf_select(above, v, top);
        best = (((int32_t)j - (vi){0}) & above) | (best & ~above);
    }
    return best;
}

/* The first rows of a metric, if it is one of these; how many they were. */
CDL_INLINE size_t few_classes_metric(enum cdl_metric kind, const struct cdl_scoring *s) {
    const bool dense = kind == CDL_METRIC_categorical_accuracy;
    const bool sparse = kind == CDL_METRIC_sparse_categorical_accuracy;
    if (!are_few(s->rows, s->n) || !(dense || sparse)) return 0;
    columns y;
    size_t i = 0;
    for (size_t these; (these = few_rows(s->rows, i)) > 0; i += these) {
        lines_load(s, these, i, s->y, s->ldy, &y);
        const vi best = columns_argmax(s->n, &y);
        if (dense) lines_load(s, these, i, s->t, s->ldt, &y);
        const vi wanted = dense ? columns_argmax(s->n, &y) : few_classes(s, i, these);
        few_store(these, vf_select(best == wanted, vf_splat(1), vf_splat(0)), s->value + i);
    }
    return i;
}
