"""Models as C99: it compiles without a warning and predicts the same."""

import ctypes
import shutil
import subprocess

import numpy as np
import pytest
from export.nets import CASES, assert_close, case

from cdl import _core, ops
from cdl.export import c_formulas, c_ops, formulas, numbers
from cdl.layers import Dense, Input, Lambda
from cdl.models import Model, Sequential

COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]
STRICT = ["-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror"]


@pytest.fixture(params=COMPILERS)
def compiler(request):
    return request.param


def compiled(path, compiler, *flags):
    """The shared library that a C file makes."""
    library = path.with_suffix(".so")
    command = [compiler, *STRICT, *(flags or ["-O1"]), "-shared", "-fPIC", str(path)]
    done = subprocess.run(
        [*command, "-o", str(library), "-lm"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return ctypes.CDLL(str(library))


def predicted(library, name, model, x):
    """The outputs of a compiled C function: an array, or a list of arrays."""
    inputs = [
        np.ascontiguousarray(each, np.float32) for each in (x if isinstance(x, list) else [x])
    ]
    shapes = model.output_shape if isinstance(model.output_shape, list) else [model.output_shape]
    rows = len(inputs[0])
    outputs = [np.full((rows, *shape[1:]), np.nan, np.float32) for shape in shapes]
    pointers = [each.ctypes.data_as(ctypes.c_void_p) for each in (*inputs, *outputs)]
    getattr(library, f"{name}_predict")(ctypes.c_size_t(rows), *pointers)
    return outputs if len(outputs) > 1 else outputs[0]


@pytest.mark.parametrize("name", CASES)
def test_c_predicts_what_cdl_does(name, compiler, tmp_path):
    model, x = case(name)
    model.export(tmp_path / "m.c", format="c")
    library = compiled(tmp_path / "m.c", compiler)
    # A sum of hundreds of products differs by the order in which they are added.
    within = 3e-6 if name in ("net wide", "net normalized") else 1e-6
    assert_close(predicted(library, "m", model, x), model, x, within)


def test_rows_are_those_of_the_core():
    assert set(formulas.ACTIVATIONS) == set(_core.ACTIVATIONS)
    assert set(formulas.ELEMENTWISE) <= set(_core.ELEMENTWISE)
    assert set(_core.ELEMENTWISE) <= set(formulas.ELEMENTWISE) | set(c_formulas.FUNCTIONS)
    others = numbers.NOT_IN_PREDICT | set(numbers.REASONS)
    assert set(_core.OPS) >= set(c_ops.ROWS) | others
    assert not set(c_ops.ROWS) & others


OF_LINES = sorted(set(_core.LINEWISE) - {"spread"})  # which stands in bytecode only


@pytest.mark.parametrize("primitive", [*_core.ELEMENTWISE, *OF_LINES])
def test_primitive_is_that_of_the_core(primitive, tmp_path):
    from cdl._ir import bytecode
    from cdl._ir.elementwise import apply, arguments
    from cdl._ir.lowering import Lowering
    from cdl._tracing import eager
    from cdl.export.to_c import source_of

    arity = {**_core.ELEMENTWISE, **_core.LINEWISE}[primitive]
    rng = np.random.default_rng(1)
    arrays = [rng.uniform(0.1, 0.9, (5, 8)).astype(np.float32) for _ in range(arity)]
    arrays[0][:, 4:] -= 0 if primitive in ("log", "log2", "log10", "rsqrt", "sqrt", "power") else 1
    program = Lowering()
    values = [program.input((8,)) for _ in range(arity)]
    expression = apply(primitive, *arguments(arity))
    if primitive in OF_LINES:  # a column of columns, with elements
        expression = arguments(1)[0] - apply("sigmoid", expression * 0.5)
    code, constants = bytecode.compiled(expression, arity)
    program.output(program.emit("map", values, (8,), numbers=code, data=constants))
    with np.errstate(all="ignore"):
        expected = eager.run(program, arrays)

    class Named:
        name = "a primitive"

    source, header = source_of(program, "m", Named())
    (tmp_path / "m.c").write_text(source)
    (tmp_path / "m.h").write_text(header)
    library = compiled(tmp_path / "m.c", COMPILERS[0])
    found = np.empty((5, 8), np.float32)
    pointers = [each.ctypes.data_as(ctypes.c_void_p) for each in (*arrays, found)]
    library.m_predict(ctypes.c_size_t(5), *pointers)
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-7)


def test_file_has_a_main_that_links_with_nothing_but_the_c_library(compiler, tmp_path):
    model, x = case("net classifier")
    model.export(tmp_path / "digits.c")
    (tmp_path / "main.c").write_text(
        """
        #include <stdio.h>
        #include "digits.h"
        int main(void) {
            float x[DIGITS_INPUT], y[DIGITS_OUTPUT];
            int i;
            for (i = 0; i < DIGITS_INPUT; i++) if (scanf("%f", &x[i]) != 1) return 1;
            digits_predict(1, x, y);
            for (i = 0; i < DIGITS_OUTPUT; i++) printf("%.9g ", y[i]);
            return 0;
        }
        """.rstrip()
        + "\n"
    )
    command = [compiler, *STRICT, "main.c", "digits.c", "-o", "main", "-lm"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    numbers_in = " ".join(f"{v:.9g}" for v in x[0])
    done = subprocess.run(
        ["./main"], cwd=tmp_path, input=numbers_in, capture_output=True, text=True, check=True
    )
    found = np.array(done.stdout.split(), np.float32).reshape(1, -1)
    assert_close(found, model, x[:1])


def test_nothing_is_allocated_and_nothing_else_is_included(tmp_path):
    model, _ = case("net classifier")
    model.export(tmp_path / "m.c")
    text = (tmp_path / "m.c").read_text()
    assert "alloc" not in text
    includes = [line for line in text.splitlines() if line.startswith("#include")]
    assert includes == ["#include <math.h>", "#include <stddef.h>", '#include "m.h"']


@pytest.mark.parametrize("sanitizer", ["address,undefined"])
def test_no_read_is_out_of_bounds(sanitizer, tmp_path):
    model, x = case("net classifier")
    model.export(tmp_path / "m.c")
    values = ", ".join(c_formulas.number(v) for v in x[0])
    (tmp_path / "main.c").write_text(
        f"""#include "m.h"
        int main(void) {{
            static const float x[M_INPUT] = {{{values}}};
            float y[M_OUTPUT];
            m_predict(1, x, y);
            return !(y[0] >= 0.0f);
        }}
        """
    )
    command = ["gcc", *STRICT, f"-fsanitize={sanitizer}", "main.c", "m.c", "-o", "main", "-lm"]
    made = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    if "cannot find" in made.stderr:
        pytest.skip("gcc has no sanitizers here")
    assert made.returncode == 0, made.stderr
    subprocess.run(["./main"], cwd=tmp_path, check=True, env={})


def test_name_of_the_function_is_that_of_the_file(compiler, tmp_path):
    model, x = case("layer dense")
    for stem, name in (("int", "int"), ("2 nets-a", "_2_nets_a"), ("é", "_")):
        model.export(tmp_path / f"{stem}.c")
        library = compiled(tmp_path / f"{stem}.c", compiler)
        assert_close(predicted(library, name, model, x), model, x)


def test_names_of_a_model_cannot_end_a_comment(compiler, tmp_path):
    model = Sequential([Input((2,)), Dense(1, name="*\\ evil ??\\")], name="a * b\\")
    model.layers[0].kernel.path = "*/ evil"
    model.export(tmp_path / "m.c")
    compiled(tmp_path / "m.c", compiler)


def test_large_work_space_is_static(compiler, tmp_path):
    model = Sequential([Input((3,)), Dense(20_000), Dense(2)])
    model.export(tmp_path / "m.c")
    assert "static float work[" in (tmp_path / "m.c").read_text()
    assert "one call at a time" in (tmp_path / "m.h").read_text()
    x = np.ones((2, 3), np.float32)
    assert_close(predicted(compiled(tmp_path / "m.c", compiler), "m", model, x), model, x, 1e-5)


def test_infinite_and_missing_numbers_are_written(compiler, tmp_path):
    model = Sequential([Input((2,)), Dense(2)])
    model.set_weights([[[np.inf, 0], [0, np.nan]], [-np.inf, 1e-45]])
    model.export(tmp_path / "m.c")
    x = np.ones((1, 2), np.float32)
    found = predicted(compiled(tmp_path / "m.c", compiler), "m", model, x)
    assert np.array_equal(found, model.predict(x, verbose=0), equal_nan=True)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda m: m.export("m.c", format="tf_saved_model"), "format must be 'c' or 'onnx'"),
        (lambda m: m.export("m.tflite"), "format must be 'c' or 'onnx', got None"),
        (lambda m: m.export("m.cpp", format="c"), "filepath must end in .c"),
        (lambda m: m.export("m.c", format="onnx"), "must end in .onnx for format 'onnx'"),
        (lambda m: m.export("m.onnx", format="c"), "must end in .c for format 'c'"),
        (lambda m: m.export("m.c", input_signature=[1]), "must have shapes that fit the inputs"),
        (
            lambda m: Sequential([Input((None, 2), name="x"), Dense(2)]).export("m.c"),
            "axis 1 of input 'x' must have a size that is known, got shape (None, None, "
            "2): give the size, as by input_signature=[InputSpec(shape=(None, 100, 2))]",
        ),
        (lambda m: m.export("m.c", opset_version=3), "arguments not recognized"),
        (lambda m: Sequential([Dense(2)]).export("m.c"), "must be built first"),
        (
            lambda m: Sequential([Input((2,)), Lambda(lambda x: np.fft.fft(x).real)]).export("m.c"),
            "the op 'host' has no place in C: it is Python code",
        ),
    ],
)
def test_what_cannot_be_exported_is_refused(call, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError) as caught:
        call(Sequential([Input((2,)), Dense(2)]))
    assert text in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_header_and_source_are_both_written_or_neither(tmp_path):
    model, _ = case("layer dense")
    (tmp_path / "m.c").mkdir()
    with pytest.raises(IsADirectoryError):
        model.export(tmp_path / "m.c", format="c")
    assert [each.name for each in tmp_path.iterdir()] == ["m.c"]


