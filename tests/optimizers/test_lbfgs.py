"""L-BFGS on whole data sets: what it reaches, and what an epoch, a file and an error are to it."""

import copy
import itertools
import os
import pickle

import numpy as np
import pytest

import cdl
from cdl import layers, ops
from cdl.optimizers import LBFGS, SGD, Adam, LossScaleOptimizer, MultiOptimizer, OptimizerMap

RNG = np.random.default_rng(0)
pytestmark = pytest.mark.filterwarnings(
    "ignore::cdl.UntracedWarning"
)  # functions that cannot be traced, since they ask for arrays, are meant
X = RNG.normal(size=(60, 4)).astype(np.float32)
Y = np.sin(X.sum(1, keepdims=True)).astype(np.float32)


def net(optimizer=None, *more, **options):
    cdl.utils.set_random_seed(3)
    model = cdl.Sequential([cdl.Input((4,)), layers.Dense(6, "tanh"), *more, layers.Dense(1)])
    model.compile(optimizer or LBFGS(), "mse", **options)
    return model


def fit(model, epochs=5, **options):
    return model.fit(X, Y, epochs=epochs, verbose=0, **options).history["loss"]


def state(model):
    return [np.asarray(each) for each in (*model.get_weights(), *model.optimizer.variables)]


def same(ones, others):
    for one, other in zip(ones, others, strict=True):
        np.testing.assert_array_equal(one, other)


# --- what it reaches ---


@pytest.mark.parametrize("weights", [None, RNG.uniform(0.1, 2, 60)])
def test_least_squares_are_solved(weights):
    target = X @ [1.0, -2.0, 0.5, 3.0] + 0.1 * RNG.normal(size=60) + 4.0
    model = cdl.Sequential([cdl.Input((4,)), layers.Dense(1)])
    model.compile("lbfgs", "mse")
    model.fit(X, target, sample_weight=weights, epochs=100, verbose=0)
    root = np.sqrt(np.ones(60) if weights is None else weights)
    wide = np.c_[X, np.ones(60)].astype(np.float64)
    best = np.linalg.lstsq(wide * root[:, None], target * root, rcond=None)[0]
    np.testing.assert_allclose(np.concatenate([w.ravel() for w in model.get_weights()]), best, 2e-5)
    assert model.optimizer.converged
    assert len(model.history.history["loss"]) < 40


class Valley(layers.Layer):
    """Rosenbrock's function as residuals of two weights."""

    def build(self, shape):
        self.at = self.add_weight((2,), lambda shape, dtype=None: np.array([-1.2, 1.0], "float32"))

    def call(self, x):
        a, b = self.at[0], self.at[1]
        return x * ops.stack([10.0 * (b - a * a), 1.0 - a])


def test_rosenbrocks_valley_ends_at_its_minimum():
    model = cdl.Sequential([cdl.Input((2,)), Valley()])
    model.compile(LBFGS(), "mse")
    ones = np.ones((1, 2))
    history = model.fit(ones, 0 * ones, epochs=200, verbose=0).history["loss"]
    np.testing.assert_allclose(model.get_weights()[0], 1.0, rtol=1e-4)
    assert len(history) < 60
    assert history[-1] < 1e-9


def test_regularized_logistic_regression_has_no_gradient_left():
    labels = (X[:, 0] + 0.5 * RNG.normal(size=60) > 0).astype(np.float32)
    model = cdl.Sequential(
        [cdl.Input((4,)), layers.Dense(1, "sigmoid", kernel_regularizer=cdl.regularizers.L2(0.01))]
    )
    model.compile(LBFGS(), "binary_crossentropy")
    balance = {0: 1.0, 1: 3.0}
    model.fit(X, labels, epochs=100, class_weight=balance, verbose=0)
    kernel, bias = (w.astype(np.float64) for w in model.get_weights())
    weight = np.where(labels == 1, 3.0, 1.0)
    error = weight * (1 / (1 + np.exp(-(X @ kernel[:, 0] + bias[0]))) - labels) / 60
    np.testing.assert_allclose(X.T @ error + 0.02 * kernel[:, 0], 0, atol=3e-6)
    np.testing.assert_allclose(error.sum(), 0, atol=3e-6)


