/* cells.h - steps of recurrent cells between their products and their activations.
 *
 * z: rows of CDL_PANEL floats, the gates of CDL_LINE units side by side (ops/gates.h): i f o g of
 * an LSTM; n z r of a GRU, and h U of n by itself. c, h and gradients are rows of CDL_LINE floats
 * of those units, ld* apart; a buffer of a register a row is `[CDL_LINE]` apart. Part of the ISA
 * template.
 */
enum { GATE = CDL_LINE };
#define EACH_UNIT for (size_t j = 0; j < GATE; j++)

/* A step in one pass of an LSTM with sigmoid gates and tanh. Here e^x is
 * 2^n (1 + q) with n + f = x / ln 2, |f| <= 1/2 and q = 2^f - 1 a polynomial, a fit of our own to
 * 0.3 ulp, by halves, since the latency of a row's chain of operations limits the speed. Quotients
 * wait for the divider, so two share one, of a product of what they divide by. sigmoid(x) is 1 /
 * gate_sum_f(x), and tanh(x) is m / (m + 2) with m = e^2x - 1, which keeps its relative accuracy
 * near 0; each to 4 ulp. Arguments are cut at MOST_GATE, so that products are finite, and at
 * MOST_TANH, beyond which tanh rounds to 1. GCC must not see these constants: it
 * would compute the rest for them apart, in place of a minimum and a maximum. */
#define MOST_GATE 43.0f
#define MOST_TANH 10.0f
#if defined(__x86_64__) && !defined(__clang__)
#define HIDDEN(X) __asm__("" : "+x"(X))
#else
#define HIDDEN(X) (void)(X)
#endif

/* q, and 2^n, of e^x for x = `times` / log2(e) y: 2^n comes as the bits of n + 127 by EXP_SHIFT. */
CDL_INLINE float power_parts_f(float y, float times, float *scale) {
    const float shifted = fma_f(y, times, EXP_SHIFT_127);
    const float f = fma_f(y, times, EXP_SHIFT_127 - shifted), square = f * f;
    const float low = fma_f(0.24022650718688965f, f, 0.6931471824645996f);
    const float middle = fma_f(0.00961803738027811f, f, 0.055503662675619125f);
    const float high = fma_f(0.00015468023775611073f, f, 0.0013387881917878985f);
    *scale = exp_power_f(shifted);
    return fma_f(fma_f(high, square, middle), square, low) * f;
}
CDL_INLINE float gate_sum_f(float x, float most) {
    float scale;
    const float q = power_parts_f(within_f(x, -most, most), -1.44269504f, &scale);
    return fma_f(q, scale, scale + 1.0f);
}
CDL_INLINE float tanh_top_f(float x, float most) {
    float scale;
    const float q = power_parts_f(within_f(x, -most, most), 2.88539008f, &scale);
    return fma_f(q, scale, scale - 1.0f);
}
CDL_INLINE float cell_tanh_f(float x, float most) {
    const float m = tanh_top_f(x, most);
    return m / (m + 2.0f);
}

/* Gates, c and h from the gates' arguments. */
static void lstm_cell(size_t rows, float *restrict z, const float *restrict before,
                      float *restrict c, size_t ldc, float *restrict h, size_t ldh) {
    float gate = MOST_GATE, top = MOST_TANH;
    HIDDEN(gate);
    HIDDEN(top);
    for (size_t r = 0; r < rows; r++) {
        float *row = z + r * CDL_PANEL, *to = c + r * ldc;
        const float *from = before + r * ldc;
        EACH_UNIT {
            const float i = gate_sum_f(row[j], gate), f = gate_sum_f(row[GATE + j], gate);
            const float o = gate_sum_f(row[2 * GATE + j], gate);
            const float m = tanh_top_f(row[3 * GATE + j], top), n = m + 2.0f;
            const float one = 1.0f / (i * f), two = 1.0f / (o * n);
            const float input = one * f, forget = one * i, new = two * o * m;
            row[j] = input, row[GATE + j] = forget, row[3 * GATE + j] = new;
            row[2 * GATE + j] = two * n;
            to[j] = fma_f(forget, from[j], input * new);
        }
    }
    for (size_t r = 0; r < rows; r++, z += CDL_PANEL, c += ldc, h += ldh) EACH_UNIT
    h[j] = z[2 * GATE + j] * cell_tanh_f(c[j], top);
}

/* z becomes what the gates' arguments get; dc has been that of c by later steps. */
static void lstm_cell_backward(size_t rows, float *restrict z, const float *restrict before,
                               const float *restrict c, size_t ldc, const float *restrict dh,
                               size_t ldd, float *restrict dc) {
    float top = MOST_TANH;
    HIDDEN(top);
    for (size_t r = 0; r < rows; r++) {
        EACH_UNIT {
            const float i = z[j], f = z[GATE + j], o = z[2 * GATE + j], g = z[3 * GATE + j];
            const float t = cell_tanh_f(c[j], top);
            const float out = dh[j] * o, d = fma_f(out, fma_f(-t, t, 1.0f), dc[j]);
            z[j] = d * g * (i * (1.0f - i));
            z[GATE + j] = d * before[j] * (f * (1.0f - f));
            z[2 * GATE + j] = out * t * (1.0f - o);
            z[3 * GATE + j] = d * i * fma_f(-g, g, 1.0f);
            dc[j] = d * f;
        }
        z += CDL_PANEL, before += ldc, c += ldc, dh += ldd, dc += ldc;
    }
}

