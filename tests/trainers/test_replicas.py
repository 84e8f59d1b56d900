"""Replicas: each member is what it would be alone."""

import copy
import gc
import os
import pickle
import signal
import threading

import numpy as np
import pytest

import cdl
from cdl import layers
from cdl.models.replicas import Replicas, _borrowed
from cdl.trainers.many.stacked_run import StackedRun
from cdl.trainers.many.watched_run import _Group

N = 5
SEEDS = [11, 12, 13, 14, 15]
RATES = [0.001, 0.003, 0.01, 0.03, 0.1]
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, 30, 4)).astype(np.float32)
Y = RNG.normal(size=(N, 30, 1)).astype(np.float32)


def net(*more, optimizer="adam", loss="mse", units=1, last=None):
    stack = [layers.Input((4,)), layers.Dense(6, "tanh"), *more, layers.Dense(units, last)]
    made = cdl.Sequential(stack)
    made.compile(optimizer, loss, metrics=["mae"] if loss == "mse" else ["accuracy"])
    return made


def noisy():
    return net(layers.Dropout(0.3), layers.BatchNormalization())


def state(model):
    kept = [np.asarray(each).tobytes() for each in (*model.weights, *model.optimizer.variables)]
    return kept


def alone(many, x, y, callbacks=lambda: None, rates=RATES, **fit):
    """Members, each trained by its own `fit`, and their Histories."""
    models, histories = list(many), []
    for k, model in enumerate(models):
        cdl.utils.set_random_seed(SEEDS[k])
        if rates is not None:
            model.optimizer.learning_rate = rates[k]
        own = {name: each[k] if isinstance(each, list) else each for name, each in fit.items()}
        found = model.fit(x[k], y[k], verbose=0, callbacks=callbacks(), **own)
        histories.append(found.history)
    return models, histories


def check(many, histories, expected):
    models, found = expected
    for k, (model, values) in enumerate(zip(models, found, strict=True)):
        assert state(many[k]) == state(model)
        for name, each in values.items():
            assert np.array_equal(histories.history[name][k, : len(each)], each, equal_nan=True)
            assert np.isnan(histories.history[name][k, len(each) :]).all()
        assert histories.epochs[k] == len(values["loss"])


def early():
    watch = cdl.callbacks.EarlyStopping("val_loss", patience=1, restore_best_weights=True)
    return [watch, cdl.callbacks.ReduceLROnPlateau("loss", patience=1, min_delta=0.1)]


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize(
    ("make", "fit", "watched"),
    [
        (noisy, {"epochs": 3, "batch_size": 8}, False),
        (net, {"epochs": [1, 4, 2, 3, 1], "batch_size": [8, 7, 30, 64, 9]}, False),
        (net, {"epochs": 8, "batch_size": 8, "validation_split": 0.3}, True),
        (net, {"epochs": 2, "shuffle": "batch", "batch_size": 8}, False),
        (net, {"epochs": 2, "shuffle": False, "batch_size": 8}, False),
        (net, {"epochs": 2, "batch_size": 7, "sample_weight": [np.arange(30.0)] * N}, False),
        (lambda: net(optimizer=cdl.optimizers.LBFGS()), {"epochs": 2}, False),
        (lambda: net(optimizer=cdl.optimizers.SGD(0.1, momentum=0.9, use_ema=True)), {}, False),
    ],
)
def test_each_member_has_the_bits_of_training_alone(make, fit, watched, workers):
    many = cdl.replicate(make(), N, seeds=range(N))
    for _ in range(2):  # a second fit goes on
        expected = alone(many, X, Y, early if watched else lambda: None, **fit)
        callbacks = early() if watched else None
        found = many.fit(
            X, Y, seeds=SEEDS, learning_rate=RATES, workers=workers, callbacks=callbacks, **fit
        )
        check(many, found, expected)
    assert len({each.tobytes() for each in many.get_weights()[0]}) == N


