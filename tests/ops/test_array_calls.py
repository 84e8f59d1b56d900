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


IDS = np.array([0, 2, 2, 1, 2, 5, -1, 0], np.int32)
ROWS = WIDE[:8, :2, 0]
PLACES = np.array([[0, 1], [3, 0], [0, 1]])
ONE = np.float32([1, 0, 0])
# Functions of all numbers, of which samples cannot be apart.
WHOLE = {
    "correlate": (lambda x: [ops.correlate(x[0], x[1][:4], m) for m in MODES], WIDE[0, :2, :]),
    "correlate short": (lambda x: [ops.correlate(x[0][:2], x[1], m) for m in MODES], WIDE[0, :2]),
    "corrcoef": (ops.corrcoef, WIDE[0]),
    "histogram": (lambda x: ops.histogram(x, 4), WIDE[0, 0]),
    "meshgrid": (lambda x: ops.meshgrid(x[0], x[1][:3], x[2][:2]), WIDE[0]),
    "meshgrid ij": (lambda x: ops.meshgrid(x[0], x[1][:3], indexing="ij"), WIDE[0]),
    "vander": (ops.vander, WIDE[0, 0]),
    "segment_sum": (lambda x: ops.segment_sum(x, IDS, 4), ROWS),
    "segment_max": (lambda x: ops.segment_max(x, IDS % 4, 4), ROWS),
    "segment_min": (lambda x: ops.segment_min(x, IDS % 4, 4), ROWS),
    "segment_prod": (lambda x: ops.segment_prod(x, IDS, 3), ROWS),
    "segment_prod of zeros": (lambda x: ops.segment_prod(x, IDS, 3), ROWS * (ROWS > 0.5)),
    "slice_update": (lambda x: ops.slice_update(x, (2, 0), x[:2] * 2), ROWS),
    "scatter": (lambda x: ops.scatter(PLACES, x[:3, 0], (4, 2)), ROWS),
    "scatter_update": (lambda x: ops.scatter_update(x, PLACES[:2], x[4:6, 0]), ROWS),
    "scatter_update add": (lambda x: ops.scatter_update(x, PLACES, x[:3, 1], "add"), ROWS),
    "scatter_update max": (lambda x: ops.scatter_update(x, PLACES[:2], x[4:6, 1], "max"), ROWS),
    "scatter_update mul": (lambda x: ops.scatter_update(x, PLACES, x[4:7, 1], "mul"), ROWS),
    "scatter_update twice": (lambda x: ops.scatter_update(x, PLACES, x[4:7, 0]), ROWS),
    "scatter_update mul 0": (
        lambda x: ops.scatter_update(x, PLACES, x[4:7, 1] - ROWS[4:7, 1] * ONE, "mul"),
        ROWS,
    ),
    "map_coordinates": (lambda x: ops.image.map_coordinates(x, AT, 1), WIDE[0]),
    "map_coordinates nearest": (lambda x: ops.image.map_coordinates(x, AT, 0), WIDE[0]),
    "map_coordinates by places": (
        lambda x: ops.image.map_coordinates(WIDE[0], x, 1, "constant", 2.0),
        np.float32([[0.4, 1.3, 2.6], [2.7, 0.3, 1.4]]),
    ),
    "norm of a spectrum": (lambda x: ops.norm(x, "nuc"), WIDE[0]),
    "lstsq": (lambda x: ops.lstsq(ops.transpose(x), x[0]), WIDE[0]),
}
MODES = ("valid", "same", "full")
AT = np.float32([[0.4, 1.3, 2.6, 1.0], [2.7, 0.3, 1.4, 3.5]])


def loss_of(function, x):
    generator = np.random.default_rng(3)
    weights = [generator.normal(size=np.shape(y)) for y in cdl.tree.flatten(function(x))]

    def loss(x):
        pairs = zip(cdl.tree.flatten(function(x)), weights, strict=True)
        return sum(ops.sum(y * w.astype(np.float32)) for y, w in pairs)

    return loss


def stepped(loss, x, h=4e-3):
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


@pytest.mark.parametrize("name", [*CASES, *WHOLE])
def test_gradients_are_those_of_differences(name):
    function, x = {**CASES, **WHOLE}[name]
    x = x if name in WHOLE else x[:2]
    loss = loss_of(function, x)
    value, found = cdl.value_and_grad(loss)(x)
    np.testing.assert_allclose(value, loss(x), rtol=1e-5, atol=1e-5)
    top = max(1.0, np.abs(found).max())
    np.testing.assert_allclose(found, stepped(loss, x), rtol=5e-3, atol=5e-3 * top)


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


def _parts(x):
    return ops.reshape(x, (-1, 2, 3)), ops.reshape(x * x, (-1, 2, 3))


