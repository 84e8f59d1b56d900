/* check.c - the core on another machine than the one at hand: run under an emulator by `make arm`.
 *
 * Products of every tile and edge against double, activations against libm and against the
 * baseline's table, products of bytes against integers, softmax of few classes against libm and row
 * by row, and a small net trained on each ISA at 1 and 2 threads: the same bits on one ISA, nearly
 * the same numbers on all. The bits of kernels and nets are printed as a digest, which has to be
 * that of other machines with fused multiply-adds.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/param.h"
#include "cdl.h"
#include "isa/isa.h"

static int failures;

static void expect(int right, const char *what, const char *isa, double actual, double wanted) {
    if (right) return;
    if (failures++ < 20) printf("%s on %s: got %.9g, expected %.9g\n", what, isa, actual, wanted);
}

static unsigned state = 1;
static float draw(void) {
    state = state * 1664525U + 1013904223U;
    return (float)(state >> 8) / 8388608.0f - 1.0f;
}

static float *drawn(size_t n) {
    float *x = cdl_alloc(n);
    if (!x) exit(2);
    for (size_t i = 0; i < n; i++) x[i] = draw();
    return x;
}

static void check_products(const struct cdl_kernels *kernels, size_t m, size_t width, size_t k) {
    const size_t lda = cdl_stride(k > m ? k : m), ldb = width + 16;
    float *a = drawn((m > k ? m : k) * lda), *b = drawn(k * ldb + 64), *c = drawn(m * width);
    const float zero[64] = {0};
    struct cdl_product p = {.m = m, .n = width, .k = k, .a = {a, lda}, .init = {zero, 0}};
    p.b = (struct cdl_matrix){b, width}, p.c = (struct cdl_output){c, width};
    kernels->gemm(&p);
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < width; j++) {
            double sum = 0.0;
            for (size_t l = 0; l < k; l++) sum += (double)a[i * lda + l] * (double)b[l * width + j];
            expect(fabs(sum - (double)c[i * width + j]) < 1e-4, "gemm", kernels->isa,
                   (double)c[i * width + j], sum);
        }
    }
    p.transposed = true, p.b.ld = ldb;
    kernels->gemm(&p);
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < width; j++) {
            double sum = 0.0;
            for (size_t l = 0; l < k; l++) sum += (double)a[l * lda + i] * (double)b[l * ldb + j];
            expect(fabs(sum - (double)c[i * width + j]) < 1e-4, "gemm, transposed", kernels->isa,
                   (double)c[i * width + j], sum);
        }
    }
    cdl_free(a), cdl_free(b), cdl_free(c);
}

static double sigmoid(double x) { return 1.0 / (1.0 + exp(-x)); }

static void check_functions(const struct cdl_kernels *kernels, const struct cdl_kernels *other) {
    enum { N = 4096 };
    float *x = drawn(N), *y = drawn(N), *z = drawn(N);
    const float params[CDL_MAX_ROW_PARAMS] = {0.5f, 0.25f, 0.125f, 0.0f};
    for (size_t i = 0; i < N; i++) x[i] *= 20.0f;
    for (int kind = 0; kind < CDL_N_ACTIVATIONS; kind++) {
        kernels->activation[kind](1, N, x, N, y, N, params);
        other->activation[kind](1, N, x, N, z, N, params);
        for (size_t i = 0; i < N; i++) {
            const double allowed = 2e-6 * fabs((double)z[i]) + 1e-6;
            expect(fabs((double)y[i] - (double)z[i]) <= allowed, "activation", kernels->isa,
                   (double)y[i], (double)z[i]);
        }
    }
    kernels->activation[CDL_ACTIVATION_tanh](1, N, x, N, y, N, params);
    kernels->activation[CDL_ACTIVATION_sigmoid](1, N, x, N, z, N, params);
    for (size_t i = 0; i < N; i++) {
        const double t = tanh((double)x[i]), s = sigmoid((double)x[i]);
        expect(fabs((double)y[i] - t) <= 4e-7 * fabs(t), "tanh", kernels->isa, (double)y[i], t);
        expect(fabs((double)z[i] - s) <= 4e-7 * s, "sigmoid", kernels->isa, (double)z[i], s);
    }
    cdl_free(x), cdl_free(y), cdl_free(z);
}

/* Rows of few classes are done many at a time: each as if it were alone. */
static void check_few_classes(const struct cdl_kernels *kernels, size_t rows, size_t n) {
    float *x = drawn(rows * CDL_LINE), *y = drawn(rows * CDL_LINE), *one = drawn(CDL_LINE);
    kernels->rowwise[CDL_ROWWISE_softmax](rows, n, x, CDL_LINE, y, CDL_LINE, NULL);
    for (size_t r = 0; r < rows; r++) {
        double sum = 0.0;
        for (size_t j = 0; j < n; j++) sum += exp((double)x[r * CDL_LINE + j]);
        kernels->rowwise[CDL_ROWWISE_softmax](1, n, x + r * CDL_LINE, CDL_LINE, one, CDL_LINE,
                                              NULL);
        for (size_t j = 0; j < n; j++) {
            const double found = (double)y[r * CDL_LINE + j];
            const double wanted = exp((double)x[r * CDL_LINE + j]) / sum;
            expect(fabs(found - wanted) < 1e-6 * wanted, "softmax", kernels->isa, found, wanted);
            expect(found == (double)one[j], "softmax alone", kernels->isa, found, (double)one[j]);
        }
    }
    cdl_free(x), cdl_free(y), cdl_free(one);
}

