/* lanes.h - products of CDL_LINE models at once, of which each has a lane: an element of a matrix
 * is a line.
 *
 * Part of the ISA template. The chain of an element is that of the products of one model.
 */
enum {
    LANES_ROWS = 4,
    LANES_COLUMNS = PARTS == 2 ? 3 : 4,
    LANES_TALL = 8 /* rows of a single column: fewer sums would wait for each other */
}; /* sums, factors and one more stay in registers */

/* Ends of sums: as they are, relu, or relu's gradient where its values are p->y. */
enum lanes_end { LANES_SUM, LANES_CUTS, LANES_GOES_BACK };
typedef vf lanes_sums[LANES_TALL][LANES_COLUMNS];

CDL_INLINE void lanes_end(const enum lanes_end end, const size_t rows, const size_t wide,
                          const struct cdl_lanes_product *p, size_t at, lanes_sums sums) {
    const size_t n = p->n * CDL_LINE;
    float *to = p->c + at;
    CDL_UNROLL for (size_t r = 0; r < rows; r++, at += n, to += n) {
        CDL_UNROLL for (size_t c = 0; c < wide; c++) {
            vf sum = sums[r][c];
            if (end == LANES_CUTS) sum = vf_select(sum < vf_splat(0), vf_splat(0), sum);
            if (end == LANES_GOES_BACK) {
                const vf y = vf_load(p->y + at + c * CDL_LINE);
                sum = vf_select(y > vf_splat(0), sum, vf_splat(0));
            }
            vf_store(to + c * CDL_LINE, sum);
        }
    }
}
CDL_INLINE void lanes_store(const size_t rows, const size_t wide, const struct cdl_lanes_product *p,
                            size_t at, lanes_sums sums) {
    if (p->y)
        lanes_end(LANES_GOES_BACK, rows, wide, p, at, sums);
    else if (p->cuts)
        lanes_end(LANES_CUTS, rows, wide, p, at, sums);
    else
        lanes_end(LANES_SUM, rows, wide, p, at, sums);
}

CDL_INLINE void lanes_tile(const size_t rows, const size_t wide, const struct cdl_lanes_product *p,
                           size_t i, size_t j, size_t lane) {
    const size_t a_row = p->a_row * CDL_LINE, a_step = p->a_step * CDL_LINE;
    const size_t b_column = p->b_column * CDL_LINE, b_step = p->b_step * CDL_LINE;
    const float *a = p->a + i * a_row + lane, *b = p->b + j * b_column + lane;
    const float *init = p->init + j * p->init_column * CDL_LINE + lane;
    lanes_sums sum;
    CDL_UNROLL for (size_t c = 0; c < wide; c++) {
        const vf first = vf_load(init + c * p->init_column * CDL_LINE);
        CDL_UNROLL for (size_t r = 0; r < rows; r++) sum[r][c] = first;
    }
    for (size_t q = p->k; q > 0; q--, a += a_step, b += b_step) {
        vf factor[LANES_COLUMNS];
        CDL_UNROLL for (size_t c = 0; c < wide; c++) factor[c] = vf_load(b + c * b_column);
        CDL_UNROLL for (size_t r = 0; r < rows; r++) {
            const vf x = vf_load(a + r * a_row);
            CDL_UNROLL for (size_t c = 0; c < wide; c++) sum[r][c] =
                vf_fma(x, factor[c], sum[r][c]);
        }
    }
    lanes_store(rows, wide, p, (i * p->n + j) * CDL_LINE + lane, sum);
}

/* Some columns of all rows; a line is read once from L2 for all its lanes. */
CDL_INLINE void lanes_columns(const size_t wide, const struct cdl_lanes_product *p, size_t j) {
    const size_t rows = wide == 1 ? LANES_TALL : LANES_ROWS;
    for (; p; p = p->beside) {
        size_t i = 0;
        for (; i + rows <= p->m; i += rows) {
            for (size_t lane = 0; lane < CDL_LINE; lane += CDL_VLEN)
                lanes_tile(rows, wide, p, i, j, lane);
        }
        for (; i < p->m; i++) {
            for (size_t lane = 0; lane < CDL_LINE; lane += CDL_VLEN)
                lanes_tile(1, wide, p, i, j, lane);
        }
    }
}