LINEAR = {
    "fft": (lambda x: ops.fft((x, x * x))[0] ** 3, lambda x: np.fft.fft(x + 1j * x * x).real ** 3),
    "fft2": (
        lambda x: ops.fft2(_parts(x))[1] ** 2,
        lambda x: np.fft.fft2((x + 1j * x * x).reshape(-1, 2, 3)).imag ** 2,
    ),
    "ifft2": (
        lambda x: ops.ifft2(_parts(x))[0] ** 3,
        lambda x: np.fft.ifft2((x + 1j * x * x).reshape(-1, 2, 3)).real ** 3,
    ),
    "rfft": (lambda x: ops.rfft(x)[0] ** 3, lambda x: np.fft.rfft(x).real ** 3),
    "irfft": (
        lambda x: ops.irfft((x, ops.sin(x))) ** 3,
        lambda x: np.fft.irfft(x + 1j * np.sin(x)) ** 3,
    ),
    "slice_update": (
        lambda x: ops.slice_update(x, (0, 1), 3.0 * x[:, :2]) ** 3,
        lambda x: np.concatenate([x[:, :1], 3 * x[:, :2], x[:, 3:]], 1) ** 3,
    ),
    "segment_sum": (
        lambda x: ops.segment_sum(ops.transpose(x) ** 2, [0, 1, 1, -1, 0, 1], num_segments=3) ** 2,
        lambda x: np.stack([(x**2)[:, [0, 4]].sum(1), (x**2)[:, [1, 2, 5]].sum(1)]) ** 2,
    ),
}


@pytest.mark.parametrize("name", LINEAR)
def test_derivatives_go_twice_through_what_is_linear(name):
    function, in_numpy = LINEAR[name]
    rng = np.random.default_rng(5)
    x, way = rng.normal(size=(2, 2, 6))
    first = cdl.grad(lambda x: ops.sum(function(x)))
    second = cdl.grad(lambda x: ops.sum(first(x) * way.astype(np.float32)))(x.astype(np.float32))

    def slope():  # along the way
        step = 1e-4
        return (np.sum(in_numpy(x + step * way)) - np.sum(in_numpy(x - step * way))) / (2 * step)

    expected = central_differences(slope, x)
    np.testing.assert_allclose(second, expected, rtol=2e-3, atol=2e-3 * np.abs(expected).max())


def test_an_export_names_the_function():
    with pytest.raises(ValueError, match=r"'host'.*inv"):
        model().export("unused.onnx", format="onnx")


def test_a_gradient_that_is_not_defined_is_refused():
    with pytest.raises(ValueError, match="svd: full_matrices must be False"):
        cdl.grad(lambda x: ops.sum(ops.svd(x)[2] ** 3))(WIDE)
    with pytest.raises(ValueError, match="qr: mode must be 'reduced'"):
        cdl.grad(lambda x: ops.sum(ops.qr(x, "complete")[0]))(np.swapaxes(WIDE, 1, 2))
    largest = cdl.grad(lambda x: ops.sum(ops.segment_max(ops.transpose(x) ** 2, [0, 1, 1])))
    with pytest.raises(ValueError, match="no derivative goes through 'segment_max'"):
        cdl.grad(lambda x: ops.sum(largest(x)))(WIDE[0])


def test_programs_have_no_complex_numbers():
    values, vectors = ops.eig(cdl.Input((3, 3)))
    assert (values.shape, vectors.dtype) == ((None, 3), "complex64")
    with pytest.raises(TypeError, match="eig: a program has no complex numbers"):
        run(ops.eig, [M])


def integers(*shape):
    return cdl.Input(shape, dtype="int32")


def test_integers_are_those_of_arrays_or_refused():
    x = integers(3)
    model = cdl.Model(x, ops.bitwise_or(ops.left_shift(x, 20), 1))
    assert model.output.dtype == "int32"
    y = model.predict(np.array([[0, 1, 15], [3, 4, 5]], np.int32), verbose=0)
    with pytest.raises(ValueError, match="bitwise_or: integers within a program must be such as"):
        model.predict(np.array([[17, 0, 0]], np.int32), verbose=0)
    with pytest.raises(ValueError, match="must have integers below 16777216"):
        model.predict(np.array([[2**31 - 1, 0, 0]], np.int32), verbose=0)
    assert y.dtype == np.int32 and y.tolist()[0] == [1, 2**20 + 1, 15 * 2**20 + 1]


def test_functions_without_a_gradient_let_none_through():
    inputs = cdl.Input((4,))
    places = ops.argpartition(inputs, 2)
    joined = ops.concatenate([ops.cast(places, "float32"), layers.Dense(2)(inputs)], -1)
    made = cdl.Model(inputs, layers.Dense(1)(joined))
    made.compile("sgd", "mse")
    made.fit(WIDE[:, 0], TARGETS, verbose=0)
    found = cdl.Model(inputs, places).predict(WIDE[:, 0], verbose=0)
    assert (found == np.argpartition(WIDE[:, 0], 2)).all()