def test_header_says_which_input_and_output_is_which(tmp_path):
    model, _ = case("net merging")
    model.export(tmp_path / "m.c")
    text = (tmp_path / "m.h").read_text()
    assert "/* floats of a sample of in0, a: [3, 6] */" in text
    assert "/* floats of a sample of in1, b: [3, 6] */" in text
    assert "/* floats of a sample of out0, first: [3] */" in text
    assert "/* floats of a sample of out1, second: [1] */" in text


@pytest.mark.parametrize("name", ["max", "min", "sum"])
def test_lines_that_hold_nan_or_infinities_reduce_as_in_the_core(name, compiler, tmp_path):
    reduced = getattr(ops, name)
    inputs = Input((3,))
    model = Model(inputs, ops.negative(reduced(inputs, axis=-1, keepdims=True)) * inputs)
    x = [[1, 2, 3], [np.nan, 1, 2], [1, np.nan, 2], [1, -np.inf, 3], [np.inf, 0.5, 2]]
    x = np.array(x, np.float32)
    model.export(tmp_path / "m.c", format="c")
    library = compiled(tmp_path / "m.c", compiler)
    expected = model.predict(x, verbose=0)
    np.testing.assert_array_equal(predicted(library, "m", model, x), expected)


def test_what_sums_of_lines_are_made_of_is_not_computed_again(tmp_path):
    inputs = Input((4,))
    total = ops.sum(ops.exp(ops.sin(inputs)), axis=-1, keepdims=True)
    Model(inputs, inputs / total).export(tmp_path / "m.c", format="c")
    assert (tmp_path / "m.c").read_text().count("sinf(") == 1
