"""`value_and_grad` and `trainable_variables` within a `train_step`: found again, never stale."""

import numpy as np
import pytest

import cdl
from cdl import layers, ops
from cdl.trainers import compiled_function

X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
Y = X.sum(1, keepdims=True)


class Net(cdl.Model):
    """A model whose step differentiates a function that it makes anew each time."""

    def __init__(self, way, rate=0.0):
        super().__init__()
        self.hidden, self.drop, self.last = layers.Dense(4), layers.Dropout(rate), layers.Dense(1)
        self.way, self.factor = way, 1.0

    def call(self, inputs, training=None):
        return self.last(self.drop(self.hidden(inputs), training=training))

    def error(self, x, y):
        return ops.mean(ops.square(self(x, training=True) - y)) * self.factor

    def train_step(self, data):
        x, y = data
        weights = self.trainable_variables
        if self.way == "method":
            function = self.error
        elif self.way == "closure":
            model = self

            def function(x, y):
                return model.error(x, y)
        else:  # what it reads differs from batch to batch
            factor = float(self.optimizer.iterations) + 1.0

            def function(x, y):
                return self.error(x, y) * factor

        value, gradients = cdl.value_and_grad(function, variables=weights)(x, y)
        self.optimizer.apply(gradients, weights)
        return {"loss": value}


def net(way, rate=0.0, learning=0.0):
    cdl.utils.set_random_seed(1)
    model = Net(way, rate)
    model.build((None, 3))
    model.compile(cdl.optimizers.SGD(learning))
    return model


def fit(model, *more, x=X, y=Y, **options):
    """The loss of each batch."""
    seen = []
    note = cdl.callbacks.LambdaCallback(
        on_train_batch_end=lambda _, logs: seen.append(logs["loss"])
    )
    more = [note, *more]
    model.fit(x, y, batch_size=10, shuffle=False, verbose=0, callbacks=more, **options)
    return seen


@pytest.mark.parametrize("way", ["method", "closure"])
def test_a_function_made_in_each_step_is_traced_once_a_fit(way, monkeypatch):
    traced, trace = [], compiled_function._Traced
    monkeypatch.setattr(
        compiled_function, "_Traced", lambda *args: traced.append(1) or trace(*args)
    )
    model = net(way)
    assert len(fit(model, epochs=3)) == 12
    assert len(traced) == 1


def test_a_closure_over_another_number_is_another_function():
    model, plain = net("numbers"), net("method")
    np.testing.assert_allclose(fit(model), np.multiply(fit(plain), [1, 2, 3, 4]), rtol=1e-5)


@pytest.mark.parametrize("way", ["method", "closure"])
def test_attributes_that_change_between_steps_are_seen(way):
    model, plain = net(way), net(way)

    def doubled(batch, logs=None):
        model.factor = 2.0 * model.factor

    found = fit(model, cdl.callbacks.LambdaCallback(on_train_batch_end=doubled))
    np.testing.assert_allclose(found, np.multiply(fit(plain), [1, 2, 4, 8]), rtol=1e-5)


def test_masks_of_dropout_differ_from_step_to_step():
    model = net("method", rate=0.5)
    assert len(set(fit(model, x=np.tile(X[:10], (4, 1)), y=np.tile(Y[:10], (4, 1))))) == 4


def test_steps_learn_as_the_compiled_loss_does():
    model, whole = net("closure", learning=0.1), net("closure", learning=0.1)
    fit(model, epochs=2)
    plain = cdl.Sequential([cdl.Input((3,)), layers.Dense(4), layers.Dense(1)])
    plain.set_weights(whole.get_weights())
    plain.compile(cdl.optimizers.SGD(0.1), "mse")
    fit(plain, epochs=2)
    for one, other in zip(model.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def names(model):
    return [each.path for each in model.trainable_variables]


def test_trainable_variables_follow_flags_layers_and_lists():
    model = cdl.Sequential([cdl.Input((3,)), layers.Dense(4), layers.Dense(1)])
    model.compile("sgd", "mse")
    model.train_on_batch(X, Y)
    every = names(model)
    assert len(every) == 4
    found = model.trainable_variables
    found.clear()  # a list of the caller's
    assert names(model) == every
    model.layers[0].kernel.trainable = False
    assert names(model) == every[1:]
    model.layers[0].kernel.trainable = True
    model.layers[1].trainable = False
    assert names(model) == every[:2]
    model.layers[1].trainable = True
    model.add(layers.Dense(2))
    assert len(names(model)) == 6
    model.trainable = False
    assert names(model) == []


def test_trainable_variables_of_a_model_of_ones_own_follow_its_lists():
    model = net("method")
    model.more = [layers.Dense(2)]
    fit(model)
    assert len(names(model)) == 4
    model.more[0].build((None, 3))
    assert len(names(model)) == 6
    made = layers.Dense(2)
    made.build((None, 3))
    model.more.append(made)
    assert len(names(model)) == 8
    model.more.pop()
    assert len(names(model)) == 6
    model.scale = cdl.Variable([1.0], name="scale")
    assert len(names(model)) == 7