def test_members_train_without_a_fit_of_their_own(monkeypatch):
    def fit(self, *args, **kwargs):
        raise AssertionError("fit of a member")

    many = cdl.replicate(noisy(), N)
    monkeypatch.setattr(cdl.Model, "fit", fit)
    assert many.fit(X, Y, epochs=2, batch_size=8).history["mae"].shape == (N, 2)
    assert many.fit(X, Y, validation_split=0.2, callbacks=early()).epochs.tolist() == [1] * N
    assert "val_mae" in many.fit(X, Y, validation_data=(X[0], Y[0])).history
    with pytest.raises(AssertionError, match="fit of a member"):
        many.fit(X, Y, epochs=2, shuffle=False)


def test_a_prediction_beside_the_first_fit_changes_no_later_one():
    many = cdl.replicate(net(), N, seeds=range(N))
    with _borrowed(many._idle, many._model) as stand_in:  # as another thread has it meanwhile
        many.fit(X, Y)
        stand_in.model.predict(X[0], verbose=0)
    expected = alone(many, X, Y, epochs=2, batch_size=8)
    options = {"epochs": 2, "batch_size": 8, "workers": 1}
    check(many, many.fit(X, Y, seeds=SEEDS, learning_rate=RATES, **options), expected)


def test_rows_of_each_and_rows_of_all():
    many = cdl.replicate(net(), N, seeds=range(N))
    ragged = [each[: 10 + k] for k, each in enumerate(X)], [e[: 10 + k] for k, e in enumerate(Y)]
    for x, y, own in (
        (list(X), list(Y), (X, Y)),
        (X[0], Y[0], ([X[0]] * N, [Y[0]] * N)),
        (X[0], Y, ([X[0]] * N, Y)),
        (X[:, :N], Y[:, :N, 0], (X[:, :N], Y[:, :N, 0])),
        (*ragged, ragged),
    ):
        held_out = X[0], Y[0]
        expected = alone(many, *own, epochs=2, validation_data=held_out)
        options = {"epochs": 2, "seeds": SEEDS, "learning_rate": RATES}
        found = many.fit(x, y, validation_data=held_out, **options)
        check(many, found, expected)
        results = many.evaluate(x, y)
        for k, model in enumerate(many):
            each = model.evaluate(own[0][k], own[1][k], verbose=0, return_dict=True)
            assert {name: value[k] for name, value in results.items()} == each


def test_schedules_functional_models_and_several_inputs():
    a, b = layers.Input((4,)), layers.Input((4,))
    model = cdl.Model([a, b], layers.Dense(1)(layers.concatenate([a, layers.Dense(3)(b)])))
    schedule = cdl.optimizers.schedules.CosineDecay(0.1, 20)
    model.compile(cdl.optimizers.SGD(schedule), "mse")
    many = cdl.replicate(model, N, weights="same")
    xs = [[each, each + 1] for each in X]
    expected = alone(many, xs, Y, rates=None, epochs=2)
    check(many, many.fit(xs, list(Y), seeds=SEEDS, epochs=2), expected)
    with pytest.raises(ValueError, match=r"learning_rate must be left out: .* no constant rate"):
        many.fit(xs, list(Y), learning_rate=0.1)


def test_predict_is_that_of_each_member():
    many = cdl.replicate(net(), N, seeds=range(N))
    for x in (X, X[:, :1], [each[: k + 1] for k, each in enumerate(X)]):
        found = many.predict(x)
        assert isinstance(found, np.ndarray) == isinstance(x, np.ndarray)
        for k, model in enumerate(many):
            assert np.array_equal(found[k], model.predict(x[k], verbose=0))
    assert many.predict(X[0]).shape == (N, 30, 1)


