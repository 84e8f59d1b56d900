/* integers.h - products with a matrix of integers of eight or four bits, which read a quarter or an
 * eighth of the memory.
 *
 * A column's integers of consecutive rows share a word of 32 bits, and the words lie as a matrix of
 * floats does (base/param.h): four bytes; or eight halves of bytes, of which the low ones come
 * first. Groups of rows begin with a new word; what is behind a group's last row is 0. Behind the
 * bytes of a column without groups is their sum, of 32 bits.
 *
 * Lines of x are brought to integers too (quantize_line), and the sums of products are exact: the
 * same bits on every ISA and for any number of lines at a time. Or they stay floats, and integers
 * become floats in registers.
 */
/* Registers in a row of a tile, and lines of one: machines of before 2013 get a small one. */
#if CDL_VLEN == 16
enum { INT_NV = 4, INT_ROWS = 6 };
#elif CDL_VLEN == 8 || defined(__aarch64__)
enum { INT_NV = 2, INT_ROWS = 3 };
#else
enum { INT_NV = 2, INT_ROWS = 1 };
#endif

typedef int8_t vb __attribute__((vector_size(CDL_VLEN)));
typedef int16_t vh __attribute__((vector_size(CDL_VLEN * 4)));
typedef uint16_t vuh __attribute__((vector_size(CDL_VLEN * 4)));

/* A value that must be rounded here: no multiply-add is to swallow it. */
#if defined(__x86_64__)
#define ROUNDED(V) __asm__("" : "+x"(V))
#elif defined(__aarch64__)
#define ROUNDED(V) __asm__("" : "+w"(V))
#else
#define ROUNDED(V) __asm__("" : "+m"(V))
#endif

/* Arithmetic of a tile: floats; pairs of 16 bits, two for four bytes of x; or one instruction for
 * the four bytes of a lane, where the machine has it. */
enum int_way { INT_FLOATS, INT_PAIRS, INT_FOURS };

/* x86's instruction takes unsigned bytes: those of x are 128 more there, and as much is taken
 * off the sums, which follows from the sums of columns that lie behind their words. */
#if defined(__x86_64__)
enum { INT_FOURS_SHIFT = 128 };
#else
enum { INT_FOURS_SHIFT = 0 };
#endif
typedef int32_t vi_anywhere __attribute__((vector_size(CDL_VLEN * 4), aligned(4), may_alias));
CDL_INLINE vi add_fours(vi sum, vi w, vi x) {
#if defined(__x86_64__) && CDL_VLEN == 16
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(w));
#elif defined(__x86_64__) && CDL_VLEN == 8
    __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(x), "x"(w));
#elif defined(__aarch64__)
    __asm__(".arch_extension dotprod\n\tsdot %0.4s, %1.16b, %2.16b" : "+w"(sum) : "w"(w), "w"(x));
#endif
    return sum;
}
/* Products of words that the instruction itself reads, once. */
CDL_INLINE vi add_fours_at(vi sum, const float *w, vi x) {
#if defined(__x86_64__) && CDL_VLEN == 16
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(x), "m"(*(const vi_anywhere *)w));
    return sum;
#else
    return add_fours(sum, (vi)vf_load(w), x);
#endif
}

/* The sum of the products of two numbers of 16 bits in each lane. */
CDL_INLINE vi pairs_of(vi a, vi b) {
#if defined(__x86_64__) && CDL_VLEN == 16
    return a + b; /* AVX2's product is taken there */
#elif defined(__x86_64__) && CDL_VLEN == 8
    vi sums;
    __asm__("vpmaddwd %2, %1, %0" : "=x"(sums) : "x"(a), "x"(b));
    return sums;
#elif defined(__x86_64__)
    __asm__("pmaddwd %1, %0" : "+x"(a) : "x"(b));
    return a;
#else
    return ((vi)((vu)a << 16) >> 16) * ((vi)((vu)b << 16) >> 16) + (a >> 16) * (b >> 16);
#endif
}
CDL_INLINE vi even_bytes(vi words) { return (vi)((vh)((vuh)words << 8) >> 8); }
CDL_INLINE vi odd_bytes(vi words) { return (vi)((vh)words >> 8); }

