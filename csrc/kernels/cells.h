/* cells.h - steps of recurrent cells between their products and their activations.
 *
 * z: rows of CDL_PANEL floats, the gates of CDL_LINE units side by side (ops/gates.h): i f o g of
 * an LSTM; z r n and h U of a GRU's n by itself. c, h and gradients are rows of CDL_LINE floats of
 * those units, ld* apart; a buffer of a register a row is `[CDL_LINE]` apart. Part of the ISA
 * template.
 */
enum { GATE = CDL_LINE };
#define EACH_UNIT for (size_t j = 0; j < GATE; j++)

/* c = f c' + i g */
static void lstm_state(size_t rows, const float *restrict z, const float *restrict before,
                       float *restrict c, size_t ldc) {
    for (size_t r = 0; r < rows; r++, z += CDL_PANEL, before += ldc, c += ldc)
        EACH_UNIT c[j] = z[GATE + j] * before[j] + z[j] * z[3 * GATE + j];
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

/* What the gates get, laid out as z; dc has been that of c by later steps, dt is what h gives. */
static void lstm_state_backward(size_t rows, const float *restrict z, const float *restrict t,
                                const float *restrict dt, const float *restrict before, size_t ldc,
                                const float *restrict dh, size_t ldd, float *restrict dc,
                                float *restrict dz) {
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
        before += ldc, dc += ldc, dh += ldd;
    }
}

/* n += r (h U) */
static void gru_candidate(size_t rows, float *z) {
    for (size_t r = 0; r < rows; r++, z += CDL_PANEL)
        EACH_UNIT z[j] += z[2 * GATE + j] * z[3 * GATE + j];
}

/* h = z h' + (1 - z) n */
static void gru_output(size_t rows, const float *restrict z, const float *restrict before,
                       float *restrict h, size_t ldh) {
    for (size_t r = 0; r < rows; r++, z += CDL_PANEL, before += ldh, h += ldh)
        EACH_UNIT h[j] = z[j] + z[GATE + j] * (before[j] - z[j]);
}

/* What z and n get; dh becomes that of h' by this formula. */
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

/* From what n's argument gets: r, and h U. */
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