def test_members_are_ordinary_models_with_copies():
    original = net()
    many = cdl.replicate(original, N, seeds=SEEDS)
    before = [each.tobytes() for each in many.get_weights()]
    for k, model in enumerate(many):
        cdl.utils.set_random_seed(SEEDS[k])
        assert [each.tobytes() for each in cdl.models.clone_model(original).get_weights()] == [
            each.tobytes() for each in model.get_weights()
        ]
        model.fit(X[k], Y[k], verbose=0)
    assert [each.tobytes() for each in many.get_weights()] == before
    assert len(many) == N
    assert state(many[-1]) == state(many[N - 1])
    with pytest.raises(IndexError, match="below 5, got 5"):
        many[N]
    same = cdl.replicate(original, 2, weights="same")
    for each, own in zip(same.get_weights(), original.get_weights(), strict=True):
        assert (each == own).all()


@cdl.saving.register_keras_serializable()
def own_weights(shape, dtype=None):
    return np.random.default_rng(3).normal(size=shape)


@pytest.mark.parametrize(
    "middle",
    [
        lambda: layers.Dense(3, kernel_initializer="orthogonal", bias_initializer="ones"),
        lambda: layers.Dropout(0.5),
        lambda: layers.Dense(3, kernel_initializer=cdl.initializers.HeNormal(seed=4)),
        lambda: layers.Dense(3, kernel_initializer=own_weights),
        lambda: layers.Dense(3, bias_initializer=cdl.initializers.RandomUniform(seed=None)),
        lambda: layers.BatchNormalization(gamma_initializer=cdl.initializers.RandomNormal(1.0)),
    ],
)
def test_first_weights_are_those_of_a_clone(middle):
    model = net(middle())
    found = cdl.replicate(model, N, seeds=SEEDS).get_weights()
    stack = [layers.Input((4, 1)), layers.LSTM(3), layers.Dense(2)]
    recurrent = cdl.Sequential(stack)
    for each, weights in ((model, found), (recurrent, cdl.replicate(recurrent, N, seeds=SEEDS))):
        weights = weights if each is model else weights.get_weights()
        for k, seed in enumerate(SEEDS):
            cdl.utils.set_random_seed(seed)
            expected = cdl.models.clone_model(each).get_weights()
            for own, stack in zip(expected, weights, strict=True):
                assert np.array_equal(own, stack[k])


def test_new_weights_are_those_that_train():
    scaled = layers.Normalization()
    scaled.adapt(X[0])
    model = cdl.Sequential([layers.Input((4,)), scaled, layers.Dense(3), layers.Dense(1)])
    model.layers[1].trainable = False
    model.compile(cdl.optimizers.Adam(0.5), "mse")
    model.fit(X[0], Y[0], verbose=0)
    many = cdl.replicate(model, N, seeds=SEEDS)
    for own, each in zip(model.weights, many.get_weights(), strict=True):
        is_first = [np.array_equal(own.numpy(), value) for value in each]
        assert is_first == [not own.trainable] * N
    assert [int(each.optimizer.iterations) for each in many] == [0] * N
    assert many.learning_rate.tolist() == [0.5] * N
    fresh = cdl.models.clone_model(model)
    fresh.set_weights(many[3].get_weights())
    many.fit(X[0], Y[0], seeds=SEEDS, epochs=2)
    cdl.utils.set_random_seed(SEEDS[3])
    fresh._compiled.resolved = model._compiled.resolved  # no order is drawn in vain
    fresh.fit(X[0], Y[0], epochs=2, verbose=0)
    assert state(fresh) == state(many[3])
    same = cdl.replicate(model, 2, weights="same")
    assert state(same[1]) == state(model)


def test_weights_are_set_for_all():
    many = cdl.replicate(net(), N, seeds=range(N))
    weights = [RNG.normal(size=each.shape).astype(np.float32) for each in many.get_weights()]
    many.set_weights(weights)
    for k, model in enumerate(many):
        for own, each in zip(model.get_weights(), weights, strict=True):
            assert np.array_equal(own, each[k])
    with pytest.raises(ValueError, match=r"bias must have shape \(5, 1\), got \(5, 2\)"):
        many.set_weights([*weights[:-1], np.zeros((N, 2))])
    with pytest.raises(ValueError, match="expected 4 arrays, got 1"):
        many.set_weights(weights[:1])
    many.learning_rate = RATES
    assert many.learning_rate == pytest.approx(RATES)