def test_a_small_regression_ends_lower_than_with_adam():
    best = min(fit(net(Adam(rate)), 200, batch_size=60)[-1] for rate in (0.001, 0.01, 0.1))
    assert fit(net(), 200)[-1] < 0.25 * best


def test_losses_fall_in_each_iteration():
    history = fit(net(), 40)
    assert all(b <= a * (1 + 1e-6) for a, b in itertools.pairwise(history))


# --- an epoch ---


def test_loss_and_metrics_are_those_of_the_new_weights():
    model = net(metrics=["mae", cdl.metrics.MeanMetricWrapper(lambda y, p: abs(y - p), name="own")])
    logs = model.fit(X, Y, epochs=3, verbose=0, validation_data=(X, Y)).history
    for name in ("loss", "mae", "own"):
        assert logs[name] == pytest.approx(logs[f"val_{name}"], rel=1e-6)
    assert logs["mae"] == pytest.approx(logs["own"])
    assert int(model.optimizer.iterations) == 3


def test_train_on_batch_is_an_iteration():
    one, other = net(), net()
    assert [one.train_on_batch(X, Y) for _ in range(4)] == fit(other, 4)
    same(state(one), state(other))
    with_hooks = net()
    callback = cdl.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None)
    fit(with_hooks, 4, callbacks=[callback])
    same(state(with_hooks), state(other))


def test_moving_averages_follow_once_an_iteration():
    model = net(None, layers.BatchNormalization(momentum=0.5))
    before = model.layers[1].moving_mean.numpy()
    fit(model, 1)
    hidden = np.tanh(X @ model.layers[0].kernel.numpy() + model.layers[0].bias.numpy())
    after = model.layers[1].moving_mean.numpy()
    np.testing.assert_allclose(after, 0.5 * before + 0.5 * hidden.mean(0), rtol=1e-4, atol=1e-6)


def test_dropout_is_the_same_along_a_line():
    history = fit(net(None, layers.Dropout(0.2)), 30)
    assert np.isfinite(history).all()
    assert len(set(history)) == 30


def test_weights_that_a_callback_sets_and_other_data_are_seen():
    def double(epoch, logs):
        if epoch == 2:
            model.set_weights([2 * each for each in model.get_weights()])

    model, parts = net(), net()
    losses = fit(model, 5, callbacks=[cdl.callbacks.LambdaCallback(on_epoch_end=double)])
    first = fit(parts, 3)
    parts.set_weights([2 * each for each in parts.get_weights()])
    assert losses == first + fit(parts, 2)
    same(state(model), state(parts))

    batches = [(X, Y), (X, -Y), (X, Y)]
    found = model.fit(iter(batches), epochs=3, steps_per_epoch=1, verbose=0).history["loss"]
    assert found == [parts.train_on_batch(*batch) for batch in batches]
    same(state(model), state(parts))


def test_weights_that_are_not_trained_may_change_between_epochs():
    class Scaled(layers.Layer):
        def build(self, shape):
            self.scale = self.add_weight((), "ones", trainable=False)

        def call(self, x):
            return x * self.scale

    model, falls = net(None, Scaled()), []
    scale = model.layers[1].scale

    def change(epoch, logs):
        scale.assign([1.0, -3.0, 2.0, 0.1, 5.0, 1.0][epoch])
        falls.append(model.evaluate(X, Y, verbose=0))

    history = fit(model, 6, callbacks=[cdl.callbacks.LambdaCallback(on_epoch_begin=change)])
    assert len(history) == 6
    assert all(after < before for after, before in zip(history, falls, strict=True))


@pytest.mark.filterwarnings("ignore:fit. the loss has become")
@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_changes_no_weight(number):
    model, target = net(), Y.copy()
    target[3] = number
    before = model.get_weights()
    model.fit(X, target, epochs=3, verbose=0)
    same(model.get_weights(), before)
    assert model.optimizer.converged
    model.set_weights([np.full_like(each, number) for each in before])
    assert len(fit(model, 3)) == 1