/* x[at] and what follows of the n numbers of a line, then zeros: it may have no pads. */
CDL_INLINE vf load_part(const float *x, size_t n, size_t at) {
    vf part = vf_splat(0);
    if (at + CDL_VLEN <= n) return vf_load(x + at);
    for (size_t j = at; j < n; j++) part[j - at] = x[j];
    return part;
}

/* round(v) within [low, high], which are integers: a half goes to the even one, a NaN to 0. */
CDL_INLINE vi integers_of(vf v, vf low, vf high) {
#if CDL_VLEN == 16
    vi integers; /* of a NaN 2^31, of which a byte is 0 */
    __asm__("vmaxps %1, %2, %0\n\tvminps %0, %3, %0\n\tvcvtps2dq %0, %0"
            : "=&v"(integers)
            : "v"(v), "v"(low), "v"(high));
    return integers;
#else
    ROUNDED(v);
    vf whole = v + vf_splat(EXP_SHIFT);
    ROUNDED(whole);
    whole -= vf_splat(EXP_SHIFT);
    whole = vf_select(whole > high, high, vf_select(whole < low, low, whole));
    return __builtin_convertvector(whole, vi) & (whole == whole);
#endif
}

/* Bytes shift + round(x scale) within [low, high], scale = high / (max |x| + epsilon), which it
 * gives. A NaN makes the scale one: its bits are above those of all numbers. `words`, unless it is
 * NULL, are prefetched meanwhile: what is read next would wait for L2. */
CDL_INLINE float quantize_line(const struct cdl_int_product *p, int32_t shift, const float *x,
                               const float *words, float *to) {
    enum { LINES = 8 };
    vi top = {0};
    for (size_t b = 0; b < p->k; b += CDL_VLEN) {
        const vi size = (vi)load_part(x, p->k, b) & 0x7fffffff, larger = size > top;
        CDL_UNROLL for (size_t i = 0; i < LINES && words; i++)
            __builtin_prefetch(words + b * LINES + i * CDL_VLEN, 0, 3);
        top = (size & larger) | (top & ~larger);
    }
    int32_t most = 0;
    for (int i = 0; i < CDL_VLEN; i++) most = top[i] > most ? top[i] : most;
    const float scale = p->high / (float_of_bits(most) + p->epsilon);
    const vf low = vf_splat(p->low), high = vf_splat(p->high);
    char *bytes = (char *)to;
    for (size_t b = 0; b < p->k; b += CDL_VLEN) {
        const vi integers = integers_of(load_part(x, p->k, b) * vf_splat(scale), low, high);
        const vb narrow = __builtin_convertvector(integers + shift, vb);
        memcpy(bytes + b, &narrow, sizeof narrow);
    }
    return scale;
}

/* One word of each line by the words of a row of b. */
CDL_INLINE void add_words(const enum int_way way, const size_t mr, const size_t nv,
                          vi acc[][INT_NV], const float *const *x, size_t g, const float *b) {
    if (way == INT_FOURS && mr == 1) {
        const vi s = (vi)vf_splat(x[0][g]);
        CDL_UNROLL for (size_t j = 0; j < nv; j++) acc[0][j] =
            add_fours_at(acc[0][j], b + j * CDL_VLEN, s);
        return;
    }
    vi w[INT_NV];
    CDL_UNROLL for (size_t j = 0; j < nv; j++) w[j] = (vi)vf_load(b + j * CDL_VLEN);
    CDL_UNROLL for (size_t i = 0; i < mr; i++) {
        const vi s = (vi)vf_splat(x[i][g]);
        CDL_UNROLL for (size_t j = 0; j < nv; j++) {
            if (way == INT_FOURS)
                acc[i][j] = add_fours(acc[i][j], w[j], s);
            else
                acc[i][j] += pairs_of(even_bytes(w[j]), even_bytes(s)) +
                             pairs_of(odd_bytes(w[j]), odd_bytes(s));
        }
    }
}