def test_a_saved_copied_or_pickled_one_goes_on_with_the_same_bits(tmp_path):
    many = cdl.replicate(noisy(), N, seeds=range(N))
    many.fit(X, Y, epochs=2, learning_rate=RATES)
    many.save(tmp_path / "many.npz")
    others = Replicas.load(tmp_path / "many.npz"), copy.deepcopy(many)
    others = [*others, pickle.loads(pickle.dumps(many))]
    many.fit(X, Y, seeds=SEEDS, epochs=2)
    for other in others[1:]:
        other.fit(X, Y, seeds=SEEDS, epochs=2)
        assert [state(a) for a in other] == [state(b) for b in many]
    # A model that is loaded draws an order anew, as the first fit after compile does.
    expected = alone(others[0], X, Y, rates=None, epochs=2)
    check(others[0], others[0].fit(X, Y, seeds=SEEDS, epochs=2), expected)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "many.npz"
    many = cdl.replicate(net(), 2)
    many.save(path)
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"PK" + whole[5:]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"many\.npz"):
            Replicas.load(path)
    np.savez(path, np.zeros(3))
    with pytest.raises(ValueError, match=r"must be a file of Replicas\.save"):
        Replicas.load(path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": X[:3]}, r"fit: x must have shape \(5, rows, \.\.\.\).*got \(3, 30, 4\)"),
        ({"x": list(X[:3])}, "fit: x must have an element for each of 5 members, got 3"),
        ({"y": list(Y[:4])}, "fit: y must have an element for each of 5 members, got 4"),
        ({"y": Y[:, :20]}, "fit: y must have as many rows as x, 30 for member 0, got 5"),
        ({"x": [*X[:4], X[4][:, :2]]}, r"one shape, got \(4,\) for member 0 and \(2,\) for memb"),
        ({"y": [*Y[:4], Y[4][:7]]}, "y must have as many rows as x, 30 for member 4, got 7"),
        ({"epochs": [1, 2]}, "fit: epochs must have an element for each of 5 members, got 2"),
        ({"learning_rate": [0.1, 0.2]}, "fit: learning_rate must be a number >= 0 or 5 of them"),
        ({"learning_rate": -1}, "fit: learning_rate must be a number >= 0"),
        ({"seeds": [1, 2]}, "fit: seeds must be 5 ints, one for each member, got 2"),
        ({"validation_data": X}, "validation_data must be a tuple"),
        ({"validation_data": (X[:2], Y)}, r"validation_data: x must have shape \(5, rows"),
        ({"x": iter(X)}, "fit: x must be arrays"),
        ({"sample_weight": [1, 2, 3, 4, 5]}, "fit: sample_weight must be arrays, got a number"),
        ({"learning_rate": "high"}, "learning_rate must be a number >= 0 or 5 of them, got 'high'"),
        ({"learning_rate": 1e300}, "learning_rate must be a number >= 0 or 5 of them, got 1e"),
        ({"learning_rate": 0.5, "workers": 0}, "fit: workers must be a positive int, got 0"),
        ({"learning_rate": 0.5, "batch_size": 0}, "fit: batch_size must be a positive int, got 0"),
    ],
)
def test_wrong_arguments_are_named_and_change_nothing(arguments, message):
    many = cdl.replicate(net(), N, seeds=range(N))
    before = [state(each) for each in many]
    with pytest.raises(ValueError, match=message):
        many.fit(**{"x": X, "y": Y, **arguments})
    assert [state(each) for each in many] == before


