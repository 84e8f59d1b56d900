"""Changed attributes that a `call` reads take effect at the next use, however a model is used."""

import collections
import dataclasses
import itertools
import types

import numpy as np
import pytest

import cdl
from cdl import layers

X = np.ones((4, 3), np.float32)


class Inner(layers.Layer):
    faded = 2.0

    def __init__(self):
        super().__init__()
        self.factor = self.loss = self.optimizer = self.history = self._columns = 1.0
        self.faded = 1.0

    def call(self, x):
        named = self.loss * self.optimizer * self.history * self._columns
        return x * self.factor * named * self.faded


@dataclasses.dataclass(slots=True)
class Slots:
    rate: float = 1.0


class Settings:
    def __init__(self):
        self.deep = types.SimpleNamespace(gamma=1.0, rows=[1.0], table=np.ones(1))
        self.slots = Slots()


class Base(cdl.Model):
    scale = 1.0

    def __init__(self):
        super().__init__()
        self.inherited = 1.0


class Net(Base):
    def __init__(self):
        super().__init__()
        self.alpha = 1.0
        self.parts, self.table = [1.0], {"a": {"b": 1.0}}
        self.array = np.ones(3, np.float32)
        self.settings = types.SimpleNamespace(beta=1.0)
        self.own, self.words, self.queue = Settings(), {"a"}, collections.deque([1.0])
        self.keys = {"once": 0}
        self.kept = cdl.Variable(1.0, dtype="float64", trainable=False)
        self.large = cdl.Variable(2**24 + 1, dtype="int64", trainable=False)
        self.inner = Inner()
        self.dense = layers.Dense(3, kernel_initializer="ones")

    def call(self, x):
        read = self.alpha * self.inherited * self.scale * self.parts[0] * self.table["a"]["b"]
        large = self.large.numpy() / (2**24 + 1)
        read = read * self.settings.beta * float(self.kept.numpy()) * float(large)
        deep = self.own.deep
        read = read * deep.gamma * deep.rows[0] * float(deep.table[0]) * self.own.slots.rate
        read = read * (1 + ("b" in self.words)) * self.queue[0] * (1 + ("twice" in self.keys))
        return self.inner(self.dense(x)) * read * self.array


CHANGES = {
    "an attribute": lambda net: setattr(net, "alpha", 2.0),
    "one of a base": lambda net: setattr(net, "inherited", 2.0),
    "one of a class": lambda net: setattr(Base, "scale", 2.0),
    "in a list": lambda net: net.parts.__setitem__(0, 2.0),
    "in a dict in a dict": lambda net: net.table["a"].update(b=2.0),
    "in an array": lambda net: net.array.fill(2.0),
    "in an object": lambda net: setattr(net.settings, "beta", 2.0),
    "in an object in an object": lambda net: setattr(net.own.deep, "gamma", 2.0),
    "another object in an object": lambda net: setattr(
        net.own, "deep", types.SimpleNamespace(gamma=1.0, rows=[2.0], table=np.ones(1))
    ),
    "in a list in an object": lambda net: net.own.deep.rows.__setitem__(0, 2.0),
    "in an array in an object": lambda net: net.own.deep.table.fill(2.0),
    "in slots": lambda net: setattr(net.own.slots, "rate", 2.0),
    "in a set": lambda net: net.words.add("b"),
    "in a queue": lambda net: net.queue.__setitem__(0, 2.0),
    "a key": lambda net: net.keys.update(twice=net.keys.pop("once")),
    "a variable of float64": lambda net: net.kept.assign(2.0),
    "a variable of large integers": lambda net: net.large.assign(2**25 + 2),
    "one of a layer within": lambda net: setattr(net.inner, "factor", 2.0),
    **{
        f"one of the name {name}": lambda net, name=name: setattr(net.inner, name, 2.0)
        for name in ("loss", "optimizer", "history", "_columns")
    },
    "one that is deleted": lambda net: delattr(net.inner, "faded"),
    "an activation": lambda net: setattr(net.dense, "activation", lambda x: 2 * x),
    "a layer": lambda net: setattr(
        net, "dense", layers.Dense(3, kernel_initializer=cdl.initializers.Constant(2.0))
    ),
}
ASKED = {  # each with what it is before and after
    "a call": (lambda net: net(X)[0, 0], 3, 6),
    "a call in training": (lambda net: net(X, training=True)[0, 0], 3, 6),
    "predict": (lambda net: net.predict(X, verbose=0)[0, 0], 3, 6),
    "predict_on_batch": (lambda net: net.predict_on_batch(X)[0, 0], 3, 6),
    "evaluate": (lambda net: net.evaluate(X, X, verbose=0), 4, 25),
    "test_on_batch": (lambda net: net.test_on_batch(X, X), 4, 25),
}
TRAINED = {
    "train_on_batch": (lambda net: net.train_on_batch(X, X), 4, 25),
    "fit": (lambda net: net.fit(X, X, verbose=0).history["loss"][0], 4, 25),
}
REFUSED = {(use, "a layer") for use in TRAINED}  # until it is compiled again


