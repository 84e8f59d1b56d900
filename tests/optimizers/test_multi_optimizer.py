"""MultiOptimizer beyond the comparison with Keras (tests/golden/cases/multi_optimizer.py)."""

import copy
import pickle

import numpy as np
import pytest

import cdl
from cdl.layers import Dense
from cdl.optimizers import SGD, Adam, LossScaleOptimizer, MultiOptimizer, OptimizerMap

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


HOLDERS = {
    "several": by_path,
    "scaled": lambda: LossScaleOptimizer(Adam(0.02)),
    "several scaled": lambda: LossScaleOptimizer(by_path()),
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_optimizers_within_that_have_not_learned_come_from_a_file_without_a_word(holder, tmp_path):
    net = compiled(HOLDERS[holder]())
    net.save(tmp_path / "net.keras")
    again = cdl.models.load_model(tmp_path / "net.keras")
    assert fit(net) == fit(again)
    same(net, again)
    for a, b in zip(net.optimizer.variables, again.optimizer.variables, strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


@pytest.mark.parametrize("holder", HOLDERS)
def test_optimizers_within_that_have_not_learned_begin_anew_with_weights_that_have(
    holder, tmp_path
):
    net = compiled(HOLDERS[holder]())
    fit(net)
    net.save_weights(tmp_path / "net.weights.h5")
    other = compiled(HOLDERS[holder]())
    other.load_weights(tmp_path / "net.weights.h5")
    same(net, other)
    net.compile(HOLDERS[holder](), "mse")
    assert fit(net) == fit(other)


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


def test_callbacks_set_the_rates_of_all():
    net = compiled(MultiOptimizer(OptimizerMap(SGD(0.1, name="s"), {".*a/.*": SGD(0.2, name="t")})))
    scheduler = cdl.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    logs = net.fit(X, Y, epochs=2, callbacks=[scheduler], verbose=0).history
    np.testing.assert_allclose(logs["learning_rate_s"], [0.05, 0.025])
    np.testing.assert_allclose(logs["learning_rate_t"], [0.1, 0.05])
    reducer = cdl.callbacks.ReduceLROnPlateau("loss", 0.1, patience=0, min_lr=0.025)
    logs = net.fit(X, Y, epochs=2, callbacks=[reducer], verbose=0).history
    np.testing.assert_allclose(logs["learning_rate_t"], [0.05, 0.05])
    assert float(net.optimizer.optimizers[1].learning_rate) == np.float32(0.025)


def test_averages_of_some_are_swapped():
    optimizer = MultiOptimizer(OptimizerMap(SGD(0.1), {".*a/.*": SGD(0.1, use_ema=True)}))
    net = compiled(optimizer)
    swap = cdl.callbacks.SwapEMAWeights()
    swap.set_model(net)
    net.train_on_batch(X, Y)
    with pytest.raises(ValueError, match="got use_ema=False"):
        other = compiled()
        fit(other)
        other.evaluate(X, Y, callbacks=[swap], verbose=0)
    swap.set_model(net)
    average = optimizer.optimizers[0]._model_variables_moving_average[0]
    average.assign(np.ones((3, 4)))
    before = net.get_weights()
    swap.on_test_begin()
    np.testing.assert_array_equal(net.layers[0].kernel, 1.0)
    np.testing.assert_array_equal(net.layers[1].kernel, before[2])
    swap.on_test_end()
    np.testing.assert_array_equal(net.layers[0].kernel, before[0])


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


@pytest.mark.parametrize("kind", ["several", "accumulating", "written"])
def test_a_scaled_loss_leaves_out_bad_batches(kind):
    class Written(cdl.optimizers.Optimizer):
        def update_step(self, gradient, variable, learning_rate):
            self.assign_sub(variable, learning_rate * gradient)

    def made():
        if kind == "several":
            return by_path()
        return SGD(0.1, gradient_accumulation_steps=2) if kind == "accumulating" else Written(0.1)

    scaled = cdl.optimizers.LossScaleOptimizer(made(), initial_scale=4.0)
    net, other = compiled(scaled), compiled(made())
    bad = np.full_like(Y, np.inf)
    batches = [(X[:8], Y[:8]), (X[8:16], bad[8:16]), (X[16:], Y[16:]), (X[:8], Y[:8])]
    for x, y in batches:
        if np.isfinite(y).all():
            net.train_on_batch(x, y)
            other.train_on_batch(x, y)
        else:
            with pytest.warns(UserWarning, match="has become inf"):
                net.train_on_batch(x, y)
    same(net, other)
    assert float(scaled.dynamic_scale) == 2.0
    assert scaled.inner_optimizer.step == other.optimizer.step == 3