def test_models_that_cannot_be_replicated():
    with pytest.raises(TypeError, match="replicate: model must be a Model, got str"):
        cdl.replicate("net", 2)
    with pytest.raises(ValueError, match="replicate: n must be at least 1, got 0"):
        cdl.replicate(net(), 0)
    with pytest.raises(TypeError, match=r"replicate: n must be an int, got 2\.0"):
        cdl.replicate(net(), 2.0)
    with pytest.raises(ValueError, match="replicate: model must be built"):
        cdl.replicate(cdl.Sequential([layers.Dense(1)]), 2)
    with pytest.raises(ValueError, match="replicate: weights must be 'new' or 'same', got 'old'"):
        cdl.replicate(net(), 2, weights="old")
    with pytest.raises(ValueError, match="replicate: seeds must be 2 ints"):
        cdl.replicate(net(), 2, seeds=[1])
    rnn = cdl.Sequential([layers.Input(batch_shape=(2, 3, 1)), layers.GRU(2, stateful=True)])
    with pytest.raises(ValueError, match="must not be stateful"):
        cdl.replicate(rnn, 2)
    plain = cdl.replicate(cdl.Sequential([layers.Input((4,)), layers.Dense(1)]), 2)
    assert plain.predict(X[0]).shape == (2, 30, 1)
    with pytest.raises(
        ValueError, match="fit: the model that was given to replicate must be compiled"
    ):
        plain.fit(X[:2], Y[:2])


def test_values_of_evaluate_have_their_names():
    many = cdl.replicate(net(), 2)
    with pytest.raises(ValueError, match="evaluate: return_dict must be True for replicas, got F"):
        many.evaluate(X[0], Y[0], return_dict=False)


