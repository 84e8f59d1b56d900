"""Values and weights of bfloat16 and float16, beside ml_dtypes and NumPy, on every ISA."""

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
from cdl._ir.program import Program

DTYPES = {"bfloat16": ml_dtypes.bfloat16, "float16": np.float16}
TIES = np.array([1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-11, 1 + 3 * 2**-11], np.float32)
EDGES = np.array([0, -0.0, np.inf, np.nan, 65504, 65519.99, 65520, 1e30, 3.4e38], np.float32)
EDGES = np.append(EDGES, np.float32([1e-8, 6e-5, 1.18e-38, 2**-24, 3 * 2**-25, 2**-14, 2**-25]))


def rounded(x, dtype):
    with np.errstate(over="ignore"):
        return x.astype(DTYPES[dtype]).astype(np.float32)


def numbers(n=4000):
    """Of all sizes, and those that lie between two others."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=n).astype(np.float32) * 10 ** rng.uniform(-9, 6, n).astype(np.float32)
    x[: len(EDGES)] = EDGES
    x[len(EDGES) : 2 * len(EDGES)] = -EDGES
    x[-4:] = TIES
    return x.reshape(-1, 5)


def cast_program(dtype, before="float32"):
    program = Program()
    x = program.input((5,))
    program.output(program.cast(program.cast(x, before), dtype))
    return program


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_cast_rounds_to_the_nearest_number(dtype, isa):
    x = numbers()
    y = predict(cast_program(dtype).fused(training=False), [x], isa=isa)
    np.testing.assert_array_equal(y, rounded(x, dtype))
    np.testing.assert_array_equal(np.signbit(y), np.signbit(rounded(x, dtype)))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_inputs_of_a_dtype_are_rounded_as_they_are_read(dtype, isa):
    program = Program()
    program.output(program.input((5,), dtype))
    x = numbers()
    for given in (x, x.astype(np.float64), x[:, ::-1]):
        y = predict(program.fused(training=False), [given], isa=isa)
        np.testing.assert_array_equal(y, rounded(np.float32(given), dtype))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_of_a_dtype_are_read_as_they_are(dtype, isa):
    program = Program()
    program.output(program.input((5,)))
    x = rounded(numbers(), dtype)
    for given in (x.astype(DTYPES[dtype]), np.asfortranarray(x.astype(DTYPES[dtype]))):
        y = predict(program, [given], isa=isa)
        np.testing.assert_array_equal(y, x)


def test_labels_of_bfloat16_are_checked():
    labels = np.array([0, 1, 2, 7], ml_dtypes.bfloat16)
    assert _core.check_classes(labels, 8) == -1
    assert _core.check_classes(labels, 7) == 3


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_are_rounded_to_the_dtype_of_their_value(dtype, isa):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(37, 3)).astype(np.float32)
    dy = (rng.normal(size=(37, 3)) * 10 ** rng.uniform(-6, 5, (37, 3))).astype(np.float32)
    w = weight(rng.normal(size=3))
    program = Program()
    shifted = program.map("add", [program.input((3,)), program.broadcast_batch(program.param(w))])
    program.output(program.cast(shifted, dtype))
    _, gradients = pull_back(program.fused(), [x], dy, isa=isa)
    close = rounded(dy, dtype).astype(np.float64).sum(0)
    np.testing.assert_allclose(gradients[w], close, rtol=1e-5)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_weights_are_read_rounded_and_learn_as_they_are(dtype, isa, threads):
    rng = np.random.default_rng(2)
    x = rounded(rng.normal(size=(33, 70)).astype(np.float32), dtype)
    dy = rng.normal(size=(33, 5)).astype(np.float32)
    w = weight(rng.normal(size=(70, 5)))
    before = w.numpy()
    program = Program()
    y = dense(program, program.input((70,)), w, param_dtypes=(dtype,))
    program.output(y)
    optimizer = gradient_keeper([w])
    run = _core.Executor(program, 33, training=True, optimizer=optimizer, isa=isa, threads=threads)
    run.begin([x], 33)
    for rate in (1e-3, 0.0):
        now = w.numpy()
        run.forward(True, 0, 0)
        found = run.output(0, 33)
        np.testing.assert_allclose(found, x @ rounded(now, dtype), rtol=1e-4, atol=1e-4)
        run.backward(dy, rate, 0)
        run.begin([x], 33)
    g = x.T.astype(np.float64) @ dy
    np.testing.assert_allclose(before - w.numpy(), 1e-3 * g, rtol=1e-2, atol=1e-5)
    found = predict(program, [x], isa=isa)
    np.testing.assert_allclose(found, x @ rounded(w.numpy(), dtype), rtol=1e-4, atol=1e-4)


def test_a_weight_that_is_set_is_rounded_anew():
    w = weight(np.ones((4, 3)))
    program = Program()
    program.output(dense(program, program.input((4,)), w, param_dtypes=("bfloat16",)))
    run = _core.Executor(program, 8)
    x = np.ones((8, 4), np.float32)
    assert np.all(run.predict([x]) == 4)
    w.assign(np.full((4, 3), 1 + 2**-9))
    assert np.all(run.predict([x]) == 4)
    w.assign(np.full((4, 3), 1 + 2**-7))
    assert np.all(run.predict([x]) == 4 + 2**-5)


def test_gradients_beyond_float16_leave_finite_weights_alone():
    w = weight(np.zeros((1, 1)))
    program = Program()
    y = dense(program, program.input((1,)), w, param_dtypes=("float16",))
    program.output(y)
    for size, learns in ((60000.0, True), (70000.0, False)):
        w.assign(np.zeros((1, 1)))
        run = _core.Executor(
            program, 1, training=True, optimizer=gradient_keeper([w]), rules={"finite_only": True}
        )
        run.begin([np.ones((1, 1), np.float32)], 1)
        run.forward(True, 0, 0)
        run.backward(np.full((1, 1), size, np.float32), 1.0, 0)
        assert (w.numpy()[0, 0] != 0) == learns


def test_what_is_of_one_dtype_gives_that_dtype():
    program = Program()
    x = program.input((4,))
    low = program.cast(x, "bfloat16")
    w = weight(np.ones((4, 3)))
    assert dense(program, low, w).dtype == "float32"
    assert dense(program, low, w, param_dtypes=("bfloat16",)).dtype == "bfloat16"
    assert dense(program, low, w, param_dtypes=("float16",)).dtype == "float32"
    assert program.map("add", [low, x]).dtype == "float32"
    assert program.cast(low, "bfloat16") is low
    assert program.cast(x, "bfloat16") is low


@pytest.mark.parametrize("isa", ISAS)
def test_fused_programs_round_what_each_pass_gives(isa):
    rng = np.random.default_rng(3)
    program = Program()
    program.param_dtype = "bfloat16"
    w, b = weight(rng.normal(size=(6, 5))), weight(rng.normal(size=5))
    x = program.cast(program.input((6,)), "bfloat16")
    y = activation(program, dense(program, x, w, b), "tanh")
    program.output(program.cast(y, "float32"))
    fused = program.fused(training=False)
    assert [i.op for i in fused.instructions] == ["cast", "dense", "cast"]
    data = rng.normal(size=(9, 6)).astype(np.float32)
    found = predict(fused, [data], isa=isa)
    low = [rounded(a, "bfloat16") for a in (data, w.numpy(), b.numpy())]
    exact = np.tanh(low[0].astype(np.float64) @ low[1] + low[2])
    np.testing.assert_array_equal(found, rounded(found, "bfloat16"))
    np.testing.assert_allclose(found, exact, rtol=2**-8)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_each_step_reads_the_weights_that_the_last_one_left(dtype, isa):
    rng = np.random.default_rng(4)
    x = rounded(rng.normal(size=(96, 40)).astype(np.float32), dtype)
    t = rng.normal(size=(96, 3)).astype(np.float32)
    first = rng.normal(size=(40, 3)).astype(np.float32)
    found = []
    for options in ({"threads": 1}, {"threads": 2}, {"threads": 3, "lockstep": True}):
        w = weight(first)
        program = Program()
        y = dense(program, program.input((40,)), w, param_dtypes=(dtype,))
        program.loss("mean_squared_error", program.input((3,), role="y"), y)
        optimizer = learner("sgd", [w])
        train(program, [x, t], optimizer, batch=16, epochs=2, isa=isa, **options)
        found.append(w.numpy())
    exact = first.astype(np.float64)
    for at in [*range(0, 96, 16)] * 2:
        rows, low = x[at : at + 16], rounded(np.float32(exact), dtype)
        exact -= 0.01 * rows.T @ ((rows @ low - t[at : at + 16]) * 2 / 48)
    np.testing.assert_allclose(found[0], exact, rtol=1e-2, atol=1e-3)
    assert np.abs(found[0] - exact).max() < 0.1 * np.abs(first - exact).max()
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


# ---- numbers of bfloat16 in two bytes ------------------------------------------------------------

SIZES = [(1, 2, 2), (3, 5, 7), (16, 32, 32), (17, 33, 31), (33, 64, 10), (70, 65, 130)]
SIZES += [(130, 700, 48), (40, 30, 600), (600, 40, 70)]


def net(widths, *, kind="tanh", lines=(), seed=0):
    """Dense layers of bfloat16 on a float32 input, an activation between them."""
    rng = np.random.default_rng(seed)
    program = Program(training=True)
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
    assert [i.op for i in program.fused().instructions] == ["cast", "dense", "dense", "cast"]
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
        program = Program()
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
    program = Program(training=True)
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
    program = Program(training=True)
    program.param_dtype = "bfloat16"
    x = program.cast(program.input((6, 4)), "bfloat16")
    y = dense(program, x, random_weight(rng, 4, 8))
    y = program.emit("reshape", [y], (48,))
    y = program.emit("softmax", [y], (48,))
    y = dense(program, y, random_weight(rng, 48, 3))
    program.output(y)
    fused = program.fused()
    assert [i.op for i in fused.instructions] == [
        *("cast", "dense", "cast", "reshape", "softmax", "cast", "dense", "cast"),
    ]
    data = rng.normal(size=(9, 6, 4)).astype(np.float32)
    found = predict(fused, [data])
    np.testing.assert_array_equal(found, rounded(found, "bfloat16"))


def test_what_two_layers_read_has_the_sum_of_both_gradients():
    rng = np.random.default_rng(7)
    program = Program(training=True)
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


def test_reshapes_of_inputs_cost_nothing():
    program = Program()
    program.param_dtype = "bfloat16"
    x = program.cast(program.input((5, 4)), "bfloat16")
    x = program.emit("reshape", [x], (20,))
    program.output(dense(program, x, weight(np.ones((20, 3)))))
    assert [i.op for i in program.fused(training=False).instructions] == ["cast", "dense", "cast"]


def test_the_core_refuses_what_is_not_in_the_form_that_it_reads():
    def program_of(op, dtypes, **attributes):
        program = Program()
        x = program.cast(program.input((4,)), dtypes[0])
        program.output(
            program.cast(program.emit(op, [x], (4,), dtype=dtypes[1], **attributes), "float32")
        )
        return program

    low = ("bfloat16", "bfloat16")
    with pytest.raises(ValueError, match="expected no values of bfloat16"):
        _core.Executor(program_of("softmax", low), 1)
    program = Program()
    program.output(program.input((4,), "bfloat16"))
    with pytest.raises(ValueError, match="inputs, outputs: expected none of bfloat16"):
        _core.Executor(program, 1)
