"""Derivative functions that are called again: as traced before, unless what they read changed."""

import functools
import gc
import types
import weakref

import numpy as np
import pytest

import cdl
from cdl import layers, ops
from cdl.trainers import derivatives

RNG = np.random.default_rng(8)
X = RNG.normal(size=(4, 3)).astype(np.float32)
FACTOR = 2.0
TABLE = {"factor": 2.0, "more": [1.0, 2.0]}
VALUES = np.array([1.0, 2.0, 3.0], np.float32)
WEIGHT = cdl.Variable(np.ones(3, np.float32), trainable=True)


class Settings:
    """An object of the user's, by whose attributes functions compute."""

    shared = 2.0

    def __init__(self):
        self.factor, self.inner = 2.0, types.SimpleNamespace(factor=2.0)

    def __call__(self, x):
        return ops.sum(x) * self.factor

    @property
    def doubled(self):
        return self.factor * 2

    def loss(self, x):
        return ops.sum(self.scaled(x))

    def scaled(self, x):
        return x * self.factor * self.shared


class Slots:
    __slots__ = ("factor",)


class OwnLayer(layers.Layer):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(2, kernel_initializer="ones")
        self.rate = 2.0

    def call(self, x):
        return self.moved(self.dense(x)) * self.rate

    def moved(self, y):
        return y + FACTOR


class OwnLoss(cdl.losses.Loss):
    def __init__(self):
        super().__init__()
        self.power = 2.0

    def call(self, y_true, y_pred):
        return ops.mean((y_true - y_pred) ** 2 * self.power, -1)


def scaled(x):
    return x * FACTOR


def of_global(monkeypatch):
    return lambda x: ops.sum(x * FACTOR), lambda: monkeypatch.setitem(globals(), "FACTOR", 3.0)


def of_helper(monkeypatch):
    return lambda x: ops.sum(scaled(x)), lambda: monkeypatch.setitem(globals(), "FACTOR", 3.0)


def of_new_helper(monkeypatch):
    return (
        lambda x: ops.sum(scaled(x)),
        lambda: monkeypatch.setitem(globals(), "scaled", lambda x: x * 7),
    )


def of_code(monkeypatch):
    def helper(x):
        return x * 2

    return (
        lambda x: ops.sum(helper(x)),
        lambda: monkeypatch.setattr(helper, "__code__", (lambda x: x * 5).__code__),
    )


def of_cell(monkeypatch):
    factor = 2.0

    def change():
        nonlocal factor
        factor = 3.0

    return lambda x: ops.sum(x * factor), change


def of_sign(monkeypatch):
    factor = 0.0

    def change():
        nonlocal factor
        factor = -0.0

    return lambda x: ops.sum(x * np.copysign(1.0, factor)), change


def of_type(monkeypatch):
    factor = 1

    def change():
        nonlocal factor
        factor = True

    return lambda x: ops.sum(x * (3 if isinstance(factor, bool) else 2)), change


def of_branch(monkeypatch):
    flag = []
    return lambda x: ops.sum(x * x) if flag else ops.sum(x), lambda: flag.append(1)


def of_dict(monkeypatch):
    return (
        lambda x: ops.sum(x * TABLE["factor"]),
        lambda: monkeypatch.setitem(TABLE, "factor", 3.0),
    )


def of_list(monkeypatch):
    return lambda x: sum(ops.sum(x * a) for a in TABLE["more"]), lambda: TABLE["more"].append(4.0)


def of_array(monkeypatch):
    values = VALUES.copy()
    return lambda x: ops.sum(x * values), lambda: values.fill(5.0)


def of_large_array(monkeypatch):
    values = np.ones(100_000, np.float32)
    return lambda x: ops.sum(x) * values[7], lambda: values.fill(5.0)


def of_attribute(monkeypatch):
    settings = Settings()
    return lambda x: ops.sum(x * settings.factor), lambda: setattr(settings, "factor", 3.0)


def of_class(monkeypatch):
    settings = Settings()
    return settings.loss, lambda: monkeypatch.setattr(Settings, "shared", 3.0)


def of_method(monkeypatch):
    settings = Settings()
    return settings.loss, lambda: setattr(settings, "scaled", lambda x: x * 9)


def of_callable(monkeypatch):
    settings = Settings()
    return settings, lambda: setattr(settings, "factor", 3.0)