/* Lines of x become bytes by a scale of their largest size, and the sums of products are exact. */
static void check_bytes(const struct cdl_kernels *kernels, size_t rows, size_t k, size_t n) {
    const size_t width = cdl_padded(n), words = (k + 3) / 4;
    float *w = cdl_alloc((words + 1) * width), *scale = cdl_alloc(width), *x = drawn(rows * k);
    float *y = cdl_alloc(rows * width), *scratch = cdl_alloc(rows * (k + 2 * CDL_LINE));
    signed char *bytes = (signed char *)w;
    int32_t *sums = (int32_t *)(w + words * width);
    for (size_t c = 0; c < n; c++) {
        scale[c] = 2.0f + draw();
        for (size_t i = 0; i < k; i++) {
            signed char *each = bytes + (i / 4 * width + c) * 4 + i % 4;
            *each = (signed char)(127.5f * draw()), sums[c] += *each;
        }
    }
    const struct cdl_int_product product = {.rows = rows,
                                            .k = k,
                                            .n = n,
                                            .ldx = k,
                                            .ldy = width,
                                            .bits = 8,
                                            .block = k,
                                            .words = words + 1,
                                            .dynamic = true,
                                            .low = -127.0f,
                                            .high = 127.0f,
                                            .epsilon = 1e-7f,
                                            .x = x,
                                            .w = w,
                                            .scale = scale,
                                            .y = y,
                                            .scratch = scratch};
    kernels->int_product(&product);
    for (size_t r = 0; r < rows; r++) {
        float top = 0.0f;
        for (size_t i = 0; i < k; i++) top = fmaxf(top, fabsf(x[r * k + i]));
        const float factor = 127.0f / (top + 1e-7f);
        for (size_t c = 0; c < n; c++) {
            int32_t sum = 0;
            for (size_t i = 0; i < k; i++)
                sum +=
                    (int32_t)rintf(x[r * k + i] * factor) * bytes[(i / 4 * width + c) * 4 + i % 4];
            const float wanted = (float)sum / (scale[c] * factor), found = y[r * width + c];
            expect(found == wanted, "int_product", kernels->isa, (double)found, (double)wanted);
        }
    }
    cdl_free(w), cdl_free(scale), cdl_free(x), cdl_free(y), cdl_free(scratch);
}

