"""Values of bfloat16 that take two bytes a number, beside ml_dtypes and NumPy, on every ISA."""

from itertools import pairwise

import ml_dtypes
import numpy as np
import pytest
from programs import (
    ISAS,
    TEAMS,
    activation,
    dense,
    gradient_keeper,
    learner,
    predict,
    pull_back,
    random_weight,
    train,
    weight,
)

from cdl import _core
from cdl._ir import rounding
from cdl._ir.lowering import Lowering


@pytest.fixture(autouse=True)
def _in_two_bytes(monkeypatch):
    monkeypatch.setattr(rounding, "LEAST_DENSE", 1)


@pytest.fixture
def _in_floats(monkeypatch):
    monkeypatch.setattr(rounding, "LEAST_DENSE", 1 << 30)


def rounded(x, dtype):
    return x.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype).astype(np.float32)


SIZES = [(1, 2, 2), (3, 5, 7), (16, 32, 32), (17, 33, 31), (33, 64, 10), (70, 65, 130)]
SIZES += [(130, 700, 48), (40, 30, 600), (600, 40, 70)]


def net(widths, *, kind="tanh", lines=(), seed=0):
    """Dense layers of bfloat16 on a float32 input, an activation between them."""
    rng = np.random.default_rng(seed)
    program = Lowering(training=True)
    program.param_dtype = "bfloat16"
    x = program.cast(program.input((*lines, widths[0])), "bfloat16")
    for k, (m, n) in enumerate(pairwise(widths)):
        kernel, bias = random_weight(rng, m, n), weight(rng.normal(size=n) * 0.3)
        x = dense(program, x, kernel, bias)
        if k < len(widths) - 2:
            x = activation(program, x, kind)
    program.output(program.cast(x, "float32"))
    return program


def exact_net(program, x, dy, kind=np.tanh, slope=lambda y: 1 - y * y):
    """Output and gradients in float64, of the rounded weights, rounded between the layers."""
    weights = [rounded(v.numpy(), "bfloat16").astype(np.float64) for v in program.variables]
    low = lambda a: rounded(a.astype(np.float32), "bfloat16").astype(np.float64)  # noqa: E731
    values, layers = [low(x)], list(zip(weights[::2], weights[1::2], strict=True))
    for k, (w, b) in enumerate(layers):
        y = values[-1] @ w + b
        values.append(low(kind(y) if k < len(layers) - 1 else y))
    dz, found = low(dy), []
    for (w, _), v in zip(layers[::-1], values[-2::-1], strict=True):
        found = [v.reshape(-1, v.shape[-1]).T @ dz.reshape(-1, dz.shape[-1]),
                 dz.reshape(-1, dz.shape[-1]).sum(0), *found]  # fmt: skip
        dz = low(dz @ w.T * slope(v))
    return values[-1], found


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("rows", "k", "n"), SIZES)
def test_dense_layers_of_two_bytes_have_the_gradients_of_rounded_numbers(rows, k, n, isa):
    rng = np.random.default_rng(rows)
    program = net([k, n, 9])
    assert [i.op for i in program.fused().instructions] == ["dense", "dense", "cast"]
    x = rng.normal(size=(rows, k)).astype(np.float32)
    dy = rng.normal(size=(rows, 9)).astype(np.float32)
    y, exact = exact_net(program, x, dy)
    found, gradients = pull_back(program.fused(), [x], dy, isa=isa)
    np.testing.assert_allclose(found, y, rtol=2**-7, atol=2**-7)
    for v, g in zip(program.variables, exact, strict=True):
        np.testing.assert_allclose(gradients[v], g, rtol=0.02, atol=0.01 * np.abs(g).max())


@pytest.mark.parametrize(("rows", "k", "n"), SIZES)
def test_every_team_and_every_isa_without_tiles_gives_the_same_bits(rows, k, n):
    rng = np.random.default_rng(rows)
    x = rng.normal(size=(rows, 3, k)).astype(np.float32)
    dy = rng.normal(size=(rows, 3, 4)).astype(np.float32)
    program = net([k, n, 4], kind="plain_relu", lines=(3,)).fused()
    found = {}
    for isa in ISAS:
        alike = found.setdefault(isa == "amx", [])
        for options in ({"threads": 1}, *TEAMS):
            y, gradients = pull_back(program, [x], dy, isa=isa, **options)
            alike.append([y, *(gradients[v] for v in program.variables)])
        alike.append([predict(program, [x], isa=isa), *alike[-1][1:]])
    for alike in found.values():
        for other in alike[1:]:
            for a, b in zip(alike[0], other, strict=True):
                np.testing.assert_array_equal(a, b)


