"""MultiOptimizer: what is not compared with Keras (tests/golden/cases/multi_optimizer.py)."""

import copy
import pickle

import numpy as np
import pytest

import cdl
from cdl.layers import Dense
from cdl.optimizers import SGD, Adam, MultiOptimizer, OptimizerMap

X = np.random.default_rng(0).normal(size=(24, 3)).astype(np.float32)
Y = X.sum(1, keepdims=True)


def by_path(**options):
    return MultiOptimizer(OptimizerMap(SGD(0.1, momentum=0.9), {".*a/.*": Adam(0.01)}), **options)


def compiled(optimizer=None, **options):
    cdl.utils.set_random_seed(3)
    net = cdl.Sequential([cdl.Input((3,)), Dense(4, name="a"), Dense(1, name="b")])
    net.compile(optimizer or by_path(), "mse", **options)
    return net


def fit(net, epochs=2):
    return net.fit(X, Y, batch_size=5, epochs=epochs, shuffle=False, verbose=0).history["loss"]


def same(one, another):
    for a, b in zip(one.get_weights(), another.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_model_in_a_file_goes_on_with_all_its_optimizers(tmp_path):
    net = compiled()
    fit(net)
    net.save(tmp_path / "net.keras")
    again = cdl.models.load_model(tmp_path / "net.keras")
    assert [type(each) for each in again.optimizer.optimizers] == [Adam, SGD]
    for a, b in zip(net.optimizer.variables, again.optimizer.variables, strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
    assert fit(net) == fit(again)
    same(net, again)


def test_two_optimizers_of_one_kind_learn_as_that_one():
    net = compiled(MultiOptimizer(OptimizerMap(Adam(0.02), {".*b/.*": Adam(0.02)})))
    other = compiled(Adam(0.02))
    np.testing.assert_allclose(fit(net), fit(other), rtol=1e-6)
    for a, b in zip(net.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_copies_learn_by_themselves(copied):
    net = compiled()
    fit(net)
    again = copied(net)
    assert fit(net) == fit(again)
    same(net, again)
    assert net.optimizer.optimizers[0] is not again.optimizer.optimizers[0]


def test_the_steps_are_compiled():
    assert fit(compiled(jit_compile=True)) == fit(compiled())


def test_one_rate_for_all_cannot_be_scheduled():
    def halved(epoch, rate):
        return rate / 2

    scheduler = cdl.callbacks.LearningRateScheduler(halved)
    with pytest.raises(ValueError, match="must have a `learning_rate`, got a MultiOptimizer"):
        compiled().fit(X, Y, callbacks=[scheduler], verbose=0)


def test_the_rate_of_one_may_be_set_between_epochs():
    net = compiled()
    fit(net)
    net.optimizer.optimizers[0].learning_rate = 0.0
    before = net.layers[0].get_weights()
    fit(net)
    np.testing.assert_array_equal(net.layers[0].get_weights()[0], before[0])


def test_averages_become_the_weights_of_their_optimizer_alone():
    optimizer = MultiOptimizer(OptimizerMap(SGD(0.1), {".*a/.*": SGD(0.1, use_ema=True)}))
    net = compiled(optimizer)
    fit(net)
    (average, _) = optimizer.optimizers[0]._model_variables_moving_average
    np.testing.assert_array_equal(net.layers[0].kernel, average.numpy())
    assert list(optimizer.averages) == net.layers[0].trainable_variables


def test_the_scale_of_the_loss_changes_nothing_in_fit():
    assert fit(compiled(by_path(loss_scale_factor=4.0))) == fit(compiled())