def of_property(monkeypatch):
    settings = Settings()
    return lambda x: ops.sum(x * settings.doubled), lambda: setattr(settings, "factor", 3.0)


def of_inner(monkeypatch):
    settings = Settings()
    return (
        lambda x: ops.sum(x * settings.inner.factor),
        lambda: setattr(settings.inner, "factor", 3.0),
    )


def of_getattr(monkeypatch):
    settings = Settings()
    return (
        lambda x: ops.sum(x * getattr(settings, "factor")),  # noqa: B009 - by any name
        lambda: setattr(settings, "factor", 3.0),
    )


def of_vars(monkeypatch):
    settings = Settings()
    return lambda x: ops.sum(x * vars(settings)["factor"]), lambda: setattr(settings, "factor", 3)


def of_slot(monkeypatch):
    slots = Slots()
    slots.factor = 2.0
    return lambda x: ops.sum(x * slots.factor), lambda: setattr(slots, "factor", 3.0)


def of_default(monkeypatch):
    def function(x, factor=2.0):
        return ops.sum(x * factor)

    return function, lambda: monkeypatch.setattr(function, "__defaults__", (3.0,))


def of_partial(monkeypatch):
    given = [2.0]
    return (
        functools.partial(lambda given, x: ops.sum(x * given[0]), given),
        lambda: given.__setitem__(0, 3.0),
    )


def of_inner_function(monkeypatch):
    factor = 2.0

    def function(x):
        def inner(y):
            return [y * factor for _ in range(2)]

        return ops.sum(inner(x)[1])

    def change():
        nonlocal factor
        factor = 3.0

    return function, change


def of_module(monkeypatch):
    module = types.ModuleType("of_users")
    module.factor = 2.0
    return lambda x: ops.sum(x * module.factor), lambda: setattr(module, "factor", 3.0)


def of_generator(monkeypatch):
    numbers = iter([2.0, 2.0, 2.0, 2.0])
    return lambda x: ops.sum(x * next(numbers, 3.0)), lambda: list(numbers)


def of_numpys_random(monkeypatch):
    return lambda x: ops.sum(x * np.random.get_state()[2]), lambda: np.random.normal(size=3)


def of_numbers_of_a_weight(monkeypatch):
    weight = cdl.Variable(np.ones(3, np.float32), trainable=True)
    return lambda x: ops.sum(x * weight.numpy()), lambda: weight.assign([1.0, 2.0, 3.0])


def of_weight(monkeypatch):
    weight = cdl.Variable(np.ones(3, np.float32), trainable=True)
    return lambda x: ops.sum(x * weight), lambda: weight.assign([1.0, 2.0, 3.0])


def of_other_weight(monkeypatch):
    layer = OwnLayer()
    layer(X)
    other = layers.Dense(2, kernel_initializer="zeros", bias_initializer="ones")
    return lambda x: ops.sum(layer(x) ** 2), lambda: setattr(layer, "dense", other)


def of_state(monkeypatch):
    state = cdl.Variable(np.float64(2), dtype="float64", trainable=False)
    return lambda x: ops.sum(x) * float(state.value), lambda: state.assign(3.0)


def of_layer(monkeypatch):
    model = cdl.Sequential([cdl.Input((3,)), layers.LeakyReLU(0.5)])
    return model, lambda: setattr(model.layers[0], "negative_slope", 0.1)


def of_own_layer(monkeypatch):
    layer = OwnLayer()
    layer(X)
    return lambda x: ops.sum(layer(x)), lambda: setattr(layer, "rate", 3.0)


def of_global_in_layer(monkeypatch):
    layer = OwnLayer()
    layer(X)
    return lambda x: ops.sum(layer(x)), lambda: monkeypatch.setitem(globals(), "FACTOR", 5.0)


class Grows(layers.Layer):
    """A layer that makes a layer of the user's when it is built."""

    def build(self, shape):
        self.inner = OwnLayer()

    def call(self, x):
        return self.inner(x)


def of_global_in_layer_built_by_trace(monkeypatch):
    layer = Grows()
    return lambda x: ops.sum(layer(x)), lambda: monkeypatch.setitem(globals(), "FACTOR", 5.0)


