"""The ops that layers seldom need, by themselves, as C and as ONNX."""

import ctypes
import subprocess

import numpy as np
import pytest
from programs import weight

from cdl import _core
from cdl._ir import emit as ir
from cdl._ir.elementwise import apply, argument
from cdl._ir.lowering import Lowering
from cdl._tracing.variable import Variable
from cdl.export.to_c import source_of
from cdl.export.to_onnx import model_of

RNG = np.random.default_rng(2)
ROWS = 5


def emit(op, shape, sizes=(), numbers=(), **attributes):
    """A builder that appends an op to its inputs; sizes are those before, of and behind an axis."""
    attributes |= zip(("outer", "n", "inner"), sizes, strict=False)
    return lambda p, *v: p.emit(op, list(v), shape, numbers=numbers, **attributes)


def attention(**more):
    return lambda p, *v: ir.attention(p, v, 0.5, **more)


def hidden(p, x):
    """A bias that hides all from most of the lines of x, and a part from the others."""
    top = ir.reduce(p, "max", x, [-1], keepdims=True)
    shown = apply("greater", argument(0), 0.5)
    least = apply("greater", argument(1), 1.4)
    bias = apply("where", apply("multiply", shown, least), 0.0, -2.38e38)
    return p.map(bias, [x, ir.broadcast(p, top, x.shape)])


def gather(wraps):
    values = RNG.normal(size=(6, 3))
    table = Variable(values.shape, lambda _: values)
    return lambda p, x: p.emit("gather", [x], (4, 3), (table,), wraps=wraps)


def shared(shape, then):
    """A builder whose last input is a weight read as a value."""
    w = weight(RNG.normal(size=shape))

    def build(p, *v):
        value = p.value(shape)
        value.shared = True
        p.instructions.append(_instruction("param", [], [value], [w]))
        return then(p, *v, value)

    return build


def constant_sum(p, x):
    value = p.value((3,))
    value.shared = True
    p.instructions.append(_instruction("constant", [], [value], [], data=(0.5, -1.5, 2.0)))
    spread = p.value((3,))
    p.instructions.append(_instruction("broadcast_batch", [value], [spread], []))
    return p.emit("concat", [x, spread], (6,), axis=0)


def both_of_sort(p, x):
    y = p.emit("sort", [x], x.shape)
    places = p.add_output(y, x.shape)
    return p.emit("concat", [y, places], (2 * x.shape[0], *x.shape[1:]), axis=0)


def recurrent(cell, given=0, *, sequence=True, reverse=0, bias=True, f="tanh", gate="sigmoid"):
    """The shapes of x, a mask, states; and a builder of a cell's steps."""
    u, gates = 5, (1, 4, 3, 3)[cell]
    width = gates * u
    shapes = [(4, 3), *[(4,)] * (given & 1), *[(u,)] * ((given >> 1) * (2 if cell == 1 else 1))]
    sizes = [(3, width), (u, width), (2 * width if cell == 2 else width,)]
    weights = [weight(RNG.normal(size=n) * 0.4) for n in sizes]
    numbers = {"gate": list(_core.ACTIVATIONS).index(gate), "cell": cell, "reverse": reverse}

    def build(p, x, *v):
        if given & 1:
            v = (p.emit("activation", [v[0]], (4,), kind="plain_relu"), *v[1:])
        shape = (4, u) if sequence else (u,)
        params = (*weights[:2], weights[2] if bias else None)
        y = p.emit("recurrent", [x, *v], shape, params, activation=f, given=given, **numbers)
        if cell != 1:
            return y
        last = p.add_output(y, (u,))
        y = p.emit("reshape", [y], (4 * u if sequence else u,))
        return p.emit("concat", [y, last], (y.shape[0] + u,), axis=0)

    return shapes, build, None


def _instruction(op, inputs, outputs, params, data=()):
    from cdl._ir.instruction import Instruction

    return Instruction(op, inputs, outputs, params, {}, data=data)


