/* contracts.c - what the core refuses and how it lays out weights, where no binding can ask.
 *
 * The binding checks names, shapes and sizes before the core does; this calls the core as another
 * caller might. test_contracts.py compiles and runs it.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/threads.h"
#include "cdl.h"
#include "isa/isa.h"
#include "ops/op.h"
#include "learn/tensorwise.h"

static int failures;

static void expect(bool right, const char *what, double got) {
    if (right) return;
    failures++;
    printf("%s: got %g\n", what, got);
}

static cdl_status create(const struct cdl_program_def *def) {
    struct cdl_program *program = NULL;
    struct cdl_misfit misfit;
    const cdl_status status = cdl_program_create(def, &program, &misfit);
    expect((status == CDL_ERR_PROGRAM) == (misfit.reason != NULL), "a reason of a status", status);
    if (status == CDL_OK) cdl_program_destroy(program);
    return status;
}

/* ---- sizes ------------------------------------------------------------------------------------
 */

static void check_sizes(void) {
    static const struct {
        size_t rows;
        size_t dims[3];
        cdl_status status;
    } cases[] = {
        {4, {2, 3, 5}, CDL_OK},
        {4, {2, 0, 5}, CDL_ERR_PROGRAM},
        {4, {(SIZE_MAX >> 1) + 2, 2, 3}, CDL_ERR_NO_MEMORY}, /* lines wrap around to 2 */
        {4, {2, 3, SIZE_MAX}, CDL_ERR_NO_MEMORY},            /* the padded width is 0 */
        {4, {1, (size_t)1 << 33, (size_t)1 << 33}, CDL_ERR_NO_MEMORY},
        {4, {0, SIZE_MAX, SIZE_MAX}, CDL_ERR_PROGRAM},
        {((size_t)1 << 62) + 1, {1, 1, 4}, CDL_ERR_NO_MEMORY}, /* floats wrap around to 16 */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (int threads = 1; threads <= CDL_MAX_THREADS; threads *= 4) {
            struct cdl_value_def value = {.n_dims = 3, .dtype = CDL_DTYPE_float32};
            const int input = 0;
            memcpy(value.dims, cases[i].dims, sizeof cases[i].dims);
            const struct cdl_program_def def = {.rows = cases[i].rows,
                                                .threads = threads,
                                                .n_values = 1,
                                                .values = &value,
                                                .n_inputs = 1,
                                                .inputs = &input,
                                                .n_outputs = 1,
                                                .outputs = &input};
            const cdl_status status = create(&def);
            expect(status == cases[i].status, "status of a size", (double)status);
        }
    }
    const struct cdl_value_def nine = {.n_dims = 9, .dtype = CDL_DTYPE_float32};
    const struct cdl_program_def def = {.rows = 1, .n_values = 1, .values = &nine};
    expect(create(&def) == CDL_ERR_PROGRAM, "status of nine axes", (double)create(&def));
}

/* ---- rows of tables ----------------------------------------------------------------------------
 */

enum { X, T, Y, MORE, CLASS, ONE, SUM, IMAGE, MAP, VALUES };