def of_large_array_in_layer(monkeypatch):
    layer = OwnLayer()
    layer(X)
    layer.rate = np.full((2, 20_000), 2.0, np.float32)[:, ::10_000]
    layer.call = types.MethodType(lambda self, x: self.dense(x) * self.rate[0], layer)
    return lambda x: ops.sum(layer(x)), lambda: layer.rate.fill(3.0)


def of_queue(monkeypatch):
    values = [5.0, 4.0, 3.0, 2.0, 2.0]
    return lambda x: ops.sum(x) * values[-1], lambda: values.pop(1) and values.append(7.0)


def of_deeper_cells(monkeypatch):
    def outer():
        factor = [2.0]

        def inner(x):
            return sum([y * each for each in factor for y in (x, x)])

        return inner, factor

    inner, factor = outer()
    return lambda x: ops.sum(inner(x)), lambda: factor.append(1.0)


def of_functions_in_a_dict(monkeypatch):
    steps = {"first": lambda x: x * 2, "second": lambda x: x * FACTOR}
    return (
        lambda x: ops.sum(steps["first"](x) + steps["second"](x)),
        lambda: monkeypatch.setitem(steps, "first", lambda x: x * 3),
    )


def of_number_of_numpy(monkeypatch):
    factor = np.float32(2)

    def change():
        nonlocal factor
        factor = np.float32(3)

    return lambda x: ops.sum(x * factor), change


def of_dtype(monkeypatch):
    def change():
        cdl.config.set_floatx("float16")

    monkeypatch.setitem(cdl._common.dtypes._settings, "floatx", "float32")
    return lambda x: ops.sum(ops.cast(ops.ones((3,)) * 1.0001, "float32") * x), change


def of_lambda_layer(monkeypatch):
    factors = [2.0]
    model = cdl.Sequential([cdl.Input((3,)), layers.Lambda(lambda x: x * factors[0])])
    return model, lambda: factors.__setitem__(0, 3.0)


def of_loss(monkeypatch):
    loss = cdl.losses.Huber(delta=0.1)
    return lambda x: loss(VALUES * ops.ones_like(x), x), lambda: setattr(loss, "delta", 0.5)


def of_own_loss(monkeypatch):
    loss = OwnLoss()
    return lambda x: loss(ops.zeros_like(x), x), lambda: setattr(loss, "power", 3.0)


def of_mode(monkeypatch):
    mode = {"training": False}
    norm = layers.BatchNormalization()
    norm(X)
    norm.moving_mean.assign([1.0, 2.0, 3.0])

    def function(x):
        return ops.sum(norm(x, training=mode["training"]) ** 3)

    return function, lambda: norm.moving_mean.assign([0.0, 0.0, 9.0])


def of_format(monkeypatch):
    def change():
        monkeypatch.setattr(cdl.config, "_image_data_format", "channels_first")

    return lambda x: ops.sum(x) * len(cdl.config.image_data_format()), change


CHANGES = [value for name, value in list(globals().items()) if name.startswith("of_")]
UNKNOWN = {
    of_large_array, of_inner, of_getattr, of_vars, of_generator, of_numpys_random,
    of_numbers_of_a_weight,
}  # fmt: skip


@pytest.fixture
def traces(monkeypatch):
    """Functions that were traced, in order."""
    found, trace = [], derivatives.graphs.trace

    def counted(function, *args):
        if "of_samples" in function.__name__:
            found.append(function)
        return trace(function, *args)

    monkeypatch.setattr(derivatives.graphs, "trace", counted)
    return found


@pytest.mark.parametrize("by_weights", [False, True], ids=["arguments", "weights"])
@pytest.mark.parametrize("make", CHANGES, ids=lambda make: make.__name__)
def test_what_a_function_reads_counts_in_each_call(make, by_weights, monkeypatch, traces):
    monkeypatch.setitem(TABLE, "more", [1.0, 2.0])
    function, change = make(monkeypatch)
    weights = {"variables": [WEIGHT]} if by_weights else {}

    def differentiated():
        return cdl.value_and_grad(lambda x: function(x) + ops.sum(WEIGHT * WEIGHT), **weights)

    pair = differentiated()
    before = pair(X)
    again = pair(X)
    if make not in UNKNOWN:
        assert len(traces) == 1
    np.testing.assert_array_equal(again[0], before[0])
    change()
    after, expected = pair(X), differentiated()(X)
    assert np.any(after[0] != before[0]) or make in (of_sign, of_generator)
    for found, wanted in zip(after, expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-6)