def test_early_stopping_and_rates_of_callbacks_count():
    stop = cdl.callbacks.EarlyStopping("loss", patience=0, min_delta=0.05)
    assert len(fit(net(), 50, callbacks=[stop])) < 15
    slow = net(LBFGS(1e-6))
    first = slow.evaluate(X, Y, verbose=0)
    assert first - fit(slow, 1)[0] != first - fit(net(LBFGS(0.5)), 1)[0]


def test_frozen_layers_stay():
    model = net()
    model.layers[0].trainable = False
    model.compile(LBFGS(), "mse")
    before = model.layers[0].get_weights()
    first = model.evaluate(X, Y, verbose=0)
    assert fit(model)[-1] < first
    same(model.layers[0].get_weights(), before)


def test_a_model_without_weights_to_train_stays():
    model = net()
    model.trainable = False
    with pytest.warns(UserWarning, match="no weight is trainable"):
        assert len(fit(model)) == 1
    assert model.optimizer.converged


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "bfloat16"])
def test_low_precision_learns(policy):
    cdl.utils.set_random_seed(3)
    model = cdl.Sequential(
        [cdl.Input((4,)), layers.Dense(6, "tanh", dtype=policy), layers.Dense(1)]
    )
    model.compile(LBFGS(), "mse")
    first = model.evaluate(X, Y, verbose=0)
    assert fit(model, 20)[-1] < 0.5 * first


def test_python_losses_and_eager_code_are_searched_too():
    def loss(y, p):
        return np.mean(np.square(np.asarray(y) - np.asarray(p)), -1)

    model = net()
    model.compile(LBFGS(), loss)
    own = fit(model, 3)
    np.testing.assert_allclose(own, fit(net(), 3), rtol=1e-2)
    np.testing.assert_allclose(fit(net(run_eagerly=True), 3), fit(net(), 3), rtol=1e-5)


def test_losses_of_pairs_of_samples_are_searched_too():
    def spread(y, p):
        return ops.mean(ops.square(p - ops.transpose(p) - (y - ops.transpose(y))))

    model = net()
    model.compile(LBFGS(), spread)
    history = fit(model, 20)
    assert history[-1] < 0.5 * history[0]


def test_bits_do_not_depend_on_threads(run_python):
    code = """
import hashlib, numpy as np, cdl
cdl.utils.set_random_seed(3)
x = np.random.default_rng(0).normal(size=(3000, 4)).astype("float32")
model = cdl.Sequential([cdl.Input((4,)), cdl.layers.Dense(200, "tanh"), cdl.layers.Dense(1)])
model.compile("lbfgs", "mse")
model.fit(x, np.sin(x.sum(1)), epochs=8, verbose=0)
print(hashlib.sha1(b"".join(map(bytes, map(np.asarray, model.optimizer.variables)))).hexdigest())
"""
    outputs = {
        run_python(code, env={**os.environ, "OMP_NUM_THREADS": str(n)}).stdout for n in (1, 2, 3)
    }
    assert len(outputs) == 1


# --- files, copies, errors ---


def by_file(model, folder):
    model.save(folder / "net.keras")
    return cdl.models.load_model(folder / "net.keras")


COPIES = {
    "file": by_file,
    "pickle": lambda model, folder: pickle.loads(pickle.dumps(model)),
    "copy": lambda model, folder: copy.deepcopy(model),
}


@pytest.mark.parametrize("made", COPIES)
def test_a_copy_goes_on_with_equal_bits(made, tmp_path):
    model, whole = net(LBFGS(history_size=3)), net(LBFGS(history_size=3))
    fit(model, 5)
    again = COPIES[made](model, tmp_path)
    same(state(again), state(model))
    assert fit(again, 4) == fit(model, 4) == fit(whole, 9)[5:]
    same(state(again), state(whole))


def test_an_error_in_data_or_a_line_search_leaves_whole_iterations():
    model, whole = net(), net()
    fit(model, 2)
    fit(whole, 2)
    with pytest.raises(ValueError, match="y"):
        model.fit(X, Y[:-1], verbose=0)
    assert fit(model, 2) == fit(whole, 2)
    broken = net()
    before = broken.get_weights()

    def loss(y, p):
        error = np.mean(np.square(np.asarray(y) - np.asarray(p)), -1)
        if not np.array_equal(broken.get_weights()[0], before[0]):
            raise ArithmeticError
        return error

    broken.compile(LBFGS(), loss)
    with pytest.raises(ArithmeticError):
        fit(broken, 1)
    same(broken.get_weights(), before)
    assert int(broken.optimizer.iterations) == 0