static void lanes_product(const struct cdl_lanes_product *p) {
    size_t j = 0;
    for (; j + LANES_COLUMNS <= p->n; j += LANES_COLUMNS) lanes_columns(LANES_COLUMNS, p, j);
    if (LANES_COLUMNS > 3 && p->n - j == 3)
        lanes_columns(3, p, j);
    else if (p->n - j == 2)
        lanes_columns(2, p, j);
    else if (p->n - j == 1)
        lanes_columns(1, p, j);
}

/* One element in sixteen chains, which are added up by halves, as dot_rows and dot_panels do. */
static void lanes_dot(const struct cdl_lanes_product *p, size_t i, size_t j, size_t lane) {
    const size_t rest = p->k / CDL_LINE * CDL_LINE;
    const size_t a_step = p->a_step * CDL_LINE, b_step = p->b_step * CDL_LINE;
    const float *a = p->a + i * p->a_row * CDL_LINE + lane;
    const float *b = p->b + j * p->b_column * CDL_LINE + lane;
    vf sum[CDL_LINE];
    CDL_UNROLL for (size_t s = 0; s < CDL_LINE; s++) sum[s] = vf_splat(0);
    for (size_t q = 0; q < rest; q += CDL_LINE) {
        CDL_UNROLL for (size_t s = 0; s < CDL_LINE; s++, a += a_step, b += b_step) sum[s] =
            vf_fma(vf_load(a), vf_load(b), sum[s]);
    }
    if (rest < p->k) { /* in memory, since which of the sums is not known here */
        const size_t first = p->rest_is_last ? CDL_LINE - p->k % CDL_LINE : 0;
        const size_t last = first + p->k - rest;
        vf all[CDL_LINE];
        CDL_UNROLL for (size_t s = 0; s < CDL_LINE; s++) {
            all[s] = s < first || s >= last ? sum[s] + vf_splat(0) : sum[s];
        }
        for (size_t s = first; s < last; s++, a += a_step, b += b_step)
            all[s] = vf_fma(vf_load(a), vf_load(b), all[s]);
        CDL_UNROLL for (size_t s = 0; s < CDL_LINE; s++) sum[s] = all[s];
    }
    CDL_UNROLL for (size_t half = CDL_LINE / 2; half > 0; half /= 2) {
        CDL_UNROLL for (size_t s = 0; s < half; s++) sum[s] += sum[s + half];
    }
    lanes_sums all = {{vf_load(p->init + j * p->init_column * CDL_LINE + lane) + sum[0]}};
    lanes_store(1, 1, p, (i * p->n + j) * CDL_LINE + lane, all);
}

static void lanes_dots(const struct cdl_lanes_product *p) {
    for (size_t i = 0; i < p->m; i++) {
        for (size_t j = 0; j < p->n; j++) {
            for (size_t lane = 0; lane < CDL_LINE; lane += CDL_VLEN) lanes_dot(p, i, j, lane);
        }
    }
}

/* line_total of x of each lane, or line_product of x - a and y - b. Not inlined: a wheel would have
 * 10 KB more. */
