/* elementwise.h - primitives of expressions over values: one row and one formula each.
 *
 * A row is X(name, arity), and its formula takes three numbers of which it reads `arity`. A
 * comparison gives 1 or 0; what is not 0 counts as true. Gradients stand in
 * cdl/_ir/elementwise_grad.py, as expressions in these primitives: C has no second formula.
 */
#ifndef CDL_TEMPLATE

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// clang-format off
#define CDL_ELEMENTWISE(X)                                                                         \
    X(copy, 1)          X(add, 2)           X(subtract, 2)      X(multiply, 2)                     \
    X(divide, 2)        X(multiply_add, 3)  X(negative, 1)      X(reciprocal, 1)                   \
    X(abs, 1)           X(sign, 1)          X(square, 1)        X(sqrt, 1)                         \
    X(rsqrt, 1)         X(cbrt, 1)          X(power, 2)         X(exp, 1)                          \
    X(expm1, 1)         X(log, 1)           X(log1p, 1)         X(log2, 1)                         \
    X(log10, 1)         X(sin, 1)           X(cos, 1)           X(tan, 1)                          \
    X(asin, 1)          X(acos, 1)          X(atan, 1)          X(atan2, 2)                        \
    X(sinh, 1)          X(cosh, 1)          X(tanh, 1)          X(asinh, 1)                        \
    X(acosh, 1)         X(atanh, 1)         X(sigmoid, 1)       X(softplus, 1)                     \
    X(erf, 1)           X(relu, 1)          X(maximum, 2)       X(minimum, 2)                      \
    X(above, 2)         X(floor_divide, 2)  X(mod, 2)           X(fmod, 2)                         \
    X(floor, 1)         X(ceil, 1)          X(round, 1)         X(trunc, 1)                        \
    X(equal, 2)         X(not_equal, 2)     X(less, 2)          X(less_equal, 2)                   \
    X(greater, 2)       X(greater_equal, 2) X(logical_and, 2)   X(logical_or, 2)                   \
    X(logical_xor, 2)   X(logical_not, 1)   X(isnan, 1)         X(isinf, 1)                        \
    X(isfinite, 1)      X(where, 3)         X(gate, 2)

/* Arguments beyond the range of a formula, for which the C library's function is called. */
#define CDL_ELEMENTWISE_BEYOND(X)                                                                  \
    X(sin,  abs_f(a) > TURNS_MOST,               sinf(a))                                          \
    X(cos,  abs_f(a) > TURNS_MOST,               cosf(a))                                          \
    X(tan,  abs_f(a) > TURNS_MOST,               tanf(a))                                          \
    X(fmod, abs_f(a) > QUOTIENT_MOST * abs_f(b), fmodf(a, b))                                      \
    X(mod,  abs_f(a) > QUOTIENT_MOST * abs_f(b), modulo_of_f(fmodf(a, b), b))
// clang-format on

/* Primitives of lines, whose results are columns: a number for each line. spread makes lines of a
 * column; a primitive of columns and constants makes a column of them. */
#define CDL_LINEWISE(X) X(spread, 1) X(line_sum, 1) X(line_dot, 2) X(line_max, 1) X(line_min, 1)

/* Primitives of elements that read columns as they are, without a spread, and which operands these
 * may be: a sum of bits. */
#define CDL_MIXED(X)                                                                               \
    X(add, 2)                                                                                      \
    X(subtract, 1)                                                                                 \
    X(subtract, 2)                                                                                 \
    X(multiply, 2)                                                                                 \
    X(divide, 2)                                                                                   \
    X(multiply_add, 2)                                                                             \
    X(multiply_add, 4)                                                                             \
    X(multiply_add, 6)

#define CDL_ELEMENTWISE_NUMBER(NAME, ...) CDL_ELEMENTWISE_##NAME,
enum cdl_elementwise { CDL_ELEMENTWISE(CDL_ELEMENTWISE_NUMBER) CDL_N_ELEMENTWISE };

/* The numbers go on behind the elementwise ones. */
#define CDL_LINEWISE_NUMBER(NAME, ...) CDL_LINEWISE_##NAME,
enum cdl_linewise {
    CDL_LINEWISE_none = CDL_N_ELEMENTWISE - 1,
    CDL_LINEWISE(CDL_LINEWISE_NUMBER) CDL_MAP_PRIMITIVES
};

/* Floats of a chunk, the piece of a value on which all steps of an expression run before the next
 * piece; and of all registers and constants: 24 KB of the L1 cache and of the stack. More than
 * twelve have shorter chunks. Where steps need whole lines, chunks are of as many as there is room
 * for: of one at least, for which there are 32 KB. */
enum {
    CDL_MAP_CHUNK = 512,
    CDL_MAP_ROOM = 12 * CDL_MAP_CHUNK,
    CDL_MAP_ROOM_OF_LINES = 16 * CDL_MAP_CHUNK,
    CDL_MAP_LINES = 32
};

/* y = f(a, b, c) for lines of n elements; y may be an operand. Of an operand that is a column each
 * number serves a line, and n is a multiple of CDL_LINE. */
typedef void cdl_elementwise_fn(size_t lines, size_t n, float *y, const float *a, const float *b,
                                const float *c);

/* Operands of a step, by number: registers, registers of columns, values that an expression reads
 * (inputs, then the gradient by the result and the result), those that it writes, constants. */
enum {
    CDL_MAP_REGISTERS = 16,
    CDL_MAP_COLUMN = 16,
    CDL_MAP_INPUT = 32,
    CDL_MAP_DY = CDL_MAP_INPUT + 8,
    CDL_MAP_Y,
    CDL_MAP_OUTPUT = 64,
    CDL_MAP_CONSTANT = 96,
    CDL_MAP_CONSTANTS = 16,
    CDL_MAP_OPERANDS = CDL_MAP_CONSTANT + CDL_MAP_CONSTANTS,
    CDL_MAP_STEPS = 128
};