@pytest.mark.usefixtures("_in_floats")
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("rows", "k", "n"), SIZES[:6])
def test_dense_layers_of_rounded_floats_have_the_gradients_of_rounded_numbers(rows, k, n, isa):
    rng = np.random.default_rng(rows)
    program = net([k, n, 9])
    ops = [i.op for i in program.fused().instructions]
    assert ops == ["cast", "dense", "cast", "dense", "cast"]  # the second one writes in place
    x = rng.normal(size=(rows, k)).astype(np.float32)
    dy = rng.normal(size=(rows, 9)).astype(np.float32)
    y, exact = exact_net(program, x, dy)
    first = None
    for options in ({"threads": 1}, *TEAMS):
        found, gradients = pull_back(program.fused(), [x], dy, isa=isa, **options)
        np.testing.assert_allclose(found, y, rtol=2**-7, atol=2**-7)
        np.testing.assert_array_equal(found, rounded(found, "bfloat16"))
        for v, g in zip(program.variables, exact, strict=True):
            np.testing.assert_allclose(gradients[v], g, rtol=0.02, atol=0.01 * np.abs(g).max())
        all_of = [found, *gradients.values()]
        first = first or all_of
        for a, b in zip(first, all_of, strict=True):
            np.testing.assert_array_equal(a, b)


def test_dense_layers_read_two_bytes_if_they_have_many_weights_or_these_are_there(monkeypatch):
    monkeypatch.setattr(rounding, "LEAST_DENSE", 1000)

    def forms(widths):
        denses = [i for i in net(widths).fused().instructions if i.op == "dense"]
        return [i.inputs[0].dtype for i in denses]

    assert forms([20, 30, 40]) == ["float32", "bfloat16"]
    assert forms([40, 30, 10]) == ["bfloat16", "bfloat16"]
    assert forms([20, 30, 10]) == ["float32", "float32"]


def sum_of_products(a, b, start, isa):
    """a b in float32, in the order of an ISA: products of two numbers of bfloat16 are exact."""
    if isa != "amx":
        for p in range(a.shape[1]):
            start = start + a[:, p, None] * b[p]
        return start
    pads = -a.shape[1] % 32
    a, b = np.pad(a, [(0, 0), (0, pads)]), np.pad(b, [(0, pads), (0, 0)])
    for p in range(0, a.shape[1], 32):  # one TDPBF16PS
        halves = [np.zeros_like(start), np.zeros_like(start)]
        for q in range(p, p + 32):
            halves[q % 2] = halves[q % 2] + a[:, q, None] * b[q]
        start = start + (halves[0] + halves[1])
    return start


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("rows", "k", "n"), [s for s in SIZES if s[0] > 4])
def test_sums_have_the_bits_of_their_order(rows, k, n, isa):
    rng = np.random.default_rng(rows)
    x = rounded(rng.normal(size=(rows, k)).astype(np.float32), "bfloat16")
    dy = rounded(rng.normal(size=(rows, n)).astype(np.float32), "bfloat16")
    program = net([k, k, n], kind="linear")
    found, gradients = pull_back(program.fused(), [x], dy, isa=isa)
    kernels = program.variables[::2]
    w = [rounded(v.numpy(), "bfloat16") for v in kernels]
    b = [np.tile(rounded(v.numpy(), "bfloat16"), (rows, 1)) for v in program.variables[1::2]]
    hidden = rounded(sum_of_products(x, w[0], b[0], isa), "bfloat16")
    y = rounded(sum_of_products(hidden, w[1], b[1], isa), "bfloat16")
    np.testing.assert_array_equal(found, y)
    dz = rounded(sum_of_products(dy, w[1].T, np.zeros_like(hidden), isa), "bfloat16")
    for kernel, left, right in zip(kernels, (x, hidden), (dz, dy), strict=True):
        g = sum_of_products(left.T, right, np.zeros(kernel.shape, np.float32), isa)
        np.testing.assert_array_equal(gradients[kernel], g)