CDL_INLINE vf lanes_halves(vf sum[CDL_LINE]) {
    CDL_UNROLL for (size_t half = CDL_LINE / 2; half > 0; half /= 2) {
        CDL_UNROLL for (size_t s = 0; s < half; s++) sum[s] += sum[s + half];
    }
    return sum[0];
}
__attribute__((noinline)) static vf lanes_total(size_t n, const float *x) {
    vf sum[CDL_LINE];
    CDL_UNROLL for (size_t s = 0; s < CDL_LINE; s++) sum[s] = vf_splat(0);
    for (size_t j = 0; j < n; j += CDL_LINE) {
        CDL_UNROLL for (size_t s = 0; s < CDL_LINE; s++, x += CDL_LINE) sum[s] +=
            j + s < n ? vf_load(x) : vf_splat(0);
    }
    return lanes_halves(sum);
}
__attribute__((noinline)) static vf lanes_product_of(size_t n, const float *x, vf a, const float *y,
                                                     vf b) {
    vf sum[CDL_LINE];
    CDL_UNROLL for (size_t s = 0; s < CDL_LINE; s++) sum[s] = vf_splat(0);
    for (size_t j = 0; j < n; j += CDL_LINE) {
        CDL_UNROLL for (size_t s = 0; s < CDL_LINE; s++, x += CDL_LINE, y += CDL_LINE) {
            if (j + s < n)
                sum[s] = vf_fma(vf_load(x) - a, vf_load(y) - b, sum[s]);
            else
                sum[s] += vf_splat(0);
        }
    }
    return lanes_halves(sum);
}

/* 1 / sqrt(x), but at most `limit`. */
CDL_INLINE vf lanes_factor(vf x, float limit) {
    float f[CDL_VLEN];
    vf_store(f, x);
    for (size_t l = 0; l < CDL_VLEN; l++) {
        const float inverse = 1.0f / sqrtf(f[l]);
        f[l] = inverse > limit ? limit : inverse;
    }
    return vf_load(f);
}

static void lanes_normalize(size_t rows, const struct cdl_normalizing *s) {
    const size_t n = s->n;
    const bool about_mean = s->measure == CDL_BY_VARIANCE, by_norm = s->measure == CDL_BY_NORM;
    const vf zero = vf_splat(0), count = vf_splat((float)n);
    for (size_t i = 0; i < rows * CDL_LINE; i += CDL_VLEN) {
        const size_t r = i / CDL_LINE, lane = i % CDL_LINE;
        const float *x = s->x + r * n * CDL_LINE + lane;
        float *y = s->y + r * n * CDL_LINE + lane;
        const bool has_mean = about_mean || s->subtracts_mean;
        const vf mean = has_mean ? lanes_total(n, x) / count : zero;
        const vf m = about_mean ? mean : zero, c = s->subtracts_mean ? mean : zero;
        const vf squares = lanes_product_of(n, x, m, x, m);
        const vf factor = by_norm ? lanes_factor(squares, 1.0f / s->epsilon)
                                  : lanes_factor(squares / count + vf_splat(s->epsilon), INFINITY);
        vf_store(s->means + i, mean);
        vf_store(s->factors + i, factor);
        for (size_t j = 0; j < n; j++) {
            const vf gamma = vf_load(s->gamma + j * s->gamma_step + lane);
            const vf beta = vf_load(s->beta + j * s->beta_step + lane);
            vf_store(y + j * CDL_LINE,
                     vf_fma((vf_load(x + j * CDL_LINE) - c) * factor, gamma, beta));
        }
    }
}

