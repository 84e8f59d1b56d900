"""Subclasses made of `(inputs, outputs)` whose own `call` goes on from that of the graph."""

import numpy as np
import pytest

import cdl


def made_of(cls, *more):
    """Model of a class around a graph, whose layers `more` stand between two dense ones."""
    cdl.utils.set_random_seed(3)
    inputs = y = cdl.Input((3,))
    for layer in (cdl.layers.Dense(4, activation="tanh"), *more, cdl.layers.Dense(2, name="out")):
        y = layer(y)
    return cls(inputs, y)


class Doubled(cdl.Model):
    def call(self, inputs, training=None):
        return 2 * super().call(inputs, training=training)


class Named(cdl.Model):
    def call(self, inputs, training=None, mask=None):
        y = super().call(inputs, training=training, mask=mask)
        return {"all": y, "total": cdl.ops.sum(y, -1)}


class Wider(cdl.Model):
    def call(self, inputs):
        y = super().call(inputs)
        return cdl.ops.concatenate([y, y], -1)


class Summed(cdl.Model):
    def call(self, inputs):
        one, other = super().call(inputs)
        return one + other


class DoubledStack(cdl.Sequential):
    def call(self, inputs, training=None):
        return 2 * super().call(inputs, training=training)


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(6, 3)).astype("float32")


@pytest.fixture(params=["call", "predict", "eager", "tape"])
def outputs(request):
    """Function that computes outputs of a model in one of several ways."""

    def on_tape(model, x):
        with cdl.GradientTape() as tape:
            y = model(x)
        assert len(tape.gradient(y, model.trainable_variables)) == 4
        return y

    return {
        "call": lambda model, x: model(x),
        "predict": lambda model, x: model.predict(x, verbose=0),
        "eager": lambda model, x: model.call(x),
        "tape": on_tape,
    }[request.param]


def test_a_call_gets_the_outputs_of_the_graph(x, outputs):
    plain, doubled = made_of(cdl.Model), made_of(Doubled)
    np.testing.assert_allclose(outputs(doubled, x), 2 * plain.predict(x, verbose=0), rtol=1e-6)


def test_a_call_of_the_model_itself_is_that_of_its_graph(x):
    plain = made_of(cdl.Model)
    np.testing.assert_allclose(plain.call(x), plain(x), rtol=1e-6)
    assert plain.call(cdl.Input((3,))).shape == (None, 2)


@pytest.mark.parametrize("eagerly", [True, False])
def test_such_a_model_learns_as_the_same_layers_do(x, eagerly):
    around, model = made_of(Doubled), made_of(cdl.Model)
    spelled = cdl.Model(model.input, 2 * model.output)
    histories = []
    for each in (around, spelled):
        each.compile(cdl.optimizers.SGD(0.1), "mse", run_eagerly=eagerly)
        fitted = each.fit(x, np.ones((6, 2)), batch_size=3, epochs=3, shuffle=False, verbose=0)
        histories.append(fitted.history["loss"])
    np.testing.assert_allclose(histories[0], histories[1], rtol=1e-5)


@pytest.mark.parametrize("cls", [Doubled, DoubledStack])
def test_the_training_mode_goes_on_to_the_layers(x, cls):
    model = made_of(Doubled, cdl.layers.Dropout(0.999))
    if cls is DoubledStack:
        model = DoubledStack(model.layers)
    dropped = model(x, training=True)
    np.testing.assert_allclose(dropped, np.zeros((6, 2)))  # biases are 0
    assert np.abs(model(x)).min() > 0


def test_statistics_of_the_layers_move(x):
    layer = cdl.layers.BatchNormalization()
    model = made_of(Doubled, layer)
    model.compile("sgd", "mse")
    model.fit(x, np.ones((6, 2)), verbose=0)
    assert np.abs(layer.moving_mean.numpy()).max() > 0


def test_outputs_may_be_nested_otherwise_than_those_of_the_graph(x):
    plain, named = made_of(cdl.Model).predict(x, verbose=0), made_of(Named)
    for found in (named(x), named.predict(x, verbose=0)):
        np.testing.assert_allclose(found["all"], plain, rtol=1e-6)
        np.testing.assert_allclose(found["total"], plain.sum(-1), rtol=1e-5, atol=1e-6)
    named.compile("sgd", {"all": "mse", "total": "mae"})
    history = named.fit(x, {"all": np.ones((6, 2)), "total": np.ones(6)}, verbose=0).history
    np.testing.assert_allclose(history["all_loss"], ((plain - 1) ** 2).mean(), rtol=1e-5)
    np.testing.assert_allclose(history["total_loss"], np.abs(plain.sum(-1) - 1).mean(), rtol=1e-5)
    assert named.output.shape == (None, 2)  # as in Keras that of the graph


def test_outputs_may_have_another_shape_than_those_of_the_graph(x):
    model = made_of(Wider)
    assert model.predict(x, verbose=0).shape == (6, 4)
    model.compile("sgd", "mse")
    model.fit(x, np.ones((6, 4)), verbose=0)
    with pytest.raises(ValueError, match="4"):
        model.fit(x, np.ones((6, 3)), verbose=0)


def test_graphs_of_several_inputs_and_outputs(x):
    one, other, dense = cdl.Input((3,)), cdl.Input((3,)), cdl.layers.Dense(2)
    for inputs, data in (([one, other], [x, -x]), ((one, other), (x, -x))):
        model = Summed(inputs, [dense(one), dense(other)])
        assert model.predict(data, verbose=0).shape == (6, 2)
        np.testing.assert_allclose(model(data), np.zeros((6, 2)), atol=1e-6)


def test_such_a_model_may_be_part_of_another_one(x):
    inner, inputs = made_of(Doubled), cdl.Input((3,))
    outer = cdl.Model(inputs, inner(inputs))
    np.testing.assert_allclose(outer.predict(x, verbose=0), inner.predict(x, verbose=0), rtol=1e-6)


def test_saved_and_loaded_it_gives_the_same(x, tmp_path):
    model = made_of(Doubled)
    model.save(tmp_path / "model.keras")
    loaded = cdl.models.load_model(tmp_path / "model.keras", custom_objects={"Doubled": Doubled})
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))


def test_without_a_graph_there_is_nothing_to_go_on_from(x):
    class Bare(cdl.Model):
        def call(self, inputs):
            return super().call(inputs)

    with pytest.raises(NotImplementedError, match="Bare must have a call"):
        Bare()(x)