/* A tile's sums go to memory: row i of mr begins INT_NV registers behind the one before. Of a
 * single one two words are read at once: each sum would wait for the one before. */
CDL_INLINE void int_tile(const enum int_way way, const size_t mr, const size_t nv,
                         const float *const *x, size_t words, const float *b, size_t ldb,
                         float *to) {
    vi acc[INT_ROWS + 1][INT_NV];
    CDL_UNROLL for (size_t i = 0; i < mr; i++) {
        CDL_UNROLL for (size_t j = 0; j < nv; j++) acc[i][j] = (vi){0};
    }
    size_t g = 0;
    if (mr == 1 && nv == 1) {
        const size_t half = words / 2;
        CDL_UNROLL for (size_t j = 0; j < nv; j++) acc[1][j] = (vi){0};
        for (; g < half; g++, b += ldb) {
            add_words(way, 1, nv, acc, x, g, b);
            add_words(way, 1, nv, acc + 1, x, half + g, b + half * ldb);
        }
        /* Without a sign: sums of products with an offset may wrap, and come back without it. */
        CDL_UNROLL for (size_t j = 0; j < nv; j++) acc[0][j] = (vi)((vu)acc[0][j] + (vu)acc[1][j]);
        g += half, b += half * ldb;
    }
    for (; g < words; g++, b += ldb) add_words(way, mr, nv, acc, x, g, b);
    CDL_UNROLL for (size_t j = 0; j < nv && way == INT_FOURS; j++) {
        const vu shift = (vu)vf_load(b + j * CDL_VLEN) * (uint32_t)INT_FOURS_SHIFT;
        CDL_UNROLL for (size_t i = 0; i < mr; i++) acc[i][j] = (vi)((vu)acc[i][j] - shift);
    }
    CDL_UNROLL for (size_t i = 0; i < mr; i++) {
        CDL_UNROLL for (size_t j = 0; j < nv; j++)
            vf_store(to + (i * INT_NV + j) * CDL_VLEN, (vf)acc[i][j]);
    }
}

/* Sums of a group's words, with x and the sums as floats. */
CDL_INLINE void float_tile(const size_t mr, const size_t nv, size_t bits, const float *const *x,
                           size_t at, size_t words, struct cdl_matrix panel, float *to) {
    const size_t each = 32 / bits;
    const float *b = panel.at;
    vf acc[INT_ROWS][INT_NV];
    CDL_UNROLL for (size_t i = 0; i < mr; i++) {
        CDL_UNROLL for (size_t j = 0; j < nv; j++) acc[i][j] = vf_splat(0);
    }
    for (size_t end = at + words * each; at < end; b += panel.ld) {
        for (size_t k = 0; k < each; k++, at++) {
            const int left = cdl_int_left(bits, k);
            vf w[INT_NV];
            CDL_UNROLL for (size_t j = 0; j < nv; j++) {
                const vu word = (vu)vf_load(b + j * CDL_VLEN);
                w[j] = __builtin_convertvector((vi)(word << left) >> (int)(32 - bits), vf);
            }
            CDL_UNROLL for (size_t i = 0; i < mr; i++) {
                const vf s = vf_splat(x[i][at]);
                CDL_UNROLL for (size_t j = 0; j < nv; j++) acc[i][j] = vf_fma(s, w[j], acc[i][j]);
            }
        }
    }
    CDL_UNROLL for (size_t i = 0; i < mr; i++) {
        CDL_UNROLL for (size_t j = 0; j < nv; j++)
            vf_store(to + (i * INT_NV + j) * CDL_VLEN, acc[i][j]);
    }
}

/* Lines of x as the tiles read them, of which `live` are there. */
struct int_lines {
    float *x;
    size_t live;
    size_t ld; /* floats from one to the next, of which the last are the sums of groups */
    float scale[CDL_INT_LINES]; /* what a line was multiplied by to become integers; else 1 */
};

