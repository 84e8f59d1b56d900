"""Models as ONNX: the checker finds nothing, and onnxruntime predicts the same."""

import sys

import numpy as np
import pytest
from export.nets import CASES, assert_close, case

import cdl
from cdl import _core, ops
from cdl.export import numbers
from cdl.layers import Dense, Input, Lambda
from cdl.models import Model, Sequential

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")


def session(data):
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    return runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def predicted(path, x):
    """The outputs of onnxruntime: an array, or a list of arrays."""
    made = session(str(path))
    arrays = x if isinstance(x, list) else [x]
    feed = {each.name: array for each, array in zip(made.get_inputs(), arrays, strict=True)}
    outputs = made.run(None, feed)
    return outputs if len(outputs) > 1 else outputs[0]


@pytest.mark.parametrize("name", CASES)
def test_onnxruntime_predicts_what_cdl_does(name, tmp_path):
    model, x = case(name)
    model.export(tmp_path / "m.onnx", format="onnx")
    onnx.checker.check_model(onnx.load(tmp_path / "m.onnx"), full_check=True)
    within = 3e-6 if name in ("net wide", "net normalized") else 1e-6
    assert_close(predicted(tmp_path / "m.onnx", x), model, x, within)
    first = [each[:1] for each in x] if isinstance(x, list) else x[:1]
    assert_close(predicted(tmp_path / "m.onnx", first), model, x, within)


@pytest.mark.parametrize(
    "options", [{"threshold": 0.5}, {"max_value": 6.0}, {"negative_slope": 0.1, "max_value": 2.0}]
)
def test_nan_stays_nan_in_a_relu(options, tmp_path):
    model = cdl.Sequential([cdl.Input((4,)), cdl.layers.ReLU(**options)])
    x = np.array([[np.nan, -2, 0.4, 7]], np.float32)
    model.export(tmp_path / "m.onnx")
    np.testing.assert_array_equal(predicted(tmp_path / "m.onnx", x), model.predict(x, verbose=0))


def test_a_normalization_behind_a_product_is_in_its_weights(tmp_path):
    model, _ = case("net normalized")
    model.export(tmp_path / "m.onnx")
    made = onnx.load(tmp_path / "m.onnx").graph
    kinds = [node.op_type for node in made.node]
    assert not {"Sub", "Mul"} & set(kinds)
    assert kinds.count("Conv") == 2
    assert "folded/beta_folded" in {each.name for each in made.initializer}


@pytest.mark.parametrize("version", [13, 14, 15, 16, 17])
def test_older_operators_do_as_well(version, tmp_path):
    model, x = case("net classifier")
    model.export(tmp_path / "m.onnx", opset_version=version)
    made = onnx.load(tmp_path / "m.onnx")
    onnx.checker.check_model(made, full_check=True)
    assert [each.version for each in made.opset_import] == [version]
    assert_close(predicted(tmp_path / "m.onnx", x), model, x)


def test_batch_is_dynamic_and_names_are_told(tmp_path):
    model, _ = case("net classifier")
    model.export(tmp_path / "m.onnx")
    made = session(str(tmp_path / "m.onnx"))
    (x,), (y,) = made.get_inputs(), made.get_outputs()
    assert (x.shape, y.shape) == (["batch", 20], ["batch", 10])
    assert (x.type, y.type) == ("tensor(float)", "tensor(float)")
    loaded = onnx.load(tmp_path / "m.onnx")
    assert loaded.producer_name == "cdl"
    assert {each.name for each in loaded.graph.initializer} >= {
        weight.path for weight in model.layers[1].weights
    }


def test_rows_are_those_of_the_core():
    from cdl.export import formulas, onnx_formulas, onnx_ops

    assert set(formulas.ACTIVATIONS) == set(_core.ACTIVATIONS)
    assert set(formulas.ELEMENTWISE) <= set(_core.ELEMENTWISE)
    assert set(_core.ELEMENTWISE) <= set(formulas.ELEMENTWISE) | set(onnx_formulas.FUNCTIONS)
    others = numbers.NOT_IN_PREDICT | set(numbers.REASONS)
    assert set(_core.OPS) >= set(onnx_ops.ROWS) | others
    assert not set(onnx_ops.ROWS) & others


