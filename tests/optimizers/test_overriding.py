"""Optimizers of the core's with methods of one's own around their steps."""

import numpy as np
import pytest
from optimizers.small_net import X, Y, fit, net

import cdl
from cdl import optimizers


def centered(grads):
    return [np.asarray(g) - np.asarray(g).mean() for g in grads]


class Centered(optimizers.Adam):
    calls = 0

    def apply(self, grads, trainable_variables=None):
        self.calls += 1
        super().apply(centered(grads), trainable_variables)


class CenteredPairs(optimizers.Adam):
    def apply_gradients(self, grads_and_vars):
        grads, variables = zip(*grads_and_vars, strict=True)
        return super().apply_gradients(zip(centered(grads), variables, strict=True))


def by_hand(optimizer, epochs):
    """Weights after steps as Keras makes them: gradients, apply, and averages at the end."""
    model = net("sgd")
    variables = model.trainable_variables

    def loss(x, y):
        return cdl.ops.mean(cdl.ops.square(model(x) - y))

    step = cdl.value_and_grad(loss, variables=variables)
    factor = optimizer.loss_scale_factor or 1.0
    for _ in range(epochs):
        for start in range(0, 30, 7):
            rows = slice(start, start + 7)
            grads = step(X[rows].astype("float32"), Y[rows].astype("float32"))[1]
            grads = centered([np.asarray(g) * np.float32(factor) for g in grads])
            optimizer.apply(grads, variables)
    optimizer.finalize_variable_values(variables)
    return model.get_weights()


@pytest.mark.parametrize("cls", [Centered, CenteredPairs])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"clipnorm": 0.1, "weight_decay": 0.1},
        {"global_clipnorm": 0.1, "loss_scale_factor": 8.0},
        {"gradient_accumulation_steps": 2},
        {"use_ema": True, "ema_momentum": 0.5},
        {"use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 3},
    ],
    ids=str,
)
def test_fit_calls_apply_in_each_step(cls, options):
    model = net(cls(0.05, **options))
    fit(model, epochs=3)
    wanted = by_hand(optimizers.Adam(0.05, **options), 3)
    for a, b in zip(model.get_weights(), wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)
    assert model.optimizer.step == 15


def test_batches_call_apply_too():
    model, plain = net(Centered(0.05)), net(optimizers.Adam(0.05))
    for each in (model, plain):
        each.train_on_batch(X, Y)
    assert model.optimizer.calls == 1
    assert not np.allclose(model.get_weights()[0], plain.get_weights()[0])


def test_it_may_leave_out_the_step():
    class Never(optimizers.Adam):
        def apply(self, grads, trainable_variables=None):
            pass

    model = net(Never(0.05))
    before = model.get_weights()
    fit(model)
    assert all(map(np.array_equal, before, model.get_weights()))


def test_compiling_all_refuses_it():
    with pytest.raises(ValueError, match=r"Centered\.apply of one's own"):
        net(Centered(), jit_compile=True)


def test_within_others():
    model = net(optimizers.LossScaleOptimizer(Centered(0.05), initial_scale=2.0))
    fit(model)
    assert model.optimizer.inner_optimizer.calls == 5
    assert model.optimizer.inner_optimizer.step == 5


@pytest.mark.parametrize(
    "name", ["scale_loss", "_clip_gradients", "_apply_weight_decay", "_backend_update_step"]
)
def test_what_steps_do_not_call_is_refused(name):
    check_refused(type("Own", (optimizers.SGD,), {name: lambda self, *args: args[0]}), name)


def test_apply_alone_refuses_it_too():
    own = type("Own", (optimizers.SGD,), {"_clip_gradients": lambda self, grads: grads})
    weight = cdl.Variable(np.ones(2))
    with pytest.raises(NotImplementedError, match="Own: _clip_gradients must not be overridden"):
        own().apply([np.ones(2)], [weight])
    assert (weight.numpy() == 1).all()


def test_a_rate_of_ones_own_is_refused():
    class Own(optimizers.SGD):
        @property
        def learning_rate(self):
            return 0.1

    check_refused(Own, "learning_rate")


def check_refused(cls, name):
    model = net(cls())
    before = model.get_weights()
    with pytest.raises(NotImplementedError, match=f"Own: {name} must not be overridden"):
        fit(model)
    assert all(map(np.array_equal, before, model.get_weights()))
    model.compile("sgd", "mse")
    fit(model)


def test_values_at_the_end_of_training_and_clipping_of_written_steps():
    class Own(optimizers.Optimizer):
        ended = False

        def update_step(self, gradient, variable, learning_rate):
            self.assign_sub(variable, learning_rate * gradient)

        def _clip_gradients(self, grads):
            return [0 * g for g in grads]

        def finalize_variable_values(self, var_list):
            self.ended = True

    model = net(Own(0.1))
    before = model.get_weights()
    fit(model)
    assert all(map(np.array_equal, before, model.get_weights()))
    assert model.optimizer.ended