/* FNV-1a, 64 bits, of what kernels make of numbers that are drawn. */
static unsigned long long digest;

static void digest_of(size_t n, const float *x) {
    const unsigned char *bytes = (const unsigned char *)x;
    for (size_t i = 0; i < n * sizeof *x; i++) digest = (digest ^ bytes[i]) * 0x100000001b3ULL;
}

/* Activations and rows of all widths round the registers, losses, optimizers, sums, products. */
static void digest_kernels(const struct cdl_kernels *kernels) {
    enum { N = 2048, WIDE = 80 };
    state = 11;
    float *x = drawn(N), *dy = drawn(N), *y = drawn(N), *dx = drawn(N), *w = drawn(N);
    float params[CDL_MAX_ROW_PARAMS] = {0.5f, 0.25f, 0.125f, 0.0f};
    for (size_t i = 0; i < N; i++) x[i] *= 8.0f;
    for (int kind = 0; kind < CDL_N_ACTIVATIONS; kind++) {
        kernels->activation[kind](1, N, x, N, y, N, params);
        kernels->activation_gradient[kind](1, N, (struct cdl_matrix){x, N},
                                           (struct cdl_matrix){y, N}, (struct cdl_matrix){dy, N},
                                           (struct cdl_output){dx, N}, params);
        digest_of(N, y), digest_of(N, dx);
    }
    for (size_t n = 2; n <= WIDE; n += n < 35 ? 1 : 9) {
        const size_t ld = cdl_padded(n), rows = 21;
        float sums[21], unit[WIDE] = {0}, zero[WIDE] = {0}, factors[21], dgamma[WIDE], dbeta[WIDE];
        for (size_t i = 0; i < rows * ld; i++) x[i] = dy[i] = i % ld < n ? 3.0f * draw() : 0.0f;
        for (size_t j = 0; j < n; j++) unit[j] = 1.0f + 0.1f * draw();
        for (int kind = CDL_ROWWISE_softmax; kind <= CDL_ROWWISE_sparsemax; kind++) {
            kernels->rowwise[kind](rows, n, x, ld, y, ld, NULL);
            kernels->rowwise_gradient[kind](rows, n, (struct cdl_matrix){x, ld},
                                            (struct cdl_matrix){y, ld}, (struct cdl_matrix){dy, ld},
                                            (struct cdl_output){dx, ld}, NULL);
            digest_of(rows * ld, y), digest_of(rows * ld, dx);
        }
        for (int kind = 0; kind < CDL_N_REDUCTIONS; kind++) {
            kernels->reduce_lines((enum cdl_reduction)kind, rows, 1, n, x, ld, sums);
            digest_of(rows, sums);
        }
        kernels->dot_rows(rows, n, x, ld, true, w, 0.5f, sums);
        digest_of(rows, sums);
        struct cdl_normalizing s = {n,      ld,   ld,   CDL_BY_VARIANCE, true, 1e-3f, x,
                                    unit,   zero, sums, factors,         y,    dy,    dx,
                                    dgamma, dbeta};
        kernels->normalize_forward(rows, &s);
        kernels->normalize_backward(rows, &s);
        digest_of(rows * ld, y), digest_of(rows * ld, dx), digest_of(ld, dgamma);
    }
    for (int row = 0; row < CDL_N_OPTIMIZERS; row++) {
        const float derived[CDL_MAX_DERIVED] = {0.01f, 0.9f, 0.1f, 1e-3f, 0.3f, 0.7f, 0.2f, 1.1f};
        float *slots[CDL_MAX_SLOTS] = {x, dx, y};
        for (size_t i = 0; i < N; i++) x[i] = 0.5f + 0.4f * draw(), dx[i] = y[i] = 0.1f * x[i];
        kernels->update[row](N, w, dy, slots, derived);
        digest_of(N, w), digest_of(N, x), digest_of(N, dx);
    }
    cdl_free(x), cdl_free(dy), cdl_free(y), cdl_free(dx), cdl_free(w);
}