@pytest.mark.parametrize("isa", ISAS)
def test_a_weight_of_two_dtypes_is_rounded_to_both_after_each_step(isa):
    rng = np.random.default_rng(8)
    x = rounded(rng.normal(size=(32, 20)).astype(np.float32), "bfloat16")
    t = rng.normal(size=(32, 20)).astype(np.float32)
    first, dtypes = rng.normal(size=(20, 20)).astype(np.float32) / 5, ("bfloat16", "float16", None)
    found = []
    for options in ({"threads": 1}, {"threads": 2}, {"threads": 3, "lockstep": True}):
        w = weight(first)
        program = Lowering()
        y = program.input((20,))
        for dtype in dtypes:
            y = program.cast(y, dtype or "float32")
            y = dense(program, y, w, param_dtypes=(dtype,) if dtype else ())
        program.loss(
            "mean_squared_error", program.input((20,), role="y"), program.cast(y, "float32")
        )
        train(program.fused(), [x, t], learner("sgd", [w]), batch=16, epochs=20, isa=isa, **options)
        found.append(w.numpy())
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])
    exact = first.astype(np.float64)
    for at in [0, 16] * 20:
        values, low = [x[at : at + 16].astype(np.float64)], []
        for dtype in dtypes:
            low.append(rounded(np.float32(exact), dtype) if dtype else exact)
            values.append(values[-1] @ low[-1])
        dz, step = (values[-1] - t[at : at + 16]) * 2 / 320, 0
        for w, v in zip(low[::-1], values[-2::-1], strict=True):
            step, dz = step + v.T @ dz, dz @ w.T
        exact -= 0.01 * step
    moved = np.abs(exact - first).max()
    np.testing.assert_allclose(found[0], exact, rtol=0, atol=0.02 * moved)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("first", ["bfloat16", "float32"])
def test_infinite_numbers_reach_no_pads(first, isa):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 5)).astype(np.float32)
    x[1, 2], x[2, 3] = np.inf, -np.inf
    program = Lowering(training=True)
    hidden = program.cast(program.input((5,)), first)
    one, two = random_weight(rng, 5, 17), random_weight(rng, 17, 3)
    hidden = dense(program, hidden, one, param_dtypes=(first,))
    hidden = program.cast(activation(program, hidden, "tanh"), "bfloat16")
    y = dense(program, hidden, two, param_dtypes=("bfloat16",))
    program.output(program.cast(y, "float32"))
    found, gradients = pull_back(program.fused(), [x], np.ones((4, 3)), isa=isa)
    with np.errstate(invalid="ignore"):
        exact = np.tanh(x @ one.numpy())
    np.testing.assert_allclose(found, exact @ two.numpy(), rtol=0.03, atol=0.03)
    np.testing.assert_allclose(gradients[two][:, 0], exact.sum(axis=0), rtol=0.03, atol=0.03)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("row", ["sgd", "adam"])
def test_training_in_two_bytes_is_that_of_floats_that_are_rounded(row, isa):
    rng = np.random.default_rng(5)
    x = rng.normal(size=(96, 20)).astype(np.float32)
    t = np.tanh(x[:, :2] + x[:, 2:4])
    hypers = {"adam": {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}}.get(row, {})
    found = []
    for options in ({"threads": 1}, {"threads": 2}, {"threads": 2, "lockstep": True}):
        program = net([20, 50, 2])
        y = program.outputs.pop()
        program.loss("mean_squared_error", program.input((2,), role="y"), y)
        fused = program.fused()
        optimizer = learner(row, program.variables, **hypers)
        logs = train(fused, [x, t], optimizer, batch=32, epochs=20, isa=isa, **options)
        found.append([v.numpy() for v in program.variables])
        losses = [log[0] for log in logs]
        assert losses[-1] < 0.5 * losses[0]
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_layers_that_are_kept_in_float32_read_rounded_numbers():
    rng = np.random.default_rng(6)
    program = Lowering(training=True)
    program.param_dtype = "bfloat16"
    x = program.cast(program.input((6, 4)), "bfloat16")
    y = dense(program, x, random_weight(rng, 4, 8))
    y = program.emit("reshape", [y], (48,))
    y = program.emit("softmax", [y], (48,))
    y = dense(program, y, random_weight(rng, 48, 3))
    program.output(y)
    fused = program.fused()
    assert [i.op for i in fused.instructions] == [
        *("dense", "reshape", "cast", "softmax", "cast", "dense", "cast"),
    ]
    data = rng.normal(size=(9, 6, 4)).astype(np.float32)
    found = predict(fused, [data])
    np.testing.assert_array_equal(found, rounded(found, "bfloat16"))