/* Those of a tile: `live` lines, of which others may be again the last one. */
struct tile_lines {
    const float *x[INT_ROWS], *scale;
    size_t live;
};

/* Epilogue of the sums of a tile of `nv` registers, from a column on: makes the output, or, for
 * group `g` of floats, a part of it, which is kept in `y`. */
static __attribute__((noinline)) void finish_tile(const struct cdl_int_product *p, size_t nv,
                                                  size_t column, size_t g, const float *from,
                                                  const struct tile_lines *lines, bool ends,
                                                  float *y) {
    for (size_t i = 0; i < lines->live; i++) {
        for (size_t j = 0; j < nv; j++) {
            const size_t at = (i * INT_NV + j) * CDL_VLEN, c = column + j * CDL_VLEN;
            vf sum = vf_load(from + at);
            if (p->zero) {
                const size_t of_group = g * p->n + c, n = (g + 1) * p->n;
                const vf zero = load_part(p->zero, n, of_group);
                sum -= zero * vf_splat(lines->x[i][cdl_int_spread(p) + g]);
                sum *= load_part(p->scale, n, of_group);
            } else {
                if (p->dynamic) sum = __builtin_convertvector((vi)sum, vf);
                sum /= load_part(p->scale, p->n, c) * vf_splat(lines->scale[i]);
            }
            ROUNDED(sum);
            if (g > 0) sum += vf_load(y + at);
            if (!ends) {
                vf_store(y + at, sum);
                continue;
            }
            if (p->bias) sum += load_part(p->bias, p->n, c);
            float *to = p->y + i * p->ldy + c;
            if (p->n > 1)
                vf_store(to, vf_select(vf_below(p->n, c), sum, (vf){0}));
            else if (c == 0)
                *to = sum[0];
        }
    }
}

/* Up to INT_ROWS lines from `first` on by nv registers of columns: mr is 1 or all. */
CDL_INLINE void int_columns(const enum int_way way, const size_t mr, const size_t nv,
                            const struct cdl_int_product *p, const struct int_lines *lines,
                            size_t first, struct cdl_matrix b, size_t column) {
    float sums[INT_ROWS * INT_NV * CDL_VLEN], y[INT_ROWS * INT_NV * CDL_VLEN];
    struct tile_lines tile = {.scale = lines->scale + first,
                              .live = cdl_min(mr, lines->live - first)};
    for (size_t i = 0; i < mr; i++)
        tile.x[i] = lines->x + cdl_min(first + i, lines->live - 1) * lines->ld;
    struct cdl_int_product part = *p;
    part.y += first * p->ldy;
    const size_t all = cdl_int_depth(p->k, p->block, p->bits);
    if (way != INT_FLOATS) {
        int_tile(way, mr, nv, tile.x, all, b.at, b.ld, sums);
        finish_tile(&part, nv, column, 0, sums, &tile, true, y);
        return;
    }
    const size_t group = cdl_int_words(p->block, p->bits);
    for (size_t g = 0, at = 0; at < all; g++, at += group) {
        const size_t words = cdl_min(group, all - at);
        float_tile(mr, nv, p->bits, tile.x, at * 32 / p->bits, words,
                   (struct cdl_matrix){b.at + at * b.ld, b.ld}, sums);
        finish_tile(&part, nv, column, g, sums, &tile, at + words == all, y);
    }
}

CDL_INLINE void int_panel(const enum int_way way, const size_t mr, const struct cdl_int_product *p,
                          const struct int_lines *lines, const float *b, size_t width,
                          size_t column) {
    for (size_t first = 0; first < lines->live; first += mr) {
        size_t j = 0;
        for (; j + INT_NV * CDL_VLEN <= width; j += INT_NV * CDL_VLEN)
            int_columns(way, mr, INT_NV, p, lines, first, (struct cdl_matrix){b + j, width},
                        column + j);
        for (; CDL_VLEN == 16 && j < width; j += CDL_VLEN)
            int_columns(way, mr, 1, p, lines, first, (struct cdl_matrix){b + j, width}, column + j);
    }
}