static void lanes_normalize_back(size_t rows, const struct cdl_normalizing *s) {
    const size_t n = s->n;
    const vf zero = vf_splat(0), count = vf_splat((float)n);
    memset(s->dgamma, 0, n * CDL_LINE * sizeof(float));
    memset(s->dbeta, 0, n * CDL_LINE * sizeof(float));
    for (size_t i = 0; i < rows * CDL_LINE; i += CDL_VLEN) {
        const size_t first = i / CDL_LINE * n * CDL_LINE + i % CDL_LINE, lane = i % CDL_LINE;
        const float *x = s->x + first, *dy = s->dy + first;
        float *dx = s->dx ? s->dx + first : NULL, *dgamma = s->dgamma + lane;
        const vf factor = vf_load(s->factors + i), mean = vf_load(s->means + i);
        const vf m = s->measure == CDL_BY_VARIANCE ? mean : zero;
        const vf c = s->subtracts_mean ? mean : zero;
        for (size_t j = 0; j < n * CDL_LINE; j += CDL_LINE) {
            const vf d = vf_load(dy + j), u = (vf_load(x + j) - c) * factor;
            vf_store(dgamma + j, vf_fma(d, u, vf_load(dgamma + j)));
            vf_store(s->dbeta + lane + j, vf_load(s->dbeta + lane + j) + d);
        }
        if (!dx) continue;
        vf part = vf_splat(1.0f / (float)n);
        if (s->measure == CDL_BY_NORM)
            part = vf_select(factor >= vf_splat(1.0f / s->epsilon), zero, vf_splat(1));
        for (size_t j = 0; j < n; j++)
            vf_store(dx + j * CDL_LINE,
                     vf_load(dy + j * CDL_LINE) * vf_load(s->gamma + j * s->gamma_step + lane));
        const vf by_mean = s->subtracts_mean ? lanes_total(n, dx) / count : zero;
        const vf along = lanes_product_of(n, dx, zero, x, c) * factor * factor * part;
        for (size_t j = 0; j < n * CDL_LINE; j += CDL_LINE)
            vf_store(dx + j, factor * vf_fma(m - vf_load(x + j), along, vf_load(dx + j) - by_mean));
    }
}

static struct cdl_lane_keys lanes_row_keys(const struct cdl_lane_keys *keys, uint32_t row) {
    struct cdl_lane_keys own;
    for (size_t lane = 0; lane < CDL_LINE; lane++) {
        const struct cdl_key key = cdl_row_key((struct cdl_key){keys->a[lane], keys->b[lane]}, row);
        own.a[lane] = key.a, own.b[lane] = key.b;
    }
    return own;
}

static void lanes_dropout(size_t rows, size_t n, const struct cdl_lane_keys *keys,
                          uint32_t first_row, const struct cdl_drop *drop, const float *x,
                          float *restrict y) {
    const uint32_t keep = drop->keep;
    const float scale = drop->scale;
    for (size_t r = 0; r < rows; r++) {
        const struct cdl_lane_keys own = lanes_row_keys(keys, first_row + (uint32_t)r);
        for (size_t j = 0; j < n; j++, x += CDL_LINE, y += CDL_LINE) {
            for (size_t lane = 0; lane < CDL_LINE; lane++) {
                const struct cdl_key key = {own.a[lane], own.b[lane]};
                y[lane] = cdl_random_bits(key, (uint32_t)j) < keep ? x[lane] * scale : 0.0f;
            }
        }
    }
}

static void lanes_penalty(size_t n, const float *w, double l1, double l2, double *restrict sums) {
    double absolute[CDL_LINE] = {0.0}, squares[CDL_LINE] = {0.0};
    for (size_t i = 0; i < n; i++, w += CDL_LINE) {
        for (size_t lane = 0; lane < CDL_LINE; lane++) {
            absolute[lane] += (double)abs_f(w[lane]);
            squares[lane] += (double)w[lane] * (double)w[lane];
        }
    }
    for (size_t lane = 0; lane < CDL_LINE; lane++)
        sums[lane] += l1 * absolute[lane] + l2 * squares[lane];
}

/* Penalties in the order of `penalize`: a line is of one row and panel, or of a single column. */
static void lanes_penalties(size_t rows, size_t cols, const float *w, float l1, float l2,
                            double *sums) {
    const size_t height = cols == 1 ? 1 : rows, n = cols == 1 ? rows : cols;
    for (size_t first = 0; first < n; first += CDL_PANEL) {
        const size_t last = cdl_min(first + CDL_PANEL, n);
        for (size_t r = 0; r < height; r++) {
            for (size_t j = first; j < last; j += CDL_LINE)
                lanes_penalty(cdl_min(last - j, CDL_LINE), w + (r * n + j) * CDL_LINE, (double)l1,
                              (double)l2, sums);
        }
    }
}