def test_decoded_labels_have_the_samples_along_their_second_axis():
    scores, lengths = WIDE[:6], np.full(6, 3, np.int32)
    inputs, counts = cdl.Input((3, 4)), integers()
    labels, worth = ops.ctc_decode(inputs, counts)
    assert labels.shape == (1, None, 3)
    model = cdl.Model([inputs, counts], [ops.moveaxis(labels, 1, 0), worth])
    found = model.predict([scores, lengths], verbose=0)
    expected = ops.ctc_decode(scores, lengths)
    np.testing.assert_array_equal(found[0], np.moveaxis(expected[0], 1, 0))
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-6)


def test_samples_are_joined_where_a_function_is_of_all():
    def loss(y, p):
        places = ops.cast(y[:, 0], "int32")
        means = ops.segment_sum(p, places, 3)
        return ops.sum(ops.square(means)) + ops.sum(ops.corrcoef(ops.transpose(p)))

    y = (np.arange(24) % 3)[:, None]
    made = cdl.Sequential([cdl.Input((4,)), layers.Dense(3)])
    made.compile("sgd", loss)
    p = made.predict(WIDE[:, 0], verbose=0)
    sums = np.stack([p[y[:, 0] == k].sum(0) for k in range(3)])
    expected = np.square(sums).sum() + np.corrcoef(p.T).sum()
    found = made.evaluate(WIDE[:, 0], y, batch_size=24, verbose=0)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert made.fit(WIDE[:, 0], y, batch_size=24, shuffle=False, verbose=0).history["loss"] == [
        found
    ]


@pytest.mark.parametrize("function", [ops.unique, ops.nonzero, ops.bincount])
def test_what_has_as_many_results_as_numbers_say_is_refused(function):
    x = cdl.Input((4,))
    with pytest.raises(TypeError, match="how many there"):
        cdl.Model(x, function(x)).predict(np.ones((2, 4)), verbose=0)
    assert ops.unique(cdl.KerasTensor((4,)), size=3).shape == (3,)


@pytest.mark.parametrize("place", [-1, 0, 1, 2, 5])
def test_a_symbolic_switch_calls_all_functions_and_chooses(place):
    inputs, index = cdl.Input((4,)), cdl.Input((), dtype="int32")
    chosen = ops.switch(ops.max(index), [ops.exp, ops.sin, ops.cos], inputs)
    found = cdl.Model([inputs, index], chosen).predict(
        [WIDE[:, 0], np.full(24, place, np.int32)], verbose=0
    )
    expected = ops.switch(place, [np.exp, np.sin, np.cos], WIDE[:, 0])
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["relu", "tanh", "softmax", "hard_silu", "selu", "glu"])
def test_activations_between_inputs_have_a_form_in_files(name, tmp_path):
    inputs = cdl.Input((4,))
    made = cdl.Model(inputs, getattr(cdl.activations, name)(inputs))
    made.save(tmp_path / "m.keras")
    again = cdl.models.load_model(tmp_path / "m.keras")
    expected = made.predict(WIDE[:, 0], verbose=0)
    np.testing.assert_array_equal(again.predict(WIDE[:, 0], verbose=0), expected)
    direct = getattr(cdl.activations, name)(WIDE[:, 0])
    np.testing.assert_allclose(expected, direct, rtol=1e-5, atol=1e-7)


def test_a_weight_is_inverted():
    weight = cdl.Variable(M[0])
    with cdl.GradientTape() as tape:
        loss = ops.sum(ops.inv(weight))
    found = tape.gradient(loss, weight)
    inverse = np.linalg.inv(M[0])
    np.testing.assert_allclose(found, -inverse.T @ np.ones((3, 3)) @ inverse.T, rtol=1e-4)

    class Whitened(layers.Layer):
        def build(self, shape):
            self.mixing = self.add_weight((3, 3), cdl.initializers.Identity())

        def call(self, x):
            return ops.matmul(x, ops.inv(self.mixing))

    model = cdl.Sequential([cdl.Input((3,)), Whitened(), layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(M[:, 0], TARGETS, batch_size=24, verbose=0)
    assert not np.array_equal(model.get_weights()[0], np.eye(3))


@pytest.mark.parametrize("function", [ops.quantile, ops.nanquantile, ops.nanpercentile])
@pytest.mark.parametrize("x", [WIDE[0], cdl.Input((4,))], ids=["array", "symbolic"])
def test_quantiles_refuse_a_method_that_programs_have_not(function, x):
    with pytest.raises(ValueError, match=f"{function.__name__}: method must be one of .*'hazen'"):
        function(x, 0.3, axis=-1, method="hazen")