@pytest.fixture
def net(monkeypatch):
    monkeypatch.setattr(Base, "scale", 1.0)
    net = Net()
    net.compile(cdl.optimizers.SGD(0.0), "mse")
    return net


@pytest.mark.parametrize("change", CHANGES)
def test_it_counts_in_each_use(net, change):
    uses = ASKED if change == "a layer" else {**ASKED, **TRAINED}
    for use, before, _ in uses.values():
        assert use(net) == before
    CHANGES[change](net)
    found = {name: use(net) for name, (use, _, _) in uses.items() if name != "test_on_batch"}
    assert found == {name: uses[name][2] for name in found}


@pytest.mark.parametrize(
    ("use", "change"),
    [pair for pair in itertools.product([*ASKED, *TRAINED], CHANGES) if pair not in REFUSED],
)
def test_it_counts_in_the_first_use_after_it(net, use, change):
    run, before, after = {**ASKED, **TRAINED}[use]
    assert run(net) == before
    CHANGES[change](net)
    if use == "test_on_batch":
        net.reset_metrics()
    assert run(net) == after


def test_training_goes_on_with_another_layer_after_compile(net):
    net.fit(X, X, verbose=0)
    CHANGES["a layer"](net)
    with pytest.raises(ValueError, match=r"since training began: .* call compile"):
        net.fit(X, X, verbose=0)
    net.compile(cdl.optimizers.SGD(0.0), "mse")
    assert net.fit(X, X, verbose=0).history["loss"] == [25]


def test_another_layer_may_give_another_width(net):
    assert net.predict(X, verbose=0).shape == (4, 3)
    net.array = 1.0
    net.dense = layers.Dense(5)
    assert net(X).shape == net.predict(X, verbose=0).shape == (4, 5)
    assert net.output_shape == (None, 5)


def test_built_in_layers_heed_what_is_set_after_their_first_use():
    model = cdl.Sequential([layers.Dense(3, kernel_initializer="ones"), layers.Dropout(0.0)])
    model.compile(cdl.optimizers.SGD(0.0), "mse")
    assert model.fit(X, X, verbose=0).history["loss"] == [4]
    assert model.predict(X, verbose=0)[0, 0] == 3
    model.layers[0].activation = "relu"
    model.layers[1].rate = 0.5
    assert set(model(X, training=True).ravel()) == {0, 6}
    model.layers[0].activation = lambda x: 2 * x
    assert model(X)[0, 0] == model.predict(X, verbose=0)[0, 0] == 6
    assert model.fit(X, X, verbose=0).history["loss"] != [4]
    model.layers[0].activation = None
    assert model(X)[0, 0] == 3


@pytest.mark.parametrize("rule", ["l2", {"class_name": "L2", "config": {"l2": 0.01}}])
@pytest.mark.parametrize("used", [False, True])
def test_a_regularizer_is_set_by_name(net, rule, used):
    net(X)
    if used:
        assert net.fit(X, X, verbose=0).history["loss"] == [4]
    net.dense.kernel.regularizer = rule
    assert net.losses == pytest.approx([0.09])
    assert net.fit(X, X, verbose=0).history["loss"] == pytest.approx([4.09])


@pytest.mark.parametrize("used", [False, True])
def test_a_constraint_is_set_by_name(net, used):
    net(X)
    if used:
        net.fit(X, X, verbose=0)
    net.dense.kernel.constraint = "unit_norm"
    net.fit(X, X, verbose=0)
    np.testing.assert_allclose(net.dense.kernel.numpy(), 3**-0.5, rtol=1e-4)


