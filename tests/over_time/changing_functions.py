"""Functions that read something beside their arguments, each with a change of it."""

import builtins
import functools
import types

import numpy as np

import cdl
from cdl import layers, ops

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


def of_activation(monkeypatch):
    """A function of the user's that a layer of cdl's calls."""
    layer = layers.Dense(3, activation=lambda v: v * TABLE["factor"])
    layer.build((None, 3))
    return lambda x: ops.sum(layer(x)), lambda: monkeypatch.setitem(TABLE, "factor", 5.0)


def of_activation_object(monkeypatch):
    settings = Settings()
    layer = layers.Activation(settings.scaled)
    return lambda x: ops.sum(layer(x)), lambda: setattr(settings, "factor", 5.0)


def of_layer_as_activation(monkeypatch):
    slope = layers.LeakyReLU(0.5)
    layer = layers.Dense(3, activation=slope)
    layer.build((None, 3))
    return lambda x: ops.sum(layer(x)), lambda: setattr(slope, "negative_slope", 0.1)


def of_weights_of_a_part(monkeypatch):
    model = cdl.Sequential([cdl.Input((3,)), layers.Dense(2)])
    weights = np.ones((3, 2)), np.zeros(2)
    model.layers[0].set_weights(weights)

    def function(x):
        return ops.sum(x) * float(np.sum(model.layers[0].kernel.numpy()))

    return function, lambda: model.layers[0].set_weights([2 * weights[0], weights[1]])


def of_static_method(monkeypatch):
    layer = OwnLayer()
    monkeypatch.setattr(OwnLayer, "mean", staticmethod(lambda x: x * TABLE["factor"]), False)
    return lambda x: ops.sum(layer.mean(x)), lambda: monkeypatch.setitem(TABLE, "factor", 5.0)


def of_method_in_a_list(monkeypatch):
    several = [OwnLayer()]
    monkeypatch.setattr(OwnLayer, "split", lambda self, x: x * TABLE["factor"], False)

    def function(x):
        return ops.sum(sum(each.split(x) for each in several))

    return function, lambda: monkeypatch.setitem(TABLE, "factor", 5.0)


def of_replaced_builtin(monkeypatch):
    return (
        lambda x: ops.sum(x) * divmod(7.0, 2.0)[0],
        lambda: monkeypatch.setattr(builtins, "divmod", lambda a, b: (a, b)),
    )


CHANGES = [value for name, value in list(globals().items()) if name.startswith("of_")]
UNKNOWN = {
    of_large_array, of_inner, of_getattr, of_vars, of_generator, of_numpys_random,
    of_numbers_of_a_weight, of_weights_of_a_part,
}  # fmt: skip
# Unknown where derivatives are by arguments; their changes may be missed where they are by weights.
OF_USERS = {
    of_attribute, of_class, of_method, of_callable, of_property, of_slot, of_partial,
    of_other_weight, of_state, of_own_layer, of_global_in_layer, of_own_loss,
    of_global_in_layer_built_by_trace, of_large_array_in_layer, of_lambda_layer, of_activation,
    of_activation_object, of_layer_as_activation, of_static_method,
    of_method_in_a_list,
}  # fmt: skip
MISSED_BY_WEIGHTS = {of_layer_as_activation, of_static_method, of_method_in_a_list}
