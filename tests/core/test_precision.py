"""Values and weights of bfloat16 and float16, beside ml_dtypes and NumPy, on every ISA."""

import ml_dtypes
import numpy as np
import pytest
from programs import (
    ISAS,
    activation,
    dense,
    gradient_keeper,
    learner,
    predict,
    pull_back,
    train,
    weight,
)

from cdl import _core
from cdl._ir.lowering import Lowering

DTYPES = {"bfloat16": ml_dtypes.bfloat16, "float16": np.float16}
TIES = np.array([1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-11, 1 + 3 * 2**-11], np.float32)
EDGES = np.array([0, -0.0, np.inf, np.nan, 65504, 65519.99, 65520, 1e30, 3.4e38], np.float32)
EDGES = np.append(EDGES, np.float32([1e-8, 6e-5, 1.18e-38, 2**-24, 3 * 2**-25, 2**-14, 2**-25]))


def rounded(x, dtype):
    with np.errstate(over="ignore"):
        return x.astype(DTYPES[dtype]).astype(np.float32)


def numbers(n=4000):
    """Numbers of all sizes, edges of the format, and ties between two of its numbers."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=n).astype(np.float32) * 10 ** rng.uniform(-9, 6, n).astype(np.float32)
    x[: len(EDGES)] = EDGES
    x[len(EDGES) : 2 * len(EDGES)] = -EDGES
    x[-4:] = TIES
    return x.reshape(-1, 5)


def cast_program(dtype, before="float32"):
    program = Lowering()
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
    program = Lowering()
    program.output(program.input((5,), dtype))
    x = numbers()
    for given in (x, x.astype(np.float64), x[:, ::-1]):
        y = predict(program.fused(training=False), [given], isa=isa)
        np.testing.assert_array_equal(y, rounded(np.float32(given), dtype))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_of_a_dtype_are_read_as_they_are(dtype, isa):
    program = Lowering()
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
    program = Lowering()
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
    program = Lowering()
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
    program = Lowering()
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
    program = Lowering()
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
    program = Lowering()
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
    program = Lowering()
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
        program = Lowering()
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


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("training", [False, True])
def test_large_samples_are_rounded_behind_a_chain_of_operations(isa, training):
    x = np.random.default_rng(4).uniform(0.5, 2.0, (3, 100, 90)).astype(np.float32)
    program = Lowering(training=training)
    low = program.cast(program.input(x.shape[1:]), "bfloat16")
    y = activation(program, program.map("tanh", [low]), "plain_relu")
    y = program.emit("dropout", [y], y.shape, rate=0.0, seed=5, user_draw=0, dtype="bfloat16")
    program.output(program.cast(program.map("square", [y]), "float32"))
    found = predict(program.fused(training=training), [x], isa=isa)
    exact = np.tanh(rounded(x, "bfloat16").astype(np.float64)) ** 2
    np.testing.assert_allclose(found, exact, rtol=1.01 * 2**-8)