/* 7 - 37 relu - 3 with a softmax loss, 12 steps of Adam; the weights go to `to`. */
enum { INPUTS = 7, HIDDEN = 37, CLASSES = 3, ROWS = 40, SIZES = 6 };

static struct cdl_param *param(size_t rows, size_t cols, bool matrix) {
    struct cdl_param *made = NULL;
    if (cdl_param_create(rows, cols, matrix, &made) != CDL_OK) exit(2);
    return made;
}

static size_t train(const char *isa, int threads, float *to) {
    struct cdl_param *w[4] = {param(INPUTS, HIDDEN, true), param(1, HIDDEN, false),
                              param(HIDDEN, CLASSES, true), param(1, CLASSES, false)};
    struct cdl_param *slots[4][2];
    struct cdl_trained trained[4] = {{0}};
    float values[INPUTS * HIDDEN], x[ROWS][INPUTS], y[ROWS][CLASSES] = {{0}};
    state = 7;
    for (int i = 0; i < 4; i++) {
        for (size_t j = 0; j < w[i]->rows * w[i]->cols; j++) values[j] = 0.5f * draw();
        cdl_param_set(w[i], values);
        for (int s = 0; s < 2; s++) slots[i][s] = param(w[i]->rows, w[i]->cols, w[i]->matrix);
        trained[i].param = w[i];
        trained[i].outer = 1, trained[i].height = w[i]->rows, trained[i].width = w[i]->cols;
        trained[i].slots[0] = slots[i][0]->w, trained[i].slots[1] = slots[i][1]->w;
    }
    for (int i = 0; i < ROWS; i++) {
        for (int j = 0; j < INPUTS; j++) x[i][j] = draw();
        y[i][i % CLASSES] = 1.0f;
    }
    struct cdl_row row;
    int dense = 0, loss = 0;
    for (int i = 0; cdl_table_row("ops", i, &row); i++) {
        if (strcmp(row.name, "dense") == 0) dense = i;
        if (strcmp(row.name, "loss") == 0) loss = i;
    }
    const int widths[5] = {INPUTS, HIDDEN, CLASSES, CLASSES, CLASSES};
    struct cdl_value_def value[5] = {{0}};
    for (int i = 0; i < 5; i++) {
        value[i].dtype = CDL_DTYPE_float32;
        value[i].n_dims = 1, value[i].dims[0] = (size_t)widths[i];
    }
    struct cdl_instruction_def code[3] = {{0}};
    for (int i = 0; i < 2; i++) {
        code[i].op = dense, code[i].n_in = code[i].n_out = 1, code[i].n_params = 2;
        code[i].in[0] = i, code[i].out[0] = i + 1;
        for (int p = 0; p < 2; p++)
            code[i].params[p] = w[2 * i + p], code[i].trained[p] = 2 * i + p;
    }
    code[2].op = loss, code[2].n_in = 2, code[2].n_out = 1;
    code[2].in[0] = 2, code[2].in[1] = 4, code[2].out[0] = 3;
    code[2].attributes[0] = 1.0f;
    const int64_t relu[] = {CDL_ACTIVATION_plain_relu}, linear[] = {CDL_ACTIVATION_linear};
    const int64_t kind_and_mean[] = {CDL_LOSS_softmax_categorical_crossentropy, 0};
    code[0].numbers = relu, code[1].numbers = linear, code[2].numbers = kind_and_mean;
    code[0].n_numbers = code[1].n_numbers = 1, code[2].n_numbers = 2;
    const int inputs[2] = {0, 4}, outputs[1] = {3};
    const struct cdl_program_def def = {
        .rows = ROWS,
        .training = true,
        .isa = isa,
        .threads = threads,
        .n_values = 5,
        .n_instructions = 3,
        .n_inputs = 2,
        .n_outputs = 1,
        .n_trained = 4,
        .values = value,
        .instructions = code,
        .inputs = inputs,
        .outputs = outputs,
        .trained = trained,
        .n_groups = 1,
        .groups = {{.optimizer = CDL_OPTIMIZER_adam,
                    .rate_factor = 1.0,
                    .hypers = {0.9, 0.999, 1e-7}}},
    };
    struct cdl_program *program = NULL;
    struct cdl_misfit misfit;
    if (cdl_program_create(&def, &program, &misfit) != CDL_OK) {
        printf("instruction %d: %s\n", misfit.instruction,
               misfit.reason ? misfit.reason : "no memory");
        exit(2);
    }
    const struct cdl_array arrays[2] = {{.data = (const char *)x,
                                         .dtype = CDL_DTYPE_float32,
                                         .n_dims = 2,
                                         .shape = {ROWS, INPUTS},
                                         .strides = {INPUTS * 4, 4}},
                                        {.data = (const char *)y,
                                         .dtype = CDL_DTYPE_float32,
                                         .n_dims = 2,
                                         .shape = {ROWS, CLASSES},
                                         .strides = {CLASSES * 4, 4}}};
    const float rate = 0.05f;
    struct cdl_epoch epoch = {
        .arrays = arrays, .rows = ROWS, .batch = ROWS, .rates = &rate, .n_rates = 1};
    double first = 0.0, last = 0.0;
    for (int step = 0; step < 12; step++) {
        size_t doubles = 0;
        epoch.next = 0;
        cdl_reset_reports(program);
        cdl_run_batches(program, &epoch, 1, 1e9, true);
        last = cdl_report(program, 0, &doubles)[0];
        if (step == 0) first = last;
    }
    expect(last < 0.8 * first, "loss after 12 steps", isa, last, first);
    size_t n = 0;
    for (int i = 0; i < 4; i++) {
        cdl_param_get(w[i], to + n);
        n += w[i]->rows * w[i]->cols;
        cdl_param_destroy(slots[i][0]), cdl_param_destroy(slots[i][1]);
    }
    cdl_program_destroy(program);
    for (int i = 0; i < 4; i++) cdl_param_destroy(w[i]);
    return n;
}