/* A program of one op that names a row of a table, by the op's number; operands that fit most. */
static cdl_status create_with_kind(int op, const struct cdl_row *row, struct cdl_param *kernel,
                                   struct cdl_param *plain, struct cdl_param *words, int classes,
                                   int64_t kind) {
    static const struct cdl_value_def values[VALUES] = {
        [X] = {.n_dims = 1, .dims = {3}, .dtype = CDL_DTYPE_float32},
        [T] = {.n_dims = 1, .dims = {3}, .dtype = CDL_DTYPE_float32},
        [Y] = {.n_dims = 1, .dims = {3}, .dtype = CDL_DTYPE_float32},
        [MORE] = {.n_dims = 1, .dims = {3}, .dtype = CDL_DTYPE_float32},
        [CLASS] = {.n_dims = 1, .dims = {1}, .dtype = CDL_DTYPE_int32},
        [ONE] = {.n_dims = 1, .dims = {1}, .dtype = CDL_DTYPE_float32},
        [SUM] = {.n_dims = 1, .dims = {3}, .dtype = CDL_DTYPE_float32, .shared = true},
        [IMAGE] = {.n_dims = 2, .dims = {4, 3}, .dtype = CDL_DTYPE_float32},
        [MAP] = {.n_dims = 2, .dims = {4, 3}, .dtype = CDL_DTYPE_float32},
    };
    const int inputs[] = {X, T, CLASS, IMAGE};
    const bool is_dense = strcmp(row->name, "dense") == 0, draws = strcmp(row->name, "draw") == 0;
    const bool is_conv = strcmp(row->name, "conv") == 0;
    const bool is_depthwise = strcmp(row->name, "depthwise_conv") == 0;
    const bool is_recurrent = strcmp(row->name, "recurrent") == 0;
    const bool is_parametric = strcmp(row->name, "parametric") == 0;
    const bool is_dense_int = strcmp(row->name, "dense_int") == 0;
    const int64_t integers[] = {kind, 8, 0, 1}; /* a word for three rows, and its sum */
    const bool has_kernel =
        is_recurrent || is_dense || is_conv || strcmp(row->name, "conv_transpose") == 0;
    const bool has_window = (has_kernel && !is_dense && !is_recurrent) || is_depthwise ||
                            strcmp(row->name, "pool") == 0;
    const bool is_reduce = strcmp(row->name, "reduce") == 0;
    const bool is_line_loss = strcmp(row->name, "line_loss") == 0;
    const bool is_loss = strcmp(row->name, "loss") == 0;
    const bool scores = is_loss || is_line_loss || strcmp(row->name, "metric") == 0 ||
                        strcmp(row->name, "measure") == 0 || strcmp(row->name, "tally") == 0;
    const int64_t one[] = {kind}, of_draw[] = {kind, 0, 0, 0}, of_loss[] = {kind, 0};
    const int64_t cut[] = {kind, 1, 3, 1}, window[] = {kind, 1, 1, 1, 0};
    const int64_t groups[] = {kind, 1, 1, 1, 1, 0}, steps[] = {kind, 0, 0, 0, 0};
    struct cdl_instruction_def instruction = {.op = op, .numbers = one, .n_numbers = 1};
    if (draws) instruction.numbers = of_draw, instruction.n_numbers = 4;
    if (is_loss) instruction.numbers = of_loss, instruction.n_numbers = 2;
    if (is_reduce) instruction.numbers = cut, instruction.n_numbers = 4;
    if (has_window) instruction.numbers = window, instruction.n_numbers = 5;
    if (is_recurrent) instruction.numbers = steps, instruction.n_numbers = 5;
    if (is_dense_int) instruction.numbers = integers, instruction.n_numbers = 4;
    if (is_conv) instruction.numbers = groups, instruction.n_numbers = 6;
    instruction.n_in = draws ? 0 : scores ? 2 : 1;
    instruction.in[0] = has_window ? IMAGE : X;
    instruction.in[1] = classes ? CLASS : T;
    instruction.n_out = scores && !is_line_loss ? 0 : 1;
    instruction.out[0] = scores || is_reduce                      ? ONE
                         : strcmp(row->name, "batch_reduce") == 0 ? SUM
                         : has_window                             ? MAP
                                                                  : Y;
    if (has_kernel || is_depthwise) {
        instruction.n_params = 2;
        instruction.params[0] = is_depthwise ? plain : kernel;
        instruction.params[1] = is_recurrent ? kernel : NULL;
        instruction.trained[0] = instruction.trained[1] = -1;
    }
    if (is_parametric) {
        instruction.n_params = 1;
        instruction.params[0] = plain;
        instruction.trained[0] = -1;
        instruction.n_out = 2;
        instruction.out[1] = MORE;
    }
    if (is_dense_int) {
        instruction.n_params = 4;
        instruction.params[0] = words;
        instruction.params[1] = plain;
        for (int k = 0; k < 4; k++) instruction.trained[k] = -1;
    }
    const struct cdl_program_def def = {.rows = 4,
                                        .n_values = VALUES,
                                        .values = values,
                                        .n_inputs = 4,
                                        .inputs = inputs,
                                        .n_instructions = 1,
                                        .instructions = &instruction};
    return create(&def);
}