/* Four columns of as many rows as a register has lanes, each with its address. */
CDL_INLINE vf lanes_four(const float *const *rows, size_t j) {
    vf_four v[CDL_VLEN / 4];
    CDL_UNROLL for (size_t i = 0; i < CDL_VLEN / 4; i++) v[i] = *(const vf_four *)(rows[4 * i] + j);
    return vf_of_fours(v);
}

static void lanes_gather(size_t rows, size_t n, const struct cdl_lane_rows *from, float *elements) {
    for (size_t r = 0; r < rows; r++, elements += n * CDL_LINE) {
        const float *row[CDL_LINE];
        for (size_t l = 0; l < CDL_LINE; l++)
            row[l] =
                (const float *)(const void *)(from->data[l] + from->order[l][r] * from->stride[l]);
        for (size_t j = 0; j < n && n < 4; j++) {
            for (size_t l = 0; l < CDL_LINE; l++) elements[j * CDL_LINE + l] = row[l][j];
        }
        for (size_t first = 0; first < n && n >= 4; first += 4) {
            const size_t j = cdl_min(first, n - 4); /* the last four over the one before */
            for (size_t lane = 0; lane < CDL_LINE; lane += CDL_VLEN) {
                vf v[4];
                CDL_UNROLL for (size_t c = 0; c < 4; c++) v[c] = lanes_four(row + lane + c, j);
                vf_transpose_fours(v);
                CDL_UNROLL for (size_t c = 0; c < 4; c++)
                    vf_store(elements + (j + c) * CDL_LINE + lane, v[c]);
            }
        }
    }
}

/* Columns [j, j + 4) of as many members as a register has lanes; of the first n. */
CDL_INLINE void lanes_fours_in(size_t n, size_t j, const float *members, size_t ld,
                               float *elements) {
    vf v[4];
    CDL_UNROLL for (size_t c = 0; c < 4; c++) v[c] = vf_load_fours(members + c * ld + j, ld);
    vf_transpose_fours(v);
    CDL_UNROLL for (size_t c = 0; c < 4; c++) {
        if (j + c < n) vf_store(elements + (j + c) * CDL_LINE, v[c]);
    }
}
CDL_INLINE void lanes_fours_out(size_t n, size_t j, const float *elements, float *members,
                                size_t ld) {
    vf v[4];
    CDL_UNROLL for (size_t c = 0; c < 4; c++) v[c] =
        j + c < n ? vf_load(elements + (j + c) * CDL_LINE) : vf_splat(0);
    vf_transpose_fours(v);
    CDL_UNROLL for (size_t c = 0; c < 4; c++) {
        CDL_UNROLL for (size_t i = 0; i < CDL_VLEN; i += 4)
            memcpy(members + (c + i) * ld + j, (const float *)&v[c] + i, 4 * sizeof(float));
    }
}

/* Rows of n numbers of each of CDL_LINE members, ld apart, as elements that are lines; and back. */
static void lanes_in(size_t rows, size_t n, const float *members, size_t ld, float *elements) {
    for (size_t r = 0; r < rows; r++, elements += n * CDL_LINE) {
        for (size_t lane = 0; lane < CDL_LINE; lane += CDL_VLEN, members += CDL_VLEN * ld) {
            for (size_t j = 0; j < n; j += 4) lanes_fours_in(n, j, members, ld, elements + lane);
        }
    }
}
static void lanes_out(size_t rows, size_t n, const float *elements, float *members, size_t ld) {
    for (size_t r = 0; r < rows; r++, elements += n * CDL_LINE) {
        for (size_t lane = 0; lane < CDL_LINE; lane += CDL_VLEN, members += CDL_VLEN * ld) {
            for (size_t j = 0; j < n; j += 4) lanes_fours_out(n, j, elements + lane, members, ld);
        }
    }
}