def test_a_rule_of_no_such_name_is_refused_and_the_one_before_stays(net):
    net(X)
    net.dense.kernel.regularizer = "l1"
    before = net.dense.kernel.regularizer
    with pytest.raises(ValueError, match="l7"):
        net.dense.kernel.regularizer = "l7"
    assert net.dense.kernel.regularizer is before


def test_nothing_is_traced_again_without_a_change(net):
    traces = []
    call = Net.call

    class Counting(Net):
        def call(self, x):
            traces.append(1)
            return call(self, x)

    net = Counting()
    net.compile("sgd", "mse", metrics=["mae"])

    def use():
        for run, _, _ in {**ASKED, **TRAINED}.values():
            run(net)

    use()
    first = len(traces)
    net.alpha, net.array = float("1.0"), net.array
    use()
    assert len(traces) == first


def test_tuples_of_a_users_class_may_be_added_in_another_way():
    class Shape(tuple):
        __slots__ = ()

        def __radd__(self, other):
            raise TypeError("sizes alone")

    class Padded(layers.Layer):
        def __init__(self):
            super().__init__()
            self.of, self.widths = Shape((3, 1)), [Shape((1, 2))]

        def call(self, x):
            return x * self.of[0] + self.widths[0][1]

    model = cdl.Sequential([cdl.Input((3,)), Padded()])
    np.testing.assert_allclose(model(X), 3 * X + 2)
    model.layers[0].widths[0] = Shape((1, 4))
    np.testing.assert_allclose(model(X), 3 * X + 4)


RULED = {
    "Dense": (lambda: layers.Dense(3), ("kernel", "bias")),
    "Dense with LoRA": (lambda: layers.Dense(3, lora_rank=2), ("bias",)),
    "EinsumDense": (lambda: layers.EinsumDense("ab,bc->ac", 3, bias_axes="c"), ("kernel", "bias")),
    "BatchNormalization": (layers.BatchNormalization, ("gamma", "beta")),
    "LayerNormalization": (layers.LayerNormalization, ("gamma", "beta")),
    "PReLU": (layers.PReLU, ("alpha",)),
    "Embedding": (lambda: layers.Embedding(9, 3), ("embeddings",)),
    "Conv1D": (lambda: layers.Conv1D(3, 2), ("kernel", "bias")),
    "DepthwiseConv1D": (lambda: layers.DepthwiseConv1D(2), ("depthwise", "bias")),
    "SeparableConv1D": (lambda: layers.SeparableConv1D(3, 2), ("depthwise", "pointwise", "bias")),
    "LSTM": (lambda: layers.LSTM(3), ("kernel", "recurrent", "bias")),
}


@pytest.mark.parametrize(
    ("name", "of"), [(name, of) for name, (_, weights) in RULED.items() for of in weights]
)
def test_a_rule_set_as_an_attribute_of_a_layer_is_that_of_its_weight(name, of):
    deep = name in ("Conv1D", "DepthwiseConv1D", "SeparableConv1D", "LSTM")
    x = cdl.Input((5, 4) if deep else (4,), dtype="int32" if name == "Embedding" else "float32")
    layer = RULED[name][0]()
    model = cdl.Model(x, layers.Dense(1)(layers.Flatten()(layer(x))))
    for weight in layer.weights:
        weight.assign(np.ones(weight.shape))
    model.compile("sgd", "mse")
    data, y = np.ones((6, *x.shape[1:])), np.ones((6, 1))
    before = model.evaluate(data, y, verbose=0)
    owner = layer.cell if name == "LSTM" else layer
    setattr(owner, f"{of}_regularizer", "l2")
    found = model.evaluate(data, y, verbose=0)
    assert found > before + 0.01
    again = type(model).from_config(model.get_config())
    again.set_weights(model.get_weights())
    again.compile("sgd", "mse")
    assert again.evaluate(data, y, verbose=0) == found
    with pytest.raises(ValueError, match="l7"):
        setattr(owner, f"{of}_regularizer", "l7")
    assert model.evaluate(data, y, verbose=0) == found
    setattr(owner, f"{of}_regularizer", None)
    assert model.evaluate(data, y, verbose=0) == before
    if hasattr(owner, f"{of}_constraint"):
        setattr(owner, f"{of}_constraint", lambda w: w * 0)
        model.train_on_batch(data, y)
        assert sum(not np.any(weight.numpy()) for weight in layer.trainable_weights) >= 1