static void check_kinds(void) {
    struct cdl_param *kernel, *plain, *words;
    struct cdl_row row, kind;
    int tables = 0;
    if (cdl_param_create(3, 3, true, &kernel) != CDL_OK) return;
    if (cdl_param_create(1, 3, false, &plain) != CDL_OK) return;
    if (cdl_param_create(2, 3, true, &words) != CDL_OK) return;
    for (int op = 0; cdl_table_row("ops", op, &row); op++) {
        if (!row.table) continue;
        tables++;
        int rows = 0, fit = 0;
        for (; cdl_table_row(row.table, rows, &kind); rows++) {
            for (int classes = 0; classes < 2; classes++)
                fit += create_with_kind(op, &row, kernel, plain, words, classes, rows) == CDL_OK;
        }
        /* A tally of a row with parameters wants them: r2_score and f_score have none. */
        expect(fit > 0, row.name, fit);
        const int64_t wrong[] = {-1, rows, (int64_t)1 << 32, INT64_MAX, INT64_MIN};
        for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
            const cdl_status status = create_with_kind(op, &row, kernel, plain, words, 0, wrong[i]);
            expect(status == CDL_ERR_PROGRAM, row.name, (double)wrong[i]);
        }
    }
    expect(tables >= 10, "ops with a table", tables);
    cdl_param_destroy(kernel);
    cdl_param_destroy(plain);
    cdl_param_destroy(words);
}

/* ---- the pieces that optimizers of whole parameters walk -------------------------------------
 */

static void check_pieces(bool matrix) {
    enum { OUTER = 2, HEIGHT = 3, WIDTH = 150, N = OUTER * HEIGHT * WIDTH };
    struct cdl_param *param;
    float array[N];
    for (int i = 0; i < N; i++) array[i] = (float)i;
    if (cdl_param_create(matrix ? OUTER * HEIGHT : 1, matrix ? WIDTH : N, matrix, &param) != CDL_OK)
        return;
    cdl_param_set(param, array);
    const struct cdl_trained trained = {
        .param = param, .outer = OUTER, .height = HEIGHT, .width = WIDTH};
    size_t seen = 0;
    struct cdl_piece piece;
    for (size_t o = 0; o < OUTER; o++) {
        for (size_t column = 0; column < WIDTH; column += piece.live) {
            piece = cdl_piece_at(&trained, o, column);
            for (size_t i = 0; i < HEIGHT; i++) {
                for (size_t j = 0; j < piece.live; j++, seen++) {
                    const float found = param->w[piece.offset + i * piece.ld + j];
                    const size_t wanted = (o * HEIGHT + i) * WIDTH + column + j;
                    expect(found == (float)wanted, "element of a piece", (double)found);
                }
            }
        }
    }
    expect(seen == N, "elements in pieces", (double)seen);
    cdl_param_destroy(param);
}

/* ---- kernels that are called against their contracts: asserts stop them ----------------------
 */

static jmp_buf before;

static void stopped(int signal_number) {
    (void)signal_number;
    longjmp(before, 1);
}

static void call_wrongly(const struct cdl_kernels *kernels, int how) {
    float x[4 * CDL_LINE] = {0}, y[4 * CDL_LINE] = {0};
    const float params[CDL_MAX_ROW_PARAMS] = {0};
    const struct cdl_matrix from = {x, CDL_LINE};
    const struct cdl_output to = {y, CDL_LINE};
    const struct cdl_product wide = {.m = 1, .n = CDL_PANEL + 1, .a = {x, 1}, .c = {y, CDL_PANEL}};
    if (how == 0) kernels->gemm(&wide);                                      /* more than a panel */
    if (how == 1) kernels->activation[0](2, 10, x, 10, y, CDL_LINE, params); /* no pads */
    if (how == 2) kernels->add(CDL_LINE, x, x + 1);                          /* common memory */
    if (how == 3) kernels->standardize(1, 10, from, x, NULL, x, to);
}

static void check_asserts(void) {
    const struct cdl_kernels *kernels = cdl_isa_choose("baseline");
    for (volatile int how = 0; how < 4; how++) {
        volatile bool stops = true;
        signal(SIGABRT, stopped);
        if (setjmp(before) == 0) {
            call_wrongly(kernels, how);
            stops = false;
        }
        expect(stops, "a kernel called wrongly goes on", (double)how);
    }
    signal(SIGABRT, SIG_DFL);
}

int main(void) {
    cdl_start(NULL);
    check_sizes();
    check_kinds();
    check_pieces(false);
    check_pieces(true);
    check_asserts();
    return failures > 0;
}
