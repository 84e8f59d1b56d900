"""LossScaleOptimizer: bad gradients change nothing, all else is the same."""

import numpy as np
import pytest

import cdl
from cdl import losses, optimizers
from cdl.optimizers import SGD, Adam, LossScaleOptimizer

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3)).astype(np.float32)
Y = RNG.normal(size=(40, 2)).astype(np.float32)
BAD = X.copy()
BAD[3] = np.nan


def model_with(optimizer, loss="mse"):
    cdl.utils.set_random_seed(1)
    model = cdl.Sequential([cdl.Input((3,)), cdl.layers.Dense(4, "tanh"), cdl.layers.Dense(2)])
    model.compile(optimizer, loss)
    return model


def test_good_data_train_as_with_the_inner_optimizer():
    weights = []
    for wrap in (lambda inner: inner, LossScaleOptimizer):
        model = model_with(wrap(Adam(0.01, clipnorm=0.5, weight_decay=0.01)))
        history = model.fit(X, Y, batch_size=16, epochs=4, shuffle=False, verbose=0)
        weights.append([*model.get_weights(), history.history["loss"], model.evaluate(X, Y)])
    for inner, outer in zip(*weights, strict=True):
        np.testing.assert_array_equal(inner, outer)


@pytest.mark.filterwarnings("ignore:.*the loss has become nan")
@pytest.mark.filterwarnings("ignore::cdl.UntracedWarning")
@pytest.mark.parametrize("loss", ["mse", losses.Dice(), lambda y, p: ((y - p) ** 2).mean(-1)])
def test_batch_with_nan_is_as_if_it_had_not_been(loss):
    model = model_with(LossScaleOptimizer(Adam(0.01)), loss)
    model.fit(BAD, Y, batch_size=8, epochs=3, shuffle=False, verbose=0)
    without = model_with(Adam(0.01), loss)
    without.fit(X[8:], Y[8:], batch_size=8, epochs=3, shuffle=False, verbose=0)
    for a, b in zip(model.get_weights(), without.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert int(model.optimizer.iterations) == 12


@pytest.mark.filterwarnings("ignore:.*the loss has become nan")
def test_scale_halves_and_doubles():
    optimizer = LossScaleOptimizer(SGD(0.01), initial_scale=64.0, dynamic_growth_steps=3)
    model = model_with(optimizer)
    model.fit(BAD, Y, batch_size=8, epochs=2, shuffle=False, verbose=0)
    # bad, good x 3: doubled, good; bad, good x 3: doubled, good
    assert optimizer.scale_loss(1.0) == 64.0
    assert int(optimizer.step_counter) == 1


@pytest.mark.filterwarnings("ignore:.*the loss has become nan")
def test_schedule_counts_the_steps_that_were_made():
    schedule = optimizers.schedules.PiecewiseConstantDecay([3], [0.5, 0.0])
    model = model_with(LossScaleOptimizer(SGD(schedule)))
    model.fit(BAD, Y, batch_size=8, epochs=3, shuffle=False, verbose=0)
    assert float(model.optimizer.learning_rate) == 0.0
    assert model.optimizer.step == 12


def test_apply_divides_by_the_scale_and_ignores_infinite_gradients():
    optimizer = LossScaleOptimizer(SGD(0.5))
    weights = cdl.Variable([1.0, 2.0])
    optimizer.build([weights])
    scaled = optimizer.scale_loss(np.array([1.0, -2.0]))
    optimizer.apply([scaled], [weights])
    np.testing.assert_allclose(weights.numpy(), [0.5, 3.0])
    optimizer.apply([np.array([np.inf, 1.0])], [weights])
    np.testing.assert_allclose(weights.numpy(), [0.5, 3.0])
    assert optimizer.scale_loss(1.0) == 2.0**14


def test_learning_rate_is_the_inner_optimizer_s():
    optimizer = LossScaleOptimizer(SGD(0.5))
    optimizer.learning_rate = 0.25
    assert float(optimizer.inner_optimizer.learning_rate) == 0.25 == float(optimizer.lr)


def test_config_and_state_come_back(tmp_path):
    model = model_with(LossScaleOptimizer(Adam(0.02, beta_1=0.7), 128.0, 5, name="outer"))
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "m.keras")
    back = cdl.models.load_model(tmp_path / "m.keras").optimizer
    assert back.get_config() == model.optimizer.get_config()
    for a, b in zip(back.variables, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"inner_optimizer": "adam"}, "inner_optimizer must be an Optimizer, got 'adam'"),
        ({"initial_scale": 0.0}, "initial_scale must be a number > 0"),
        ({"dynamic_growth_steps": 0}, "dynamic_growth_steps must be a positive int"),
        ({"dynamic": False}, "`loss_scale_factor` of the inner optimizer"),
        ({"clipnorm": 1.0}, "clipnorm must be given to the inner optimizer"),
        ({"foo": 1, "bar": 2}, "arguments: `foo`, `bar`"),
    ],
)
def test_constructor_says_what_is_wrong(arguments, words):
    with pytest.raises(ValueError, match=words):
        LossScaleOptimizer(**{"inner_optimizer": SGD(0.1)} | arguments)