def test_what_two_layers_read_has_the_sum_of_both_gradients():
    rng = np.random.default_rng(7)
    program = Lowering(training=True)
    program.param_dtype = "bfloat16"
    x = program.cast(program.input((6,)), "bfloat16")
    h = dense(program, x, first := random_weight(rng, 6, 40))
    a, b = (dense(program, h, random_weight(rng, 40, 3)) for _ in range(2))
    program.output(program.map("add", [program.cast(a, "float32"), program.cast(b, "float32")]))
    data = rng.normal(size=(9, 6)).astype(np.float32)
    dy = rng.normal(size=(9, 3)).astype(np.float32)
    fused = program.fused()
    assert "fork" in [i.op for i in fused.instructions]
    _, gradients = pull_back(fused, [data], dy)
    low = [rounded(v.numpy(), "bfloat16").astype(np.float64) for v in program.variables]
    dh = rounded(dy, "bfloat16") @ (low[1] + low[2]).T
    g = rounded(data, "bfloat16").T @ dh
    np.testing.assert_allclose(gradients[first], g, rtol=0.02, atol=0.02 * np.abs(g).max())


def layered(rng, rate, *, widths=(70, 96, 40)):
    """Products, and between them all other ops that read and give two bytes; to train."""
    program = Lowering(training=True)
    program.param_dtype = "bfloat16"
    x = program.cast(program.input((widths[0],)), "bfloat16")
    for k, n in pairwise(widths):
        x = dense(program, x, random_weight(rng, k, n), weight(rng.normal(size=n)))
        scaled = [weight(np.ones(n)), weight(np.zeros(n))]
        moving = [weight(np.zeros(n)), weight(np.ones(n))]
        x = program.emit(
            *("batch_norm", [program.cast(x, "float32")], (n,), scaled + moving),
            **{"momentum": 0.9, "epsilon": 1e-3, "frozen": 0},
        )
        x = activation(program, program.cast(x, "bfloat16"), "silu")
        x = program.emit("dropout", [x], (n,), rate=rate, seed=5, user_draw=0, dtype="bfloat16")
        x = program.map("multiply", [x, program.map("tanh", [x])])
        x = program.emit("reshape", [program.emit("reshape", [x], (n // 2, 2))], (n,))
    y = program.cast(dense(program, x, random_weight(rng, widths[-1], 3)), "float32")
    program.loss("mean_squared_error", program.input((3,), role="y"), y)
    program.output(y)
    return program


def trained(isa, rate=0.3, **options):
    rng = np.random.default_rng(9)
    program = layered(rng, rate)
    x, t = rng.normal(size=(100, 70)), np.float32(rng.normal(size=(100, 3)))
    fused = program.fused()
    optimizer = learner("sgd", [v for v in program.variables if "moving" not in v.name])
    logs = train(fused, [x, t], optimizer, batch=37, epochs=3, isa=isa, **options)
    y = predict(program.fused(training=False), [x, t], isa=isa)
    dtypes = {(i.op, v.dtype) for i in fused.instructions for v in i.outputs}
    return dtypes, [y, np.array(logs), *(v.numpy() for v in program.variables)]


@pytest.mark.parametrize("isa", ISAS)
def test_ops_that_narrow_have_the_bits_of_floats_that_are_rounded(isa, monkeypatch):
    dtypes, found = trained(isa, rate=0.0, threads=1)  # masks depend on places in the program
    ops = ["batch_norm", "activation", "dropout", "map", "reshape"]
    assert dtypes >= {(op, "bfloat16") for op in ops}
    monkeypatch.setattr(rounding, "_MOST_NARROW", 0)
    monkeypatch.setattr(rounding, "widen", lambda program: None)
    dtypes, as_floats = trained(isa, rate=0.0, threads=1)
    assert dtypes >= {(op, "float32") for op in ops}
    for a, b in zip(found, as_floats, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("isa", ISAS)
def test_every_team_trains_ops_that_narrow_to_the_same_bits(isa):
    found = trained(isa, threads=1)[1]
    for options in TEAMS:
        for a, b in zip(found, trained(isa, **options)[1], strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("isa", ISAS)
def test_dropout_of_two_bytes_rounds_what_it_keeps(isa):
    rng = np.random.default_rng(11)
    program = Lowering(training=True)
    program.param_dtype = "bfloat16"
    x = dense(program, program.cast(program.input((40,)), "bfloat16"), weight(np.eye(40)))
    x = program.emit("dropout", [x], (40,), rate=0.3, seed=5, user_draw=0, dtype="bfloat16")
    program.output(program.cast(x, "float32"))
    data = rounded(rng.normal(size=(100, 40)).astype(np.float32), "bfloat16")
    run = _core.Executor(
        program.fused(), 100, training=True, optimizer=gradient_keeper([]), isa=isa
    )
    run.begin([data], 100)
    run.forward(True)
    y = run.output(0)
    assert 0.25 < np.mean(y == 0) < 0.35
    np.testing.assert_array_equal(y[y != 0], rounded(data / np.float32(0.7), "bfloat16")[y != 0])


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("threads", [1, 3])
def test_inputs_are_fed_in_two_bytes(isa, threads):
    rng = np.random.default_rng(10)
    program = Lowering(training=True)
    program.param_dtype = "bfloat16"
    kernel = random_weight(rng, 12, 5)
    y = dense(program, program.cast(program.input((12,)), "bfloat16"), kernel)
    program.output(program.cast(y, "float32"))
    fused = program.fused(training=False)
    assert [i.op for i in fused.instructions] == ["dense", "cast"]
    x = np.round(rng.normal(size=(50, 12)) * 20)
    sparse = _core.Sparse(
        np.arange(0, 601, 12), np.tile(np.arange(12, dtype=np.int32), 50), x.ravel(), x.shape
    )
    exact = rounded(np.float32(x @ rounded(kernel.numpy(), "bfloat16")), "bfloat16")
    for given in (x, x.astype(np.int8), x.astype(ml_dtypes.bfloat16), np.asfortranarray(x), sparse):
        found = predict(fused, [given], isa=isa, threads=threads)
        np.testing.assert_allclose(found, exact, rtol=2**-7)
        run = _core.Executor(fused, 50, isa=isa, threads=threads)
        order = rng.permutation(50)
        run.begin([given], 50, order)
        run.forward(False)
        np.testing.assert_array_equal(run.batch(0), x[order])
        np.testing.assert_array_equal(run.output(0), found[order])


@pytest.mark.measures
@pytest.mark.parametrize("kinds", [(), ("batch_norm",), ("dropout",), ("batch_norm", "dropout")])
def test_a_plan_of_bfloat16_takes_some_half_of_the_bytes(kinds):
    taken = {}
    for dtype in ("float32", "bfloat16"):
        rng = np.random.default_rng(0)
        program = Lowering(training=True)
        program.param_dtype = dtype
        x = program.cast(program.input((256,)), dtype)
        for _ in range(4):
            x = dense(program, x, random_weight(rng, 256, 256), weight(np.zeros(256)))
            for kind in kinds:
                row = [weight(np.ones(256)) for _ in range(4)]
                how = {"momentum": 0.9, "epsilon": 1e-3, "frozen": 0}
                if kind == "dropout":
                    row, how = [], {"rate": 0.5, "seed": 0, "user_draw": 0, "dtype": x.dtype}
                    x = program.emit(kind, [x], (256,), row, **how)
                else:
                    x = program.cast(x, "float32")
                    x = program.cast(program.emit(kind, [x], (256,), row, **how), dtype)
            x = activation(program, x, "plain_relu")
        y = program.cast(dense(program, x, random_weight(rng, 256, 10)), "float32")
        program.loss("mean_squared_error", program.input((10,), role="y"), y)
        fused = program.fused()
        optimizer = gradient_keeper(fused.variables[:2])
        run = _core.Executor(fused, 4096, training=True, optimizer=optimizer, threads=1)
        taken[dtype] = run.memory()[0]
    assert taken["bfloat16"] < 0.65 * taken["float32"], taken


def test_reshapes_of_inputs_cost_nothing():
    program = Lowering()
    program.param_dtype = "bfloat16"
    x = program.cast(program.input((5, 4)), "bfloat16")
    x = program.emit("reshape", [x], (20,))
    program.output(dense(program, x, weight(np.ones((20, 3)))))
    assert [i.op for i in program.fused(training=False).instructions] == ["dense", "cast"]


def test_the_core_refuses_what_is_not_in_the_form_that_it_reads():
    def program_of(op, dtypes, **attributes):
        program = Lowering()
        x = program.cast(program.input((4,)), dtypes[0])
        program.output(
            program.cast(program.emit(op, [x], (4,), dtype=dtypes[1], **attributes), "float32")
        )
        return program

    low = ("bfloat16", "bfloat16")
    with pytest.raises(ValueError, match="expected no values of bfloat16"):
        _core.Executor(program_of("softmax", low), 1)
    program = Lowering()
    program.output(program.input((4,), "bfloat16"))
    with pytest.raises(ValueError, match="outputs: expected none of bfloat16"):
        _core.Executor(program, 1)