OF_LINES = sorted(set(_core.LINEWISE) - {"spread"})  # which stands in bytecode only


@pytest.mark.parametrize("primitive", [*_core.ELEMENTWISE, *OF_LINES])
def test_primitive_is_that_of_the_core(primitive):
    from cdl._ir import bytecode
    from cdl._ir.elementwise import apply, arguments
    from cdl._ir.lowering import Lowering
    from cdl._tracing import eager
    from cdl.export.to_onnx import model_of

    arity = {**_core.ELEMENTWISE, **_core.LINEWISE}[primitive]
    rng = np.random.default_rng(1)
    arrays = [rng.uniform(0.1, 0.9, (5, 8)).astype(np.float32) for _ in range(arity)]
    if primitive == "acosh":
        arrays[0] += 1
    elif primitive not in ("log", "log2", "log10", "rsqrt", "sqrt", "power"):
        arrays[0][:, 4:] -= 1
    program = Lowering()
    values = [program.input((8,)) for _ in range(arity)]
    expression = apply(primitive, *arguments(arity))
    if primitive in OF_LINES:  # a column of columns, with elements
        expression = arguments(1)[0] - apply("sigmoid", expression * 0.5)
    code, constants = bytecode.compiled(expression, arity)
    program.output(program.emit("map", values, (8,), numbers=code, data=constants))
    expected = eager.run(program, arrays)

    class Named:
        name = "a primitive"

    made = session(model_of(program, Named()))
    feed = {each.name: array for each, array in zip(made.get_inputs(), arrays, strict=True)}
    found = made.run(None, feed)[0]
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda m: m.export("m.onnx", opset_version=9), "opset_version must be from 13 to 17"),
        (lambda m: m.export("m.onnx", opset_version="x"), "opset_version must be from 13 to 17"),
        (
            lambda m: Sequential([Input((2,)), Lambda(lambda x: np.fft.fft(x).real)]).export(
                "m.onnx"
            ),
            "the op 'host' has no place in ONNX: it is Python code",
        ),
        (
            lambda m: Sequential([Input((2,)), Dense(2, dtype="mixed_bfloat16")]).export("m.onnx"),
            "set each layer's dtype_policy to 'float32' first",
        ),
    ],
)
def test_what_cannot_be_exported_is_refused(call, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError) as caught:
        call(Sequential([Input((2,)), Dense(2)]))
    assert text in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_missing_package_is_an_error_that_says_how_to_get_it(tmp_path, monkeypatch):
    for name in ("onnx", "onnx.helper", "onnx.numpy_helper"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"pip install 'cdl-nn\[onnx\]'"):
        Sequential([Input((2,)), Dense(2)]).export(tmp_path / "m.onnx")


@pytest.mark.parametrize("name", ["max", "min", "sum"])
def test_a_reduction_of_a_line_serves_the_line_also_beside_infinities(name, tmp_path):
    inputs = Input((3,))
    of_lines = getattr(ops, name)(inputs, axis=-1, keepdims=True)
    model = Model(inputs, ops.negative(ops.broadcast_to(of_lines, (None, 3))))
    x = np.array([[1, 2, 3], [1, -np.inf, 3], [-np.inf, 0, 1]], np.float32)
    model.export(tmp_path / "m.onnx")
    np.testing.assert_array_equal(predicted(tmp_path / "m.onnx", x), model.predict(x, verbose=0))


def test_a_row_over_its_sum_has_a_line_for_each_of_the_result(tmp_path):
    inputs = Input((1, 5))
    row = ops.broadcast_to(inputs, (None, 3, 5))
    model = Model(inputs, row / ops.sum(row, axis=-1, keepdims=True))
    x = np.random.default_rng(0).uniform(size=(2, 1, 5)).astype(np.float32)
    model.export(tmp_path / "m.onnx")
    assert_close(predicted(tmp_path / "m.onnx", x), model, x)