/* c = f c' + i g */
static void lstm_state(size_t rows, const float *restrict z, const float *restrict before,
                       float *restrict c, size_t ldc) {
    for (size_t r = 0; r < rows; r++, z += CDL_PANEL, before += ldc, c += ldc)
        EACH_UNIT c[j] = fma_f(z[GATE + j], before[j], z[j] * z[3 * GATE + j]);
}

/* h = o t, with t the activation of c */
static void lstm_output(size_t rows, const float *restrict z, const float *restrict t,
                        float *restrict h, size_t ldh) {
    for (size_t r = 0; r < rows; r++, z += CDL_PANEL, t += GATE, h += ldh)
        EACH_UNIT h[j] = z[2 * GATE + j] * t[j];
}

/* dt = dh o */
static void lstm_output_backward(size_t rows, const float *restrict z, const float *restrict dh,
                                 size_t ldd, float *restrict dt) {
    for (size_t r = 0; r < rows; r++, z += CDL_PANEL, dh += ldd, dt += GATE)
        EACH_UNIT dt[j] = dh[j] * z[2 * GATE + j];
}

/* Gradients by the gates, laid out as z; dc is that by c from later steps, dt that from h. */
static void lstm_state_backward(size_t rows, const float *restrict z, const float *restrict t,
                                const float *restrict dt, struct cdl_matrix c_before,
                                struct cdl_matrix of_h, float *restrict dc, float *restrict dz) {
    const float *restrict before = c_before.at, *restrict dh = of_h.at;
    for (size_t r = 0; r < rows; r++) {
        EACH_UNIT {
            const float d = dc[j] + dt[j];
            dz[j] = d * z[3 * GATE + j];
            dz[GATE + j] = d * before[j];
            dz[2 * GATE + j] = dh[j] * t[j];
            dz[3 * GATE + j] = d * z[j];
            dc[j] = d * z[GATE + j];
        }
        z += CDL_PANEL, dz += CDL_PANEL, t += GATE, dt += GATE;
        before += c_before.ld, dc += c_before.ld, dh += of_h.ld;
    }
}

/* A step in one pass of a GRU with sigmoid gates and tanh: gates and h from the gates' arguments,
 * with h U of n apart. */
static void gru_cell(size_t rows, float *restrict z, const float *restrict before,
                     float *restrict h, size_t ldh) {
    float gate = MOST_GATE, top = MOST_TANH;
    HIDDEN(gate);
    HIDDEN(top);
    for (size_t r = 0; r < rows; r++, z += CDL_PANEL, before += ldh, h += ldh) {
        EACH_UNIT {
            const float update = gate_sum_f(z[GATE + j], gate);
            const float reset = gate_sum_f(z[2 * GATE + j], gate), one = 1.0f / (update * reset);
            const float keep = one * reset, part = one * update;
            const float n = cell_tanh_f(fma_f(part, z[3 * GATE + j], z[j]), top);
            z[j] = n, z[GATE + j] = keep, z[2 * GATE + j] = part;
            h[j] = fma_f(keep, before[j] - n, n);
        }
    }
}

/* z becomes the gradient by the gates' arguments, and dh that by the h before without products. */
static void gru_cell_backward(size_t rows, float *restrict z, const float *restrict before,
                              size_t ldh, float *restrict dh, size_t ldd) {
    for (size_t i = 0; i < rows; i++, z += CDL_PANEL, before += ldh, dh += ldd) {
        EACH_UNIT {
            const float n = z[j], keep = z[GATE + j], r = z[2 * GATE + j], u = z[3 * GATE + j];
            const float d = dh[j], part = d * keep, dn = (d - part) * fma_f(-n, n, 1.0f);
            z[j] = dn;
            z[GATE + j] = d * (before[j] - n) * (keep * (1.0f - keep));
            z[2 * GATE + j] = dn * u * (r * (1.0f - r));
            z[3 * GATE + j] = dn * r;
            dh[j] = part;
        }
    }
}

/* n += r (h U) */
static void gru_candidate(size_t rows, float *z) {
    for (size_t r = 0; r < rows; r++, z += CDL_PANEL)
        EACH_UNIT z[j] = fma_f(z[2 * GATE + j], z[3 * GATE + j], z[j]);
}

/* h = z h' + (1 - z) n */
static void gru_output(size_t rows, const float *restrict z, const float *restrict before,
                       float *restrict h, size_t ldh) {
    for (size_t r = 0; r < rows; r++, z += CDL_PANEL, before += ldh, h += ldh)
        EACH_UNIT h[j] = fma_f(z[GATE + j], before[j] - z[j], z[j]);
}

/* Gradients by z and n; dh becomes the gradient by h' of this formula. */
static void gru_output_backward(size_t rows, const float *restrict z, const float *restrict before,
                                size_t ldh, float *restrict dh, size_t ldd, float *restrict dz) {
    for (size_t r = 0; r < rows; r++) {
        EACH_UNIT {
            const float d = dh[j], part = d * z[GATE + j];
            dz[j] = d - part;
            dz[GATE + j] = d * (before[j] - z[j]);
            dh[j] = part;
        }
        z += CDL_PANEL, dz += CDL_PANEL, before += ldh, dh += ldd;
    }
}

/* Gradients by r and by h U, from that by n's argument. */
static void gru_candidate_backward(size_t rows, const float *restrict z, float *dz) {
    for (size_t r = 0; r < rows; r++, z += CDL_PANEL, dz += CDL_PANEL) {
        EACH_UNIT {
            const float d = dz[j];
            dz[2 * GATE + j] = d * z[3 * GATE + j];
            dz[3 * GATE + j] = d * z[2 * GATE + j];
        }
    }
}
#undef EACH_UNIT