/* A step is a loop over elements, some of whose operands are columns, or over columns; or a
 * primitive of lines. */
struct cdl_map_step {
    cdl_elementwise_fn *loop; /* NULL for a primitive of lines */
    uint8_t primitive, to, from[3];
    uint8_t columns; /* bit j: from[j] is a column, and the result is not */
    bool of_columns;
    bool adds; /* a product that is added to the gradient of a repeated line */
};

/* An operand with fewer numbers than the result: each of its lines, of one number or as many as
 * the result's, serves `run` lines; it begins again after each `period` lines. 0: the operand has
 * the result's layout. */
struct cdl_map_repeat {
    size_t run, ld, period;
    bool is_column; /* its lines are of one number */
};

/* One run of an expression over lines of one layout, which all values have but those that are
 * repeated. Backward, `out` are gradients of `in`; those of repeated lines are added to it. */
struct cdl_map {
    size_t lines, width, ld;
    struct cdl_map_repeat repeat[8];
    bool backward, of_lines;
    uint8_t plain;    /* bit k: the gradient by a repeated input is the sum of that by the result */
    uint8_t products; /* bit k: it is one of products, whose pads may be anything */
    int n_steps, n_registers, n_constants;
    unsigned wide_constants; /* bit c: steps over elements read constant c */
    const struct cdl_map_step *steps;
    const double *constants;
    const float *in[CDL_MAP_Y + 1 - CDL_MAP_INPUT]; /* NULL where no step reads */
    float *out[8];
};

#else /* inside isa/instantiate.h */

#define FORMULA(NAME, RESULT)                                                                      \
    CDL_INLINE float element_##NAME(float a, float b, float c) { return (RESULT); }
FORMULA(copy, a)
FORMULA(add, a + b)
FORMULA(subtract, a - b)
FORMULA(multiply, a *b)
FORMULA(divide, a / b)
FORMULA(multiply_add, fma_f(a, b, c))
FORMULA(negative, -a)
FORMULA(reciprocal, 1.0f / a)
FORMULA(abs, abs_f(a))
FORMULA(sign, a > 0.0f ? 1.0f : (a < 0.0f ? -1.0f : a)) /* 0 and NaN stay themselves */
FORMULA(square, a *a)
FORMULA(sqrt, sqrtf(a))
FORMULA(rsqrt, 1.0f / sqrtf(a))
FORMULA(cbrt, cbrt_f(a))
FORMULA(power, power_any_f(a, b))
FORMULA(exp, exp_f(a))
FORMULA(expm1, expm1_any_f(a))
FORMULA(log, log_f(a))
FORMULA(log1p, log1p_any_f(a))
FORMULA(log2, log2_f(a))
FORMULA(log10, log10_f(a))
FORMULA(sin, sin_f(a))
FORMULA(cos, cos_f(a))
FORMULA(tan, tan_f(a))
FORMULA(asin, asin_f(a))
FORMULA(acos, acos_f(a))
FORMULA(atan, atan_f(a))
FORMULA(atan2, atan2_f(a, b))
FORMULA(sinh, sinh_f(a))
FORMULA(cosh, cosh_f(a))
FORMULA(tanh, tanh_f(a))
FORMULA(asinh, asinh_f(a))
FORMULA(acosh, acosh_f(a))
FORMULA(atanh, atanh_f(a))
FORMULA(sigmoid, sigmoid_f(a))
FORMULA(softplus, softplus_f(a))
FORMULA(erf, erf_f(a))
FORMULA(relu, a < 0.0f ? 0.0f : a)
FORMULA(maximum, a > b ? a : (a != a ? a : b)) /* of a NaN and a number: NaN */
FORMULA(minimum, a < b ? a : (a != a ? a : b))
FORMULA(above, a > b ? 1.0f : (a == b ? 0.5f : 0.0f)) /* the gradient of maximum(a, b) by a */
FORMULA(floor_divide, floor_divide_f(a, b))
FORMULA(mod, modulo_of_f(remainder_f(a, b), b))
FORMULA(fmod, remainder_f(a, b))
FORMULA(floor, floor_f(a))
FORMULA(ceil, ceil_f(a))
FORMULA(round, round_f(a)) /* half to even */
FORMULA(trunc, trunc_f(a))
FORMULA(equal, a == b ? 1.0f : 0.0f)
FORMULA(not_equal, a != b ? 1.0f : 0.0f)
FORMULA(less, a < b ? 1.0f : 0.0f)
FORMULA(less_equal, a <= b ? 1.0f : 0.0f)
FORMULA(greater, a > b ? 1.0f : 0.0f)
FORMULA(greater_equal, a >= b ? 1.0f : 0.0f)
FORMULA(logical_and, a != 0.0f && b != 0.0f ? 1.0f : 0.0f)
FORMULA(logical_or, a != 0.0f || b != 0.0f ? 1.0f : 0.0f)
FORMULA(logical_xor, (a != 0.0f) != (b != 0.0f) ? 1.0f : 0.0f)
FORMULA(logical_not, a == 0.0f ? 1.0f : 0.0f)
FORMULA(isnan, a != a ? 1.0f : 0.0f)
FORMULA(isinf, abs_f(a) == INFINITY ? 1.0f : 0.0f)
FORMULA(isfinite, abs_f(a) < INFINITY ? 1.0f : 0.0f)
FORMULA(where, a != 0.0f ? b : c)
FORMULA(gate, a > 0.0f ? b : 0.0f) /* the gradient b of relu at a */
#undef FORMULA

#endif