def test_configs_are_complete():
    optimizer = LBFGS(0.5, 7, 1e-4, 1e-5, 11, name="mine", decay=0.1)
    config = optimizer.get_config()
    again = LBFGS.from_config(config)
    assert again.get_config() == config
    assert config == {
        "name": "mine", "learning_rate": 0.5, "decay": 0.1, "history_size": 7,
        "tolerance_grad": 1e-4, "tolerance_change": 1e-5, "max_line_search_steps": 11,
    }  # fmt: skip
    schedule = cdl.optimizers.schedules.ExponentialDecay(1.0, 10, 0.9)
    again = cdl.optimizers.deserialize(cdl.optimizers.serialize(LBFGS(schedule)))
    assert again.get_config()["learning_rate"] == LBFGS(schedule).get_config()["learning_rate"]


def test_tolerances_end_a_fit():
    assert len(fit(net(LBFGS(tolerance_grad=10.0)), 9)) == 1
    assert len(fit(net(LBFGS(tolerance_change=10.0)), 9)) == 1
    model = net(LBFGS(max_line_search_steps=1))
    fit(model, 3)
    model.optimizer.tolerance_grad = 10.0
    assert len(fit(model, 3)) == 1


REFUSED = {
    "clipnorm": 1.0,
    "clipvalue": 1.0,
    "global_clipnorm": 1.0,
    "weight_decay": 0.1,
    "use_ema": True,
    "ema_momentum": 0.5,
    "ema_overwrite_frequency": 2,
    "loss_scale_factor": 2.0,
    "gradient_accumulation_steps": 2,
    "rate_factors": {"bias": 0.1},
}


@pytest.mark.parametrize("name", REFUSED)
def test_rules_that_the_line_search_does_not_know_are_refused(name):
    with pytest.raises(ValueError, match=f"LBFGS: {name} must not be given"):
        LBFGS(**{name: REFUSED[name]})
    model = net()
    fit(model, 1)
    before = state(model)
    with pytest.raises(ValueError, match=f"LBFGS: {name} must not be given"):
        setattr(model.optimizer, name, REFUSED[name])
    same(state(model), before)
    assert fit(model, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"history_size": 0}, "history_size"),
        ({"tolerance_grad": -1.0}, "tolerance_grad"),
        ({"max_line_search_steps": 0}, "max_line_search_steps"),
        ({"momentum": 0.9}, "momentum"),
    ],
)
def test_wrong_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        LBFGS(**options)


def test_what_cannot_be_searched_is_refused_by_name():
    with pytest.raises(ValueError, match="batch_size"):
        fit(net(), batch_size=20)
    with pytest.raises(ValueError, match="one batch an epoch, got 3"):
        net().fit(X, Y, steps_per_epoch=3, verbose=0)

    def batches():
        yield X, Y

    with pytest.raises(ValueError, match="unknown number"):
        net().fit(batches(), verbose=0)
    assert net().fit(batches(), steps_per_epoch=1, verbose=0).history["loss"]
    limited = cdl.Sequential([cdl.Input((4,)), layers.Dense(1, kernel_constraint="non_neg")])
    limited.compile(LBFGS(), "mse")
    with pytest.raises(ValueError, match="constraint"):
        fit(limited)
    for made in (
        lambda: LossScaleOptimizer(LBFGS()),
        lambda: MultiOptimizer(OptimizerMap(SGD(), {"x": LBFGS()})).build(
            [cdl.Variable([1.0], name="x")]
        ),
        lambda: LBFGS().apply([np.ones(1)], [cdl.Variable([1.0])]),
        lambda: LBFGS().stateless_apply([], [], []),
    ):
        with pytest.raises(ValueError, match="LBFGS"):
            made()
    built = net()
    fit(built, 1)
    with pytest.raises(ValueError, match="history_size"):
        built.optimizer.history_size = 3
