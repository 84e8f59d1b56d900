"""Functions that programs call back on arrays: in models, coupled, differentiated, after errors."""

import pickle

import numpy as np
import pytest
from oracle import central_differences
from programs import predict
from traced import lowered, run, traced

import cdl
from cdl import layers, ops

RNG = np.random.default_rng(0)
M = (RNG.normal(size=(24, 3, 3)) + 3 * np.eye(3)).astype(np.float32)
DEFINITE = M @ np.swapaxes(M, 1, 2)
WIDE = RNG.normal(size=(24, 3, 4)).astype(np.float32)
TARGETS = RNG.normal(size=(24, 1)).astype(np.float32)


def symmetric(x):
    return (x + ops.swapaxes(x, -1, -2)) / 2


def squares(parts):  # of vectors whose signs are free
    return [ops.square(part) for part in parts]


CASES = {
    "cholesky": (lambda x: ops.cholesky(symmetric(x)), DEFINITE),
    "cholesky upper": (lambda x: ops.cholesky(symmetric(x), upper=True), DEFINITE),
    "cholesky_inverse upper": (lambda x: ops.cholesky_inverse(x, upper=True), M),
    "eigh": (lambda x: squares(ops.eigh(symmetric(x))), DEFINITE),
    "svd": (lambda x: squares(ops.svd(x)), M),
    "svd wide": (lambda x: squares(ops.svd(x, full_matrices=False)), WIDE),
    "svd tall": (lambda x: squares(ops.svd(ops.swapaxes(x, 1, 2), False)), WIDE),
    "svd full": (lambda x: ops.svd(x)[1], WIDE),
    "det singular": (ops.det, np.ones((24, 3, 3), np.float32)),
    "solve of vectors": (lambda x: ops.solve(x[:, :, :3], x[:, :, 3]), WIDE),
    "solve with a shared side": (lambda x: ops.solve(M[0], x), WIDE),
}


@pytest.mark.parametrize("name", CASES)
def test_values_are_those_of_arrays(name):
    function, x = CASES[name]
    expected = cdl.tree.flatten(function(x))
    for (_, y), wanted in zip(run(function, [x]), expected, strict=True):
        np.testing.assert_array_equal(y, wanted)
    program = lowered(traced(function, [x]), [x]).fused()
    one = cdl.tree.flatten(predict(program, [x], threads=1, rows=7))
    for y, same in zip(one, cdl.tree.flatten(predict(program, [x], threads=2)), strict=True):
        np.testing.assert_array_equal(y, same)


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_differences(name):
    function, x = CASES[name]
    x = x[:2]
    weights = [RNG.normal(size=y.shape) for y in cdl.tree.flatten(function(x))]

    def loss(x):
        pairs = zip(cdl.tree.flatten(function(x)), weights, strict=True)
        return sum(ops.sum(y * w.astype(np.float32)) for y, w in pairs)

    def stepped(x, h=1e-2):
        """Differences of four steps: their errors are of h ** 4 and of rounding."""
        found = np.zeros(x.shape)
        for place in np.ndindex(x.shape):
            values = []
            for step in (-2, -1, 1, 2):
                moved = x.copy()
                moved[place] += np.float32(step * h)
                values.append(float(loss(moved)))
            found[place] = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * h)
        return found

    found = np.asarray(cdl.grad(loss)(x))
    top = max(1.0, np.abs(found).max())
    np.testing.assert_allclose(found, stepped(x), rtol=5e-3, atol=5e-3 * top)


def model():
    inputs = cdl.Input((3, 3))
    x = layers.Dense(3, kernel_initializer="identity")(inputs)
    flat = layers.Flatten()(ops.inv(x))
    joined = ops.concatenate([flat, ops.svd(x)[1], ops.expand_dims(ops.det(x), -1)], -1)
    made = cdl.Model(inputs, layers.Dense(1)(joined))
    made.compile(cdl.optimizers.SGD(1e-4), "mse")
    return made


def trained():
    cdl.utils.set_random_seed(1)
    made = model()
    made.fit(M, TARGETS, epochs=2, batch_size=16, verbose=0)
    return made