# Name: the shapes of the inputs, what appends the op, and for numbers of places how many there are.
CASES = {
    **{
        f"reduce {kind} {where}": ([(2, 3, 4)], emit("reduce", shape, sizes, kind=kind), None)
        for kind in ("sum", "mean", "max", "min", "prod")
        for where, shape, sizes in (
            ("middle", (2, 4), (2, 3, 4)),
            ("last", (2, 3), (6, 4, 1)),
            ("all", (1,), (1, 24, 1)),
        )
    },
    "pick": ([(3, 4)], emit("pick", (3, 5), (3, 4, 1), (3, 2, -2, -1, 2, 0, 0, 1, 1)), None),
    "pick lines": ([(4, 3)], emit("pick", (3, 3), (1, 4, 3), (0, 2, 2, -1, 1, 0)), None),
    "broadcast": ([(3, 1)], emit("broadcast", (2, 3, 4)), None),
    "repeat": ([(3,)], emit("broadcast", (4, 3)), None),
    "permute": ([(2, 3, 4)], emit("permute", (4, 2, 3), numbers=[2, 0, 1]), None),
    "concat": ([(2, 3), (2, 5)], emit("concat", (2, 8), axis=1), None),
    "take along": ([(2, 4), (2, 3)], emit("take_along", (2, 3), (2, 4, 1)), 4),
    "take along from the end": ([(4, 2), (3, 2)], emit("take_along", (3, 2), (1, 4, 2)), -4),
    "gather": ([(4,)], gather(0), 6),
    "gather from the end": ([(4,)], gather(1), -6),
    "arg max": ([(2, 5, 3)], emit("arg", (2, 3), (2, 5, 3), smallest=0), None),
    "arg min": ([(2, 5)], emit("arg", (2,), (2, 5, 1), smallest=1), None),
    "cumulate sum": ([(2, 5, 3)], emit("cumulate", (2, 5, 3), (2, 5, 3), product=0), None),
    "cumulate product": ([(2, 5)], emit("cumulate", (2, 5), (2, 5, 1), product=1), None),
    "sort": ([(2, 9)], both_of_sort, None),
    "product": ([(2, 3), (3, 4)], emit("product", (2, 4), transpose_a=0, transpose_b=0), None),
    "product transposed": (
        [(3, 2), (4, 3)],
        emit("product", (2, 4), transpose_a=1, transpose_b=1),
        None,
    ),
    "product of many": (
        [(5, 2, 3), (5, 4, 3)],
        emit("product", (5, 2, 4), transpose_a=0, transpose_b=1),
        None,
    ),
    "product by one": (
        [(5, 2, 3), (3, 4)],
        emit("product", (5, 2, 4), transpose_a=0, transpose_b=0),
        None,
    ),
    "product of a row": ([(3,), (3, 4)], emit("product", (4,), transpose_a=0, transpose_b=0), None),
    "product with a weight and a bias": (
        [(2, 3)],
        shared(
            (3, 4),
            lambda p, x, w: shared(
                (4,),
                lambda p, x, b: p.emit("product", [x, w, b], (2, 4), transpose_a=0, transpose_b=0),
            )(p, x),
        ),
        None,
    ),
    "product with a weight": (
        [(2, 3)],
        shared((3, 4), emit("product", (2, 4), transpose_a=0, transpose_b=0)),
        None,
    ),
    "attention": (
        [(4, 2, 3), (5, 2, 3), (5, 2, 6)],
        attention(),
        None,
    ),
    "attention, causal": (
        [(4, 4, 3), (5, 2, 3), (5, 2, 2), (4, 1, 5)],
        attention(causal=True),
        None,
    ),
    "attention with a bias of rows": (
        [(4, 2, 3), (5, 1, 3), (5, 1, 2)],
        shared((1, 4, 5), attention()),
        None,
    ),
    "attention that sees nothing": (
        [(4, 2, 3), (5, 1, 3), (5, 1, 2), (2, 4, 5)],
        lambda p, *v: attention(empty=True, rate=0.5)(p, *v[:3], hidden(p, v[3])),
        None,
    ),
    "attention that sees all alike": (
        [(4, 2, 3), (5, 1, 3), (5, 1, 2), (1, 1, 5)],
        lambda p, *v: attention()(p, *v[:3], hidden(p, v[3])),
        None,
    ),
    "simple": recurrent(0),
    "simple of states": recurrent(0, 2, reverse=1, f="plain_relu"),
    "simple masked": recurrent(0, 3, sequence=False, f="selu"),
    "lstm": recurrent(1),
    "lstm of states": recurrent(1, 2, reverse=1, gate="hard_sigmoid"),
    "lstm of one": recurrent(1, sequence=False, bias=False, f="softplus"),
    "lstm masked": recurrent(1, 3, reverse=1),
    "lstm selu": recurrent(1, f="selu"),
    "lstm linear": recurrent(1, f="linear"),
    "lstm of gates with numbers": recurrent(1, f="linear", gate="hard_sigmoid"),
    "gru": recurrent(2),
    "gru linear": recurrent(2, f="linear"),
    "gru hard": recurrent(2, 1, f="hard_sigmoid"),
    "gru of states": recurrent(2, 2, reverse=1, sequence=False),
    "gru masked": recurrent(2, 1, bias=False),
    "gru that resets first": recurrent(3, 2),
    "gru that resets first masked": recurrent(3, 3, reverse=1, f="relu6"),
    "constant": ([(3,)], constant_sum, None),
    "stop": ([(3,)], emit("stop", (3,)), None),
}


class Named:
    """A stand-in for a model, of which exporters read the name."""

    name = "an op"


def made(name):
    """Program, arrays and what the core gives."""
    shapes, build, places = CASES[name]
    program = Lowering()
    values = [program.input(shape) for shape in shapes]
    program.output(build(program, *values))
    arrays = [RNG.normal(size=(ROWS, *shape)).astype(np.float32) for shape in shapes]
    if name == "sort":
        arrays[0][0, 0, 3:6] = arrays[0][0, 0, 0]
    if places is not None:
        low, high = (places, 0) if places < 0 else (0, places)
        arrays[-1] = RNG.integers(low, high, arrays[-1].shape).astype(np.float32)
    return program, arrays, _core.Executor(program, ROWS).predict(arrays)


@pytest.mark.parametrize("name", CASES)
def test_c_gives_what_the_core_does(name, tmp_path):
    program, arrays, expected = made(name)
    source, header = source_of(program, "m", Named())
    (tmp_path / "m.c").write_text(source)
    (tmp_path / "m.h").write_text(header)
    strict = ["-std=c99", "-Wall", "-Wextra", "-pedantic", "-Werror"]
    command = ["gcc", *strict, "-shared", "-fPIC", "m.c", "-o", "m.so", "-lm"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = np.full_like(expected, np.nan)
    pointers = [each.ctypes.data_as(ctypes.c_void_p) for each in (*arrays, found)]
    ctypes.CDLL(str(tmp_path / "m.so")).m_predict(ctypes.c_size_t(ROWS), *pointers)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_onnx_gives_what_the_core_does(name):
    onnx = pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    program, arrays, expected = made(name)
    data = model_of(program, Named())
    onnx.checker.check_model(onnx.load_from_string(data), full_check=True)
    session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])
    feed = {each.name: array for each, array in zip(session.get_inputs(), arrays, strict=True)}
    (found,) = session.run(None, feed)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
