/* amx.c - products of bfloat16 and of bytes by AMX's tiles; all other kernels are those of AVX-512.
 *
 * A process asks Linux once for leave to use tiles. They are set up in each call and released at
 * its end, so that no other code in the process meets them, and nothing is saved when threads
 * change.
 */
#define _DEFAULT_SOURCE
#include "isa/isa.h"

#if defined(__x86_64__)
extern const struct cdl_kernels cdl_kernels_avx512;
extern struct cdl_kernels cdl_kernels_amx;
struct cdl_kernels cdl_kernels_amx;
#endif

#if defined(__x86_64__) && defined(__linux__) && (__GNUC__ >= 11 || defined(__clang__))
#if defined(__clang__)
#pragma clang attribute push(                                                                      \
    __attribute__((target("amx-tile,amx-int8,amx-bf16,avx512f,avx512bw,avx512vl,avx512bf16"))),    \
    apply_to = function)
#else
#pragma GCC target("amx-tile,amx-int8,amx-bf16,avx512f,avx512bw,avx512vl,avx512bf16")
#endif
#include <cpuid.h>
#include <immintrin.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { ROWS = 16, DEPTH = 32, L1_DEPTH = 256 };

/* Registers 0 to 3 are sums: two tiles of rows by two of columns; 4 and 5 are rows of a, 6 and 7
 * columns of b. */
struct tiles {
    uint8_t palette, start, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
};

static void set_up(size_t rows) {
    const uint8_t first = (uint8_t)cdl_min(rows, ROWS), second = (uint8_t)(rows - first);
    struct tiles tiles = {.palette = 1};
    for (int i = 0; i < 8; i++) tiles.bytes[i] = 64, tiles.rows[i] = ROWS;
    tiles.rows[0] = tiles.rows[1] = tiles.rows[4] = first;
    tiles.rows[2] = tiles.rows[3] = tiles.rows[5] = second ? second : first;
    _tile_loadconfig(&tiles);
}

/* Sums of 17 to 32 rows (`low`) or fewer, and of one tile of columns or two (`right`). */
static inline __attribute__((always_inline)) void block(const bool low, const bool right,
                                                        const struct cdl_bf16_gemm *p) {
    const uint16_t *a = p->a;
    const uint32_t *b = p->b;
    const float *init = p->init.at;
    float *c = p->c.at;
    const size_t row = p->lda * sizeof *a, pairs = CDL_BF16_LINE * sizeof *b;
    const size_t from = p->init.ld * sizeof *init, to = p->c.ld * sizeof *c;
    _tile_loadd(0, init, from);
    if (right) _tile_loadd(1, init + ROWS, from);
    if (low) _tile_loadd(2, init + ROWS * p->init.ld, from);
    if (low && right) _tile_loadd(3, init + ROWS * p->init.ld + ROWS, from);
    for (size_t k = 0; k < p->k; k += DEPTH, a += DEPTH, b += DEPTH / 2 * CDL_BF16_LINE) {
        _tile_loadd(6, b, pairs);
        _tile_loadd(4, a, row);
        _tile_dpbf16ps(0, 4, 6);
        if (right) _tile_loadd(7, b + ROWS, pairs);
        if (right) _tile_dpbf16ps(1, 4, 7);
        if (low) _tile_loadd(5, a + ROWS * p->lda, row);
        if (low) _tile_dpbf16ps(2, 5, 6);
        if (low && right) _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, c, to);
    if (right) _tile_stored(1, c + ROWS, to);
    if (low) _tile_stored(2, c + ROWS * p->c.ld, to);
    if (low && right) _tile_stored(3, c + ROWS * p->c.ld + ROWS, to);
}

static void block_of(const struct cdl_bf16_gemm *p) {
    if (p->m > ROWS && p->n > ROWS)
        block(true, true, p);
    else if (p->m > ROWS)
        block(true, false, p);
    else if (p->n > ROWS)
        block(false, true, p);
    else
        block(false, false, p);
}

/* Rows [first, last) of one panel, p->m at a time. */
static void rows_of(size_t first, size_t last, const struct cdl_bf16_gemm *all) {
    struct cdl_bf16_gemm p = *all;
    for (size_t k = 0; k < all->k; k += L1_DEPTH) {
        p.k = cdl_min(all->k - k, L1_DEPTH);
        p.b = all->b + k / 2 * CDL_BF16_LINE;
        for (size_t r = first; r < last; r += p.m) {
            p.a = all->a + r * p.lda + k;
            p.c.at = all->c.at + r * p.c.ld;
            p.init = k ? (struct cdl_matrix){p.c.at, p.c.ld}
                       : (struct cdl_matrix){all->init.at + r * all->init.ld, all->init.ld};
            block_of(&p);
        }
    }
}

static void gemm_bf16(const struct cdl_bf16_gemm *all) {
    const size_t whole = all->m / (2 * ROWS) * 2 * ROWS;
    for (size_t first = 0, last; first < all->m; first = last) {
        struct cdl_bf16_gemm p = *all;
        p.m = first < whole ? 2 * ROWS : all->m - whole;
        last = first < whole ? whole : all->m;
        set_up(p.m);
        for (size_t j = 0; j < all->n; j += CDL_BF16_LINE) {
            p.n = cdl_min(all->n - j, CDL_BF16_LINE);
            rows_of(first, last, &p);
            p.b += p.step, p.init.at += CDL_BF16_LINE, p.c.at += CDL_BF16_LINE;
        }
    }
    _tile_release();
}

/* Both halves of a line at once: a tile reads lines of 64 bytes, and would wait for two stores. */
static inline __m512i rounded(__m512 low, __m512 high) {
    return (__m512i)_mm512_cvtne2ps_pbh(high, low);
}