/* A line of floats with each group filled up with zeros; behind them the sums of groups. */
CDL_INLINE float spread_line(const struct cdl_int_product *p, const float *x, float *to) {
    const size_t group = cdl_int_words(p->block, p->bits) * 32 / p->bits;
    float *sums = to + cdl_int_spread(p);
    for (size_t at = 0; at < p->k; at += p->block, to += group) {
        const size_t live = cdl_min(p->block, p->k - at);
        vf sum = vf_splat(0);
        for (size_t j = 0; j < live; j += CDL_VLEN) {
            const vf part = load_part(x + at, live, j);
            vf_store(to + j, part); /* of the next group, or of the sums, what is behind */
            sum += part;
        }
        for (size_t j = cdl_round_up(live, CDL_VLEN); j < group && j < live + 8; j++) to[j] = 0.0f;
        *sums++ = vf_sum(sum);
    }
    return 1.0f;
}

/* All lines by a panel, by AMX's tiles. */
static __attribute__((noinline)) void tiled_panel(const struct cdl_int_product *p,
                                                  const struct int_lines *lines, const float *b,
                                                  size_t width, size_t column) {
    float sums[CDL_INT_LINES * INT_NV * CDL_VLEN];
    p->tiles(lines->live, p->words - 1, lines->x, lines->ld, b, width, sums);
    const struct tile_lines tile = {.scale = lines->scale, .live = lines->live};
    finish_tile(p, width / CDL_VLEN, column, 0, sums, &tile, true, NULL);
}

CDL_INLINE void int_lines_by(const enum int_way way, const struct cdl_int_product *p) {
    struct int_lines lines;
    lines.x = p->scratch, lines.ld = cdl_int_floats(p);
    const int32_t shift = way == INT_FOURS ? INT_FOURS_SHIFT : 0;
    const float *words = CDL_VLEN == 16 && p->rows == 1 ? p->w : NULL;
    struct cdl_int_product part = *p;
    for (size_t done = 0; done < p->rows; done += CDL_INT_LINES) {
        const float *x = p->x + done * p->ldx;
        lines.live = cdl_min(p->rows - done, CDL_INT_LINES);
        part.y = p->y + done * p->ldy;
        for (size_t i = 0; i < lines.live; i++, x += p->ldx) {
            float *to = lines.x + i * lines.ld;
            lines.scale[i] =
                way == INT_FLOATS ? spread_line(p, x, to) : quantize_line(p, shift, x, words, to);
        }
        const size_t all = p->n == 1 ? CDL_LINE : cdl_padded(p->n);
        for (size_t c = 0; c < all; c += CDL_INT_PANEL) {
            const size_t width = cdl_min(all - c, CDL_INT_PANEL);
            if (CDL_VLEN == 16 && way == INT_FOURS && p->tiles)
                tiled_panel(&part, &lines, p->w + c * p->words, width, c);
            else if (INT_ROWS > 1 && lines.live > 1)
                int_panel(way, INT_ROWS, &part, &lines, p->w + c * p->words, width, c);
            else
                int_panel(way, 1, &part, &lines, p->w + c * p->words, width, c);
        }
    }
}

static void float_product(const struct cdl_int_product *p) { int_lines_by(INT_FLOATS, p); }

#if CDL_VLEN == 16 || defined(CDL_MADE)
/* For machines that multiply four bytes in a lane. */
static void fours_product(const struct cdl_int_product *p) {
    if (p->dynamic)
        int_lines_by(INT_FOURS, p);
    else
        float_product(p);
}
#endif

#if CDL_VLEN == 16
extern const struct cdl_kernels cdl_kernels_avx2;

static void int_product(const struct cdl_int_product *p) {
    if (__builtin_cpu_supports("avx512vnni"))
        fours_product(p);
    else
        cdl_kernels_avx2.int_product(p);
}
#else
static void int_product(const struct cdl_int_product *p) {
    if (p->dynamic)
        int_lines_by(INT_PAIRS, p);
    else
        float_product(p);
}
#endif
