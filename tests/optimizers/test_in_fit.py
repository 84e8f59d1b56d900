"""Every optimizer and option runs inside the compiled epoch, on any threads."""

import numpy as np
import pytest
import reference_optimizers
from programs import dense, learner, random_weight, weight

from cdl import Sequential, _core, callbacks, optimizers
from cdl._ir.lowering import Lowering
from cdl.layers import Dense, Input
from cdl.optimizers import SGD, Adam, schedules
from cdl.trainers import train_function as engines

NAMES = ["sgd", "rmsprop", "adam", "adamw", "adamax", "nadam", "lamb", "adagrad", "adadelta"]
NAMES += ["ftrl", "lion", "adafactor", "schedulefreeadamw", "muon"]
OPTIONS = [
    {"weight_decay": 0.1},
    {"clipnorm": 0.1},
    {"clipvalue": 0.1},
    {"global_clipnorm": 0.1},
    {"use_ema": True, "ema_overwrite_frequency": 2},
    {"gradient_accumulation_steps": 3},
    {"learning_rate": schedules.CosineDecay(0.1, 20, alpha=0.1)},
]
RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 6)).astype(np.float32)
Y = RNG.normal(size=(64, 3)).astype(np.float32)


def net(**options):
    layers = [Dense(9, "tanh", **options), Dense(3, **options)]
    model = Sequential([Input((6,)), *layers])
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(size=w.shape) * 0.4 for w in model.get_weights()])
    return model


def optimizer_of(name, options):
    cls = type(optimizers.get(name))
    return cls(**options)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("options", [{}, *OPTIONS], ids="-".join)
def test_fit_comes_back_once_an_epoch(monkeypatch, name, options):
    calls = []
    train = engines.TrainFunction._train

    def counted(self, steps, seconds):
        done = train(self, steps, 1e9)
        calls.append(done)
        return done

    monkeypatch.setattr(engines.TrainFunction, "_train", counted)
    model = net(kernel_regularizer="l2", bias_constraint="max_norm")
    model.compile(optimizer_of(name, options), "mse")
    looks = [callbacks.Callback()]  # else several epochs would be one call
    model.fit(X, Y, batch_size=8, epochs=3, verbose=0, callbacks=looks)
    assert calls == [8, 8, 8]
    assert all(np.isfinite(w).all() for w in model.get_weights())


RULES = {
    "plain": {},
    "clipnorm": {"clipnorm": 0.1, "weight_decay": 0.1},
    "global": {"global_clipnorm": 0.1, "gradient_accumulation_steps": 2},
    "averages": {"ema_momentum": 0.9, "ema_overwrite_frequency": 3, "clipvalue": 0.1},
}


def weights_after(row, rules, threads):
    rng = np.random.default_rng(2)
    program = Lowering()
    x = program.input((20,))
    hidden = dense(program, x, random_weight(rng, 20, 65), weight(rng.normal(size=65)))
    y = dense(program, hidden, random_weight(rng, 65, 10), weight(np.zeros(10)))
    program.output(y)
    program.loss("mean_squared_error", program.input((10,), role="y"), y)
    variables = program.variables
    rules = {**rules, "penalties": {variables[0]: (0.01, 0.02)}}
    for rule in ("averages", "accumulators"):
        wanted = "ema_momentum" if rule == "averages" else "gradient_accumulation_steps"
        if wanted in rules:
            rules[rule] = {v: _core.Parameter(v.shape, v.storage.matrix) for v in variables}
    optimizer = learner(row, variables, **reference_optimizers.OPTIMIZER_HYPERS.get(row, {}))
    executor = _core.Executor(
        program, 50, training=True, optimizer=optimizer, rules=rules, threads=threads
    )
    executor.begin([rng.normal(size=(200, 20)), rng.normal(size=(200, 10))], 50)
    executor.train(4, 100.0, [0.01], 0, 0)
    return [v.numpy() for v in variables]


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("row", _core.OPTIMIZERS)
def test_the_same_bits_by_any_number_of_threads(row, rules):
    one = weights_after(row, RULES[rules], 1)
    for threads in (2, 3):
        for a, b in zip(weights_after(row, RULES[rules], threads), one, strict=True):
            np.testing.assert_array_equal(a, b)


def test_the_weights_are_their_averages_after_fit_and_not_before():
    plain, averaged = net(), net()
    plain.compile(SGD(0.1), "mse")
    averaged.compile(SGD(0.1, use_ema=True, ema_momentum=0.5), "mse")
    seen = []
    for _ in range(4):
        plain.train_on_batch(X, Y)
        seen.append(plain.get_weights())
    history = averaged.fit(X, Y, batch_size=64, epochs=4, shuffle=False, verbose=0).history
    expected = seen[0]
    for weights in seen[1:]:
        expected = [0.5 * a + 0.5 * w for a, w in zip(expected, weights, strict=True)]
    for got, want in zip(averaged.get_weights(), expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-7)
    again = net()
    again.compile(SGD(0.1), "mse")
    np.testing.assert_allclose(
        history["loss"], again.fit(X, Y, batch_size=64, epochs=4, verbose=0).history["loss"]
    )


def test_biases_can_be_left_out_of_the_decay():
    model = net()
    optimizer = SGD(0.5, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias"], var_list=[model.layers[1].kernel])
    free, before = net(), model.get_weights()
    free.compile(SGD(0.5), "mse")
    model.compile(optimizer, "mse")
    for each in (free, model):
        each.train_on_batch(X, Y)
    decayed = [a - b for a, b in zip(free.get_weights(), model.get_weights(), strict=True)]
    np.testing.assert_allclose(decayed[0], before[0] * 0.25, rtol=1e-4, atol=1e-6)
    for rest in decayed[1:]:
        np.testing.assert_array_equal(rest, np.zeros_like(rest))
    with pytest.raises(ValueError, match="must be called before the optimizer is built"):
        optimizer.exclude_from_weight_decay(var_names=["kernel"])


def test_gradients_of_several_batches_are_one_of_them_together():
    one, many = net(), net()
    one.compile(Adam(0.1), "mse")
    many.compile(Adam(0.1, gradient_accumulation_steps=4), "mse")
    one.fit(X, Y, batch_size=64, epochs=3, shuffle=False, verbose=0)
    many.fit(X, Y, batch_size=16, epochs=3, shuffle=False, verbose=0)
    assert int(many.optimizer.iterations) == 3
    for got, want in zip(many.get_weights(), one.get_weights(), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_a_schedule_of_a_user_is_asked_for_a_few_steps_at_a_time():
    asked = []

    class Slow(schedules.LearningRateSchedule):
        def __call__(self, step):
            asked.append(step)
            return 0.1 / (1 + step)

    rates = SGD(Slow()).rates(5, 10_000)
    assert asked == list(range(5, 5 + len(rates)))
    assert len(rates) <= 256
    plain, own = net(), net()
    plain.compile(SGD(schedules.InverseTimeDecay(0.1, 1, 1.0)), "mse")
    own.compile(SGD(Slow()), "mse")
    for model in (plain, own):
        model.fit(X, Y, batch_size=1, epochs=6, shuffle=False, verbose=0)
    for a, b in zip(plain.get_weights(), own.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