static void bf16_pack(size_t rows, size_t n, const float *w, size_t ldw, uint32_t *y, size_t ldy) {
    static const uint16_t in_turn[] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                       21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                       11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    const __m512i order = _mm512_loadu_si512(in_turn);
    for (size_t r = 0; r < rows; r += 2, w += 2 * ldw, y += ldy) {
        for (size_t j = 0; j < n; j += 16) {
            const __m512 v = _mm512_loadu_ps(w + j);
            const __m512 other = r + 1 < rows ? _mm512_loadu_ps(w + ldw + j) : _mm512_setzero_ps();
            _mm512_storeu_si512(y + j, _mm512_permutexvar_epi16(order, rounded(v, other)));
        }
    }
}

static __m512 first_of(size_t n, const float *x) {
    return _mm512_maskz_loadu_ps((__mmask16)(n < 16 ? (1U << n) - 1 : 0xffffU), x);
}

static void bf16_from_floats(size_t rows, size_t n, const float *x, size_t ldx, uint16_t *y,
                             size_t ldy) {
    for (size_t r = 0; r < rows; r++, x += ldx, y += ldy) {
        for (size_t j = 0; j < cdl_bf16_padded(n); j += 32) {
            const size_t left = n > j ? n - j : 0;
            const __m512 low = first_of(left, x + j);
            const __m512 high = first_of(left > 16 ? left - 16 : 0, x + j + 16);
            _mm512_storeu_si512(y + j, rounded(low, high));
        }
    }
}
/* The sums of up to three tiles of lines (0 to 2) of bytes, which are 128 more than they stand for
 * (3 to 5), by a panel of 16 to 64 columns (6), behind whose words are the sums of columns. */
static void byte_tiles(size_t rows, size_t words, const float *x, size_t ldx, const float *b,
                       size_t width, float *to) {
    const size_t n = (rows + ROWS - 1) / ROWS, whole = words / ROWS * ROWS;
    struct tiles tiles = {.palette = 1};
    for (int i = 0; i < 8; i++) tiles.bytes[i] = 64, tiles.rows[i] = ROWS;
    tiles.rows[n - 1] = tiles.rows[n + 2] = (uint8_t)(rows - (n - 1) * ROWS);
    float rest[ROWS * CDL_INT_PANEL] = {0};
    memcpy(rest, b + whole * width, (words - whole) * width * sizeof *b);
    int32_t first[CDL_INT_PANEL];
    memcpy(first, b + words * width, width * sizeof *b);
    for (size_t j = 0; j < width; j++) first[j] *= -128;
    _tile_loadconfig(&tiles);
    const size_t line = ldx * sizeof *x, row = CDL_INT_PANEL * sizeof *to;
    for (size_t j = 0; j < width; j += ROWS) {
        _tile_loadd(0, first + j, 0);
        if (n > 1) _tile_loadd(1, first + j, 0);
        if (n > 2) _tile_loadd(2, first + j, 0);
        for (size_t g = 0; g < words; g += ROWS) {
            _tile_loadd(6, (g < whole ? b + g * width : rest) + j, width * sizeof *b);
            _tile_loadd(3, x + g, line);
            _tile_dpbusd(0, 3, 6);
            if (n > 1) _tile_loadd(4, x + ROWS * ldx + g, line);
            if (n > 1) _tile_dpbusd(1, 4, 6);
            if (n > 2) _tile_loadd(5, x + 2 * ROWS * ldx + g, line);
            if (n > 2) _tile_dpbusd(2, 5, 6);
        }
        _tile_stored(0, to + j, row);
        if (n > 1) _tile_stored(1, to + ROWS * CDL_INT_PANEL + j, row);
        if (n > 2) _tile_stored(2, to + 2 * ROWS * CDL_INT_PANEL + j, row);
    }
    _tile_release();
}

static void int_product(const struct cdl_int_product *p) {
    struct cdl_int_product tiled = *p;
    if (p->dynamic && p->rows >= ROWS) tiled.tiles = byte_tiles;
    cdl_kernels_avx512.int_product(&tiled);
}
#if defined(__clang__)
#pragma clang attribute pop
#endif

/* CPUID 7.0 EDX: AMX-BF16, AMX-INT8 and AMX-TILE; 7.1 EAX: AVX512_BF16. Then Linux's leave,
 * from 5.16 on. */
static bool may_use_tiles(void) {
    enum { TILES = 1 << 24, TILE_INT8 = 1 << 25, TILE_BF16 = 1 << 22, AVX512_BF16 = 1 << 5 };
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0, more = 0;
    if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) || eax < 1) return false;
    if (!(edx & TILES) || !(edx & TILE_BF16) || !(edx & TILE_INT8)) return false;
    if (!__get_cpuid_count(7, 1, &more, &ebx, &ecx, &edx) || !(more & AVX512_BF16)) return false;
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}

static void take_over(struct cdl_kernels *kernels) {
    kernels->tiles = true;
    kernels->gemm_bf16 = gemm_bf16;
    kernels->bf16_pack = bf16_pack;
    kernels->bf16_from_floats = bf16_from_floats;
    kernels->int_product = int_product;
}
#elif defined(__x86_64__)
static bool may_use_tiles(void) { return false; }
static void take_over(struct cdl_kernels *kernels) {}
#endif

#if defined(__x86_64__)
bool cdl_amx_runs(void) { return may_use_tiles(); }

void cdl_amx_make(void) {
    cdl_kernels_amx = cdl_kernels_avx512;
    cdl_kernels_amx.isa = "amx";
    take_over(&cdl_kernels_amx);
}
#endif