@pytest.mark.parametrize("seed", [None, 3])
def test_each_call_draws_other_numbers(seed):
    generator = cdl.random.SeedGenerator(seed)
    pair = cdl.value_and_grad(lambda x: ops.sum(x * cdl.random.normal((3,), seed=generator)))
    values = {float(pair(X)[0]) for _ in range(4)}
    assert len(values) == 4


def test_numbers_of_pythons_and_numpys_generators_are_drawn_in_each_call():
    rng = np.random.default_rng(0)
    own = cdl.grad(lambda x: ops.sum(x) * rng.normal())
    drawn = np.random.default_rng(0)
    for _ in range(3):
        np.testing.assert_allclose(own(X), np.full_like(X, drawn.normal()), rtol=1e-6)


def test_functions_that_are_made_anew_are_not_held():
    made = []
    for i in range(20):
        pair = cdl.value_and_grad(lambda x, i=i: ops.sum(x * i))
        np.testing.assert_allclose(pair(X)[1], np.full_like(X, i))
        made.append(weakref.ref(pair.__self__))
    del pair
    gc.collect()
    assert not any(each() for each in made)


def test_programs_of_many_forms_do_not_pile_up(traces):
    pair = cdl.value_and_grad(lambda x: ops.sum(x * x))
    for _ in range(2):
        for rows in range(1, 20):
            np.testing.assert_allclose(pair(np.ones((rows, 2), np.float32))[0], 2 * rows)
    assert len(pair.__self__._compiled) <= 8
    assert len(traces) == 38


def test_forms_take_turns(traces):
    pair = cdl.value_and_grad(lambda x: ops.sum(x * x))
    whole = np.arange(6).reshape(2, 3)
    for given in (X, X[:1], whole, X.astype(np.float64), X[:0].reshape(0, 3), 3.0) * 2:
        if not np.size(given):
            with pytest.raises(ValueError, match="at least one row"):
                pair(given)
            continue
        np.testing.assert_allclose(pair(given)[1], 2 * np.asarray(given), rtol=1e-6)
    assert len(traces) == 5


def test_a_function_that_raises_is_tried_again():
    fails = [True]

    def function(x):
        if fails[0]:
            raise RuntimeError("not now")
        return ops.sum(x * x)

    pair = cdl.value_and_grad(function)
    with pytest.raises(RuntimeError, match="not now"):
        pair(X)
    fails[0] = False
    np.testing.assert_allclose(pair(X)[1], 2 * X)
    fails[0] = True
    with pytest.raises(RuntimeError, match="not now"):
        pair(X)


def test_many_rows_without_sums_over_them_are_done_in_parts():
    x = RNG.normal(size=(2500, 2)).astype(np.float32)
    pair = cdl.value_and_grad(lambda x: x**3)
    for _ in range(2):
        value, gradient = pair(x)
        np.testing.assert_allclose(value, x**3, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(gradient, 3 * x**2, rtol=1e-4, atol=1e-6)
    drawn = cdl.value_and_grad(lambda x: x * cdl.random.normal(ops.shape(x)))(x)[1]
    assert len(np.unique(drawn)) > 4900


def test_a_derivative_by_one_argument_twice_is_given_twice():
    gradients = cdl.grad(lambda a, b: ops.sum(a * a * b), (0, 1, 0, -2))(X, X + 1)
    np.testing.assert_allclose(gradients[0], 2 * X * (X + 1), rtol=1e-5)
    np.testing.assert_allclose(gradients[1], X * X, rtol=1e-5)
    np.testing.assert_allclose(gradients[2], gradients[0])
    np.testing.assert_allclose(gradients[3], gradients[0])


def test_explanations_are_of_the_weights_and_layers_that_there_are():
    model = cdl.Sequential(
        [cdl.Input((3,)), layers.Dense(2, kernel_initializer="ones"), layers.LeakyReLU(0.5)]
    )
    before = cdl.explain.saliency(model, -np.abs(X), target=0)
    model.layers[0].kernel.assign(np.full((3, 2), 2.0))
    np.testing.assert_allclose(cdl.explain.saliency(model, -np.abs(X), target=0), 2 * before)
    model.layers[1].negative_slope = 0.25
    np.testing.assert_allclose(cdl.explain.saliency(model, -np.abs(X), target=0), before)