def test_metrics_of_several_numbers_have_their_axes():
    model = cdl.Sequential([layers.Input((4,)), layers.Dense(3)])
    model.compile("sgd", "mse", metrics=[cdl.metrics.R2Score(class_aggregation=None)])
    many = cdl.replicate(model, N, seeds=range(N))
    y = RNG.normal(size=(30, 3)).astype(np.float32)
    found = many.fit(X, y, seeds=SEEDS, epochs=[1, 2, 2, 2, 2]).history["r2_score"]
    assert found.shape == (N, 2, 3)
    assert np.isnan(found[0, 1]).all()
    assert np.isfinite(found[1:]).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_weights_of_few_digits_go_on_with_the_same_bits(dtype, tmp_path):
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    stack = [layers.Input((4,)), layers.Dense(6, "tanh", dtype=dtype), layers.Dense(1, dtype=dtype)]
    model = cdl.Sequential(stack)
    model.compile("adam", "mse")
    many = cdl.replicate(model, N, seeds=range(N))
    models = list(many)
    for _ in range(2):
        many.fit(X, Y, seeds=SEEDS, epochs=3)
        for each, x, y, seed in zip(models, X, Y, SEEDS, strict=True):
            cdl.utils.set_random_seed(seed)
            each.fit(x, y, epochs=3, verbose=0)
    assert [state(a) for a in many] == [state(b) for b in models]
    weights = many.get_weights()
    assert {str(each.dtype) for each in weights} == {dtype}
    many.save(tmp_path / "many.npz")
    for a, b in zip(Replicas.load(tmp_path / "many.npz").get_weights(), weights, strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_names_its_member_and_the_others_end(workers):
    labels = np.zeros((N, 30), int)
    labels[2, 3] = 7
    many = cdl.replicate(
        net(loss="sparse_categorical_crossentropy", units=3, last="softmax"), N, seeds=range(N)
    )
    before = state(many[2])
    with pytest.raises(ValueError, match="got 7 in row 3") as caught:
        many.fit(X, labels, workers=workers)
    assert caught.value.__notes__ == ["fit: of member 2 of 5"]
    steps = [int(each.optimizer.iterations) for each in many]
    assert steps == [1, 1, 0, 1, 1]
    assert state(many[2]) == before


@pytest.mark.filterwarnings("ignore:.*nan")
@pytest.mark.parametrize("watched", [False, True])
@pytest.mark.parametrize("optimizer", ["adam", "adafactor"])
def test_nan_in_one_leaves_the_others(watched, optimizer):
    x = X.copy()
    x[1, 4, 2] = np.nan
    fit = {"epochs": 2, "validation_split": 0.2 * watched}
    callbacks = early() if watched else None
    stack = [layers.Input((4,)), layers.Dropout(0.1), layers.Dense(3), layers.Dense(1)]
    model = cdl.Sequential(stack)
    model.compile(optimizer, "mse")
    many = cdl.replicate(model, N, seeds=range(N))
    expected = alone(many, x, Y, early if watched else lambda: None, **fit)
    found = many.fit(x, Y, seeds=SEEDS, learning_rate=RATES, callbacks=callbacks, **fit)
    check(many, found, expected)
    assert np.isnan(found.history["loss"]).any(1).tolist() == [False, True, False, False, False]


class Interrupting(cdl.callbacks.Callback):
    """Ctrl-C in a batch of a member."""

    def on_train_batch_end(self, batch, logs=None):
        if self.params["job"] == 3 and batch == 1:
            raise KeyboardInterrupt


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_leaves_members_at_whole_batches(workers):
    many = cdl.replicate(net(), N, seeds=range(N))
    first = state(many[4])
    with pytest.raises(KeyboardInterrupt):
        many.fit(X, Y, batch_size=10, workers=workers, callbacks=Interrupting())
    assert int(many[3].optimizer.iterations) == 2
    assert all(int(each.optimizer.iterations) in (0, 1, 2, 3) for each in many)
    if workers == 1:
        assert state(many[4]) == first
    many.fit(X, Y)  # it goes on


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("callbacks", [None, cdl.callbacks.EarlyStopping("loss", patience=10**9)])
def test_a_signal_ends_long_fits(monkeypatch, workers, callbacks):
    many = cdl.replicate(net(), N, seeds=range(N))
    many.fit(X, Y, workers=workers)
    begun, ended = threading.Semaphore(0), threading.Event()

    def telling(call):
        def told(*args):
            found = call(*args)
            begun.release()
            return found

        return told

    def interrupt():
        for _ in range(workers):
            begun.acquire()
        pause = 1.0
        while not ended.wait(pause):
            os.kill(os.getpid(), signal.SIGINT)
            pause = 60.0

    monkeypatch.setattr(StackedRun, "_members", telling(StackedRun._members))
    monkeypatch.setattr(_Group, "_begin", telling(_Group._begin))
    gc.collect()  # Python drops an interrupt in a callback of a weak reference to garbage
    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        many.fit(X, Y, epochs=10**7, workers=workers, callbacks=callbacks)
    ended.set()
    monkeypatch.undo()
    steps = [int(each.optimizer.iterations) for each in many]
    assert min(steps) > (callbacks is not None)
    assert max(steps) > 1
    assert np.isfinite(many.predict(X)).all()


def test_callbacks_may_be_made_for_each_member():
    seen = {}

    def make(number):
        seen[number] = cdl.callbacks.EarlyStopping("loss", patience=0, min_delta=100.0)
        return seen[number]

    many = cdl.replicate(net(), N)
    assert many.fit(X, Y, epochs=9, callbacks=make).epochs.tolist() == [2] * N
    assert sorted(seen) == list(range(N))
    with pytest.raises(ValueError, match=r"callbacks: jobs 0 and 1 would both write to .*log\.csv"):
        many.fit(X, Y, callbacks=cdl.callbacks.CSVLogger("log.csv"))


def test_a_bar_counts_members(capsys):
    cdl.replicate(net(), N).fit(X, Y, verbose=1)
    assert "5/5" in capsys.readouterr().out


def test_members_are_arrays_alone():
    def models():
        gc.collect()
        return sum(isinstance(each, cdl.Model) for each in gc.get_objects())

    model = net()
    before = models()
    many = cdl.replicate(model, 500, weights="same")
    many.predict(X[0])
    many.fit(X[0], Y[0], workers=2)
    assert models() - before <= 4
    numbers = sum(each.size for each in model.get_weights())
    kept = sum(each.nbytes for each in many._stacks)
    assert kept == 500 * (3 * 4 * numbers + 8 + 4)  # Adam's two slots, its steps and rate