int main(void) {
    static float one[1024], two[1024], base[1024];
    cdl_start(NULL);
    const struct cdl_kernels *plain = cdl_isa_choose("baseline");
    const size_t n = train("baseline", 1, base);
    int checked = 0;
    for (int i = 0; cdl_isa_name(i); i++) {
        if (!cdl_isa_runs(i)) continue;
        const struct cdl_kernels *kernels = cdl_isa_kernels(i);
        for (size_t m = 1; m <= 15; m++) {
            for (size_t width = 16; width <= 64; width += 16) check_products(kernels, m, width, 9);
        }
        check_products(kernels, 33, 64, 130);
        check_functions(kernels, plain);
        for (size_t few = 2; few <= 16; few++) check_few_classes(kernels, 23, few);
        for (size_t rows = 1; rows <= 7; rows += 2) check_bytes(kernels, rows, 5 * rows + 70, 43);
        train(kernels->isa, 1, one);
        train(kernels->isa, 2, two);
        expect(memcmp(one, two, n * sizeof(float)) == 0, "bits at 2 threads", kernels->isa, 0, 0);
        for (size_t j = 0; j < n; j++) {
            expect(fabs((double)one[j] - (double)base[j]) < 2e-3, "weights after 12 steps",
                   kernels->isa, (double)one[j], (double)base[j]);
        }
        digest = 0xcbf29ce484222325ULL;
        digest_kernels(kernels);
        digest_of(n, one);
        printf("%s: checked, bits %016llx\n", kernels->isa, digest);
        checked++;
    }
    printf("%d passed, %d failed\n", checked, failures);
    return failures != 0;
}