def test_old_config_with_shared_defaults_is_read():
    inner = optimizers.serialize(SGD(0.5))
    config = {"inner_optimizer": inner, "use_ema": False, "ema_momentum": 0.99, "clipnorm": None}
    assert LossScaleOptimizer.from_config(config).initial_scale == 32768.0


def half(policy="mixed_float16", loss="mse", optimizer=None, **dense):
    cdl.utils.set_random_seed(1)
    last = cdl.layers.Dense(2, dtype=policy)
    first = cdl.layers.Dense(4, "tanh", dtype=policy, **dense)
    before = cdl.config.dtype_policy()
    cdl.config.set_dtype_policy(policy)
    model = cdl.Sequential([cdl.Input((3,)), first, last])
    cdl.config.set_dtype_policy(before)
    model.compile(optimizer or SGD(0.1, clipnorm=0.5), loss)
    return model


def python_loss(y_true, y_pred):
    return np.mean(np.square(float(np.float32(2.0)) * (y_pred - y_true)), axis=-1)


@pytest.mark.parametrize("loss", ["mse", python_loss])
@pytest.mark.parametrize("penalty", [None, "l2"])
def test_in_float16_the_scale_changes_no_step(loss, penalty):
    weights = []
    for policy in ("mixed_float16", "float32"):
        model = half(policy, loss, kernel_regularizer=penalty, activity_regularizer=penalty)
        model.fit(X, Y, batch_size=20, epochs=2, shuffle=False, verbose=0)
        weights.append(model.get_weights())
        assert isinstance(model.optimizer, LossScaleOptimizer) == (policy == "mixed_float16")
    for low, whole in zip(*weights, strict=True):
        np.testing.assert_allclose(low, whole, 0, 5e-4)


def test_compile_wraps_for_mixed_float16_alone():
    model = half()
    assert (model.optimizer.name, type(model.optimizer.inner_optimizer)) == (
        "loss_scale_optimizer",
        SGD,
    )
    given = LossScaleOptimizer(SGD(0.1))
    assert half(optimizer=given).optimizer is given
    model.compile("sgd", "mse", auto_scale_loss=False)
    assert type(model.optimizer) is SGD
    for policy in ("float16", "mixed_bfloat16", "float32"):
        assert not isinstance(half(policy).optimizer, LossScaleOptimizer)


def test_small_gradients_are_not_lost_in_float16():
    tiny = 1e-9 * Y
    moved = []
    for scaled in (True, False):
        model = half(optimizer=SGD(1e6))
        model.compile(SGD(1e6), "mse", auto_scale_loss=scaled)
        before = model.get_weights()
        model.layers[-1].set_weights([np.zeros((4, 2)), np.zeros(2)])
        model.fit(X, tiny, epochs=1, batch_size=40, verbose=0)
        moved.append(np.abs(model.layers[-1].get_weights()[1]).max())
        assert np.isfinite(before[0]).all()
    assert moved[0] > 0 and moved[1] == 0


def test_gradients_beyond_float16_skip_the_step():
    model = half()
    model.fit(X, Y, epochs=1, batch_size=40, verbose=0)
    before, scale = model.get_weights(), float(model.optimizer.dynamic_scale)
    model.fit(X, 1e6 * Y, epochs=3, batch_size=40, verbose=0)
    optimizer = model.optimizer
    assert float(optimizer.dynamic_scale) == scale / 8
    assert (int(optimizer.step_counter), int(optimizer.iterations)) == (0, 1)
    for weight, kept in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, kept)


def test_the_scale_is_what_it_is_assigned():
    model = half()
    model.fit(X, Y, epochs=1, batch_size=40, verbose=0)
    model.optimizer.dynamic_scale.assign(2.0**40)
    before = model.get_weights()
    model.fit(X, Y, epochs=1, batch_size=40, verbose=0)
    np.testing.assert_array_equal(model.get_weights()[0], before[0])
    assert float(model.optimizer.dynamic_scale) == 2.0**39


@pytest.mark.parametrize("builds", [False, True], ids=["wrapped first", "built first"])
def test_adafactor_within_lists_what_keras_has_in_files(builds):
    """Numbers that stand for slots of vectors are there only if it was built by itself."""
    model = cdl.Sequential([cdl.Input((3,)), cdl.layers.Dense(2)])
    inner = cdl.optimizers.Adafactor(0.01)
    if builds:
        inner.build(model.trainable_variables)
    optimizer = cdl.optimizers.LossScaleOptimizer(inner)
    optimizer.build(model.trainable_variables)
    assert len(optimizer.variables) - 4 == 2 + 3 + (3 if builds else 1)
