"""Arguments that nothing looks at may be left out: targets of no use, the name of the one input."""

import numpy as np
import pytest

import cdl
from cdl.layers import Dense, Input

X = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)


def size(y_true, y_pred):
    return cdl.ops.mean(y_pred**2, axis=-1)


def net(loss=size, **options):
    model = cdl.Sequential([Input((3,)), Dense(2, kernel_initializer="ones")])
    model.compile("sgd", loss, **options)
    return model


class Size(cdl.losses.Loss):
    def call(self, y_true, y_pred):
        return cdl.ops.sum(cdl.ops.abs(y_pred), -1)


@pytest.mark.parametrize("loss", [size, Size()])
def test_a_loss_that_ignores_targets_needs_none(loss):
    with_y, without = net(loss), net(loss)
    expected = with_y.fit(X, np.zeros((8, 2)), epochs=2, validation_split=0.25, verbose=0)
    found = without.fit(X, epochs=2, validation_split=0.25, verbose=0)
    assert found.history == expected.history
    assert without.evaluate(X, verbose=0) == with_y.evaluate(X, np.zeros((8, 2)), verbose=0)
    assert without.train_on_batch(X) == with_y.train_on_batch(X, np.zeros((8, 2)))
    assert without.fit(X, np.zeros((8, 5)), verbose=0).history["loss"]
    batches = iter([(X,), (X,)])
    assert without.fit(batches, steps_per_epoch=2, verbose=0).history["loss"]


@pytest.mark.parametrize(
    ("loss", "metrics"),
    [("mse", None), (size, ["mae"]), (lambda y_true, y_pred: y_pred - y_true, None)],
)
def test_any_other_needs_them(loss, metrics):
    model = net(loss, metrics=metrics)
    with pytest.raises(ValueError, match="fit: y must be given for the loss"):
        model.fit(X, verbose=0)


def test_a_dict_of_one_is_for_the_one_input_whose_name_nobody_chose():
    model = net()
    expected = model.predict(X, verbose=0)
    for x in ({"a": X}, {"input_layer": X}):
        np.testing.assert_array_equal(net().predict(x, verbose=0), expected)
    np.testing.assert_array_equal(model({"a": X}), expected)
    functional = cdl.Model(i := Input((3,)), Dense(2, kernel_initializer="ones")(i))
    np.testing.assert_array_equal(functional.predict({"a": X}, verbose=0), expected)
    model.fit({"a": X}, verbose=0)


def test_a_name_that_was_chosen_counts():
    model = cdl.Sequential([Input((3,), name="chosen"), Dense(2)])
    with pytest.raises(ValueError, match=r"the names of the inputs, \['chosen'\], got \['a'\]"):
        model.predict({"a": X}, verbose=0)
    with pytest.raises(ValueError, match="must have as keys the names of the inputs"):
        net().predict({"a": X, "b": X}, verbose=0)
