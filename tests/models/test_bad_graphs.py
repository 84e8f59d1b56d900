"""Invalid graphs: their errors, after which nothing is left behind."""

import traceback

import numpy as np
import pytest

from cdl import Input, Model, Sequential, layers, ops

X = np.ones((8, 4), np.float32)


class Calls(layers.Layer):
    """A layer that calls another one."""

    other = None

    def call(self, x):
        return x if self.other is None else self.other(x)


def cycle():
    one, two = Calls(name="one"), Calls(name="two")
    one.other, two.other = two, one
    return one(Input((4,)))


def backwards():
    x = Input((4,), name="x")
    h = layers.Dense(3)(x)
    return Model(layers.Dense(2)(h), h)


def two(inputs=4, other=3):
    return Input((inputs,), name="a"), Input((other,), name="b")


def beside():
    a, b = two()
    return Model(a, layers.Concatenate()([a, b]))


def of_another():
    a, b = two()
    return Model(b, Model(a, layers.Dense(2)(a)).output)


def same_names():
    a, b = Input((4,), name="same"), Input((4,), name="same")
    return Model([a, b], layers.Add()([a, b]))


def same_layers():
    x = Input((4,))
    return Model(x, layers.Dense(2, name="same")(layers.Dense(2, name="same")(x)))


def itself():
    model = Sequential([layers.Dense(2)])
    model.add(model)


GRAPHS = {
    "a cycle of layers": (cycle, r"'one': the layers must not form a cycle.*\['one', 'two'\]"),
    "a model in itself": (itself, "layer must not be the model itself"),
    "backwards": (backwards, "Graph disconnected: .* name=x>, which is none of the inputs"),
    "an input left out": (beside, r"shape=\(None, 3\), .* name=b>, which is none of .*\['a'\]"),
    "values of another model": (of_another, r"name=a>, which is none of the inputs \['b'\]"),
    "two inputs of one name": (same_names, 'the name "same" is used by two layers'),
    "two layers of one name": (same_layers, 'the name "same" is used by two layers'),
    "sums": (
        lambda: layers.Add(name="sum")(list(two())),
        r"Add 'sum': .*inputs must have shapes that .*\[\(None, 4\), \(None, 3\)\]",
    ),
    "joined": (
        lambda: layers.Concatenate(axis=1, name="cat")([Input((3, 4)), Input((3, 5))]),
        r"Concatenate 'cat': .*\[\(None, 3, 4\), \(None, 3, 5\)\]",
    ),
    "products": (
        lambda: layers.Dot(axes=1, name="dot")(list(two())),
        r"Dot 'dot': .* 4 \(at axis 1\) != 3 .*\(None, 4\), \(None, 3\)",
    ),
    "operators": (lambda: sum(two()), r"add: .* got shapes \(None, 4\) and \(None, 3\)"),
}


@pytest.mark.parametrize(("make", "text"), GRAPHS.values(), ids=GRAPHS)
def test_a_graph_that_cannot_be_is_refused(make, text):
    with pytest.raises(ValueError, match=text):
        make()


class Fails(layers.Layer):
    """A layer that makes weights and a layer, then fails as many times as it is told to."""

    def __init__(self, times=1, **kwargs):
        super().__init__(**kwargs)
        self.times, self.before = times, self.add_weight((4,), name="before")
        self.kept, self.late = layers.Dense(4), None

    def build(self, shape):
        self.w = self.add_weight((shape[-1], 2), name="w")
        self.made = layers.Dense(3)
        self.made.build(shape)
        self.late = self.add_weight((2,), name="late")

    def call(self, x):
        x = self.kept(x * self.before)
        if self.times:
            self.times -= 1
            raise RuntimeError("of the user's")
        return ops.matmul(x, self.w) + self.late + ops.sum(self.made(x), axis=-1, keepdims=True)


@pytest.mark.parametrize("x", [Input((4,)), X], ids=["symbolic", "arrays"])
def test_a_call_that_raises_keeps_its_traceback_and_leaves_nothing_half_built(x):
    layer = Fails()
    with pytest.raises(RuntimeError, match="of the user's") as caught:
        layer(x)
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert (frames[-1].name, frames[-1].filename) == ("call", __file__)
    assert not layer.built
    assert not layer.kept.built
    assert [w.name for w in layer.weights] == ["before"]
    assert not hasattr(layer, "w")
    assert not hasattr(layer, "made")
    assert layer.late is None
    layer(x)
    assert [w.shape for w in layer.weights] == [(4,), (4, 2), (2,), (4, 4), (4,), (4, 3), (3,)]


class Net(Model):
    def __init__(self, times):
        super().__init__()
        self.first, self.fails = layers.Dense(4), Fails(times)

    def call(self, x):
        return self.fails(self.first(x))


@pytest.mark.parametrize("how", ["call", "build", "predict", "fit"])
def test_so_does_a_model(how):
    model = Net(1)
    model.compile("sgd", "mse")
    calls = {
        "call": lambda: model(X),
        "build": lambda: model.build((None, 4)),
        "predict": lambda: model.predict(X, verbose=0),
        "fit": lambda: model.fit(X, X[:, :2], verbose=0),
    }
    with pytest.raises(RuntimeError, match="of the user's"):
        calls[how]()
    assert not model.built
    assert not model.first.built
    assert [w.name for w in model.weights] == ["before"]
    assert len(model.fit(X, X[:, :2], verbose=0).history["loss"]) == 1
    assert model.built


def test_a_failed_call_of_a_built_model_changes_no_weight():
    model = Net(0)
    model.compile("sgd", "mse")
    model.fit(X, X[:, :2], verbose=0)
    before = model.get_weights()
    model.fails.times = 1
    model.compile("sgd", "mse")  # so that it is traced anew
    with pytest.raises(RuntimeError, match="of the user's"):
        model.fit(X, X[:, :2], verbose=0)
    for now, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)
    model.fit(X, X[:, :2], verbose=0)