def test_a_model_trains_and_is_kept(tmp_path):
    first = trained()
    expected = first.predict(M, verbose=0)
    assert (trained().predict(M, verbose=0) == expected).all()
    assert (first.predict(M, batch_size=5, verbose=0) == expected).all()
    assert (pickle.loads(pickle.dumps(first)).predict(M, verbose=0) == expected).all()
    first.save(tmp_path / "m.keras")
    again = cdl.models.load_model(tmp_path / "m.keras")
    assert (again.predict(M, verbose=0) == expected).all()
    for each in (first, again):
        each.fit(M, TARGETS, epochs=1, batch_size=16, verbose=0, shuffle=False)
    assert (again.predict(M, verbose=0) == first.predict(M, verbose=0)).all()


def test_a_singular_matrix_ends_a_run_before_its_batch_has_learned():
    made, other = model(), model()
    other.set_weights(made.get_weights())
    data = M.copy()
    data[20] = 0
    with pytest.raises(np.linalg.LinAlgError, match="Singular matrix"):
        made.fit(data, TARGETS, batch_size=8, shuffle=False, verbose=0)
    other.fit(M[:16], TARGETS[:16], batch_size=8, shuffle=False, verbose=0)
    for w, expected in zip(made.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(w, expected)
    made.fit(M, TARGETS, batch_size=8, verbose=0)


def test_an_interrupt_within_a_call_ends_the_run(monkeypatch):
    made = model()

    def interrupted(x):
        raise KeyboardInterrupt

    made.fit(M, TARGETS, verbose=0)
    before = made.get_weights()
    monkeypatch.setattr(ops.inv.row, "eager", interrupted)
    with pytest.raises(KeyboardInterrupt):
        made.fit(M, TARGETS, verbose=0)
    monkeypatch.undo()
    np.testing.assert_array_equal(before[0], made.get_weights()[0])
    made.fit(M, TARGETS, verbose=0)


@pytest.mark.parametrize("batch", [24, 10])
def test_matrices_of_samples_by_samples(batch):
    class Smoothed(layers.Layer):
        def call(self, x):
            gram = ops.matmul(x, ops.transpose(x)) + ops.eye(ops.shape(x)[0])
            self.add_loss(0.01 * ops.logdet(gram))
            return ops.solve(gram, x)

    x = M[:, 0]
    made = cdl.Sequential([cdl.Input((3,)), Smoothed()])
    made.compile(loss=lambda y, p: ops.mean(ops.square(y - p)))
    found = made.predict(x, batch_size=batch, verbose=0)
    for start in range(0, 24, batch):
        part = x[start : start + batch]
        expected = np.linalg.solve(part @ part.T + np.eye(len(part)), part)
        np.testing.assert_allclose(found[start : start + batch], expected, rtol=1e-4, atol=1e-5)
    gram = x @ x.T + np.eye(24)
    loss = np.mean((x - np.linalg.solve(gram, x)) ** 2) + 0.01 * np.linalg.slogdet(gram)[1]
    np.testing.assert_allclose(made.evaluate(x, x, batch_size=24, verbose=0), loss, rtol=1e-4)


def test_derivatives_can_be_nested():
    def inner(x):
        return ops.sum(ops.square(cdl.grad(lambda a: ops.sum(ops.inv(a)))(x)))

    def exact():
        inverse = np.linalg.inv(x)
        return np.sum(np.square(inverse.T @ np.ones((3, 3)) @ inverse.T))

    x = M[0].astype(np.float64)
    expected = central_differences(exact, x)
    np.testing.assert_allclose(cdl.grad(inner)(M[0]), expected, rtol=1e-4)


def test_an_export_names_the_function():
    with pytest.raises(ValueError, match=r"'host'.*inv"):
        model().export("unused.onnx", format="onnx")


def test_a_gradient_that_is_not_defined_is_refused():
    with pytest.raises(ValueError, match="svd: full_matrices must be False"):
        cdl.grad(lambda x: ops.sum(ops.svd(x)[2] ** 3))(WIDE)
    with pytest.raises(ValueError, match="qr: mode must be 'reduced'"):
        cdl.grad(lambda x: ops.sum(ops.qr(x, "complete")[0]))(np.swapaxes(WIDE, 1, 2))


def test_programs_have_no_complex_numbers():
    values, vectors = ops.eig(cdl.Input((3, 3)))
    assert (values.shape, vectors.dtype) == ((None, 3), "complex64")
    with pytest.raises(TypeError, match="eig: a program has no complex numbers"):
        run(ops.eig, [M])
