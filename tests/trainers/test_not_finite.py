"""A loss that has become NaN says where that comes from, once."""

import math

import numpy as np
import pytest
from trainers.nets import data, net

import cdl
from cdl import Input, layers, ops, utils
from cdl.callbacks import TerminateOnNaN
from cdl.optimizers import SGD

pandas = pytest.importorskip("pandas")
X, VALUES, LABELS, ONE_HOT = data(40)
NAMES = ["Age", "Fare", "Sex", "Class", "Kin"]


def with_holes(array, *places, value=np.nan):
    array = np.array(array)
    for place in places:
        array[place] = value
    return array


HOLES = with_holes(X, (5, 0), (6, 0), (20, 2))


def of(*more, optimizer="sgd", loss="mse"):
    model = net((4, "tanh"), (2, "linear"))
    for layer in more:
        model.add(layer)
    model.compile(optimizer, loss)
    return model


def fit(model, x=X, y=VALUES, **options):
    return model.fit(x, y, **{"verbose": 0, "epochs": 3, **options})


def in_batches(x, y=VALUES):
    for i in range(0, 40, 10):
        yield x[i : i + 10], y[i : i + 10]


class Logs(layers.Layer):
    def build(self, shape):
        self.inner = layers.Dense(2, name="inner")

    def call(self, x):
        return ops.log(self.inner(x) - 1e3)


class Own(cdl.Model):
    def __init__(self):
        super().__init__()
        self.first, self.last = Logs(name="mine"), layers.Dense(2)

    def call(self, x):
        return self.last(self.first(x))


def functional():
    x = Input((5,))
    roots = ops.sqrt(layers.Dense(4, name="before")(x) - 1e3)
    model = cdl.Model(x, layers.Dense(2, name="behind")(roots))
    model.compile("sgd", "mse")
    return model


def own():
    model = Own()
    model.compile("sgd", "mse")
    return model


def log_of_outputs(y_true, y_pred):
    return ops.log(y_pred - 1e3)


def two_inputs():
    a, b = Input((5,), name="a"), Input((5,), name="b")
    model = cdl.Model([a, b], layers.Dense(2)(layers.Add()([a, b])))
    model.compile("sgd", "mse")
    return model


class Batches(utils.PyDataset):
    def __len__(self):
        return 4

    def __getitem__(self, i):
        return HOLES[10 * i : 10 * i + 10], VALUES[10 * i : 10 * i + 10]


# Fits, and the text of the warning
CASES = {
    "columns of a frame": (
        lambda: fit(of(), pandas.DataFrame(HOLES, columns=NAMES)),
        "fit: the loss has become nan: x holds NaN in columns 'Age', 'Sex', in 3 of 40 rows, the "
        "first of them row 5: give",
    ),
    "columns of an array": (lambda: fit(of(), HOLES), "x holds NaN in columns 0, 2, in 3 of 40"),
    "one column": (
        lambda: fit(of(), with_holes(X, (39, 4), value=np.inf)),
        "x holds inf in column 4, in 1 of 40 rows, the first of them row 39",
    ),
    "both": (
        lambda: fit(of(), with_holes(HOLES, (1, 1), value=-np.inf)),
        "x holds NaN and inf in columns 0, 1, 2, in 4 of 40 rows, the first of them row 1",
    ),
    "beyond float32": (
        lambda: fit(of(), X.astype(np.float64) * np.where(np.arange(5) == 3, 1e200, 1)),
        "x holds inf in column 3, in 40 of 40 rows, the first of them row 0",
    ),
    "targets": (
        lambda: fit(of(), y=with_holes(VALUES, (7, 1))),
        "y holds NaN in column 1, in 1 of 40 rows, the first of them row 7",
    ),
    "weights": (
        lambda: fit(of(), sample_weight=with_holes(np.ones(40), 9)),
        "sample_weight holds NaN, in 1 of 40 rows, the first of them row 9",
    ),
    "an input of two": (lambda: fit(two_inputs(), [X, HOLES]), "input 'b' holds NaN in columns 0"),
    "a sparse matrix": (lambda: fit(of(), sparse(HOLES)), "x holds NaN in columns 0, 2, in 3 of"),
    "validation": (
        lambda: fit(of(), validation_data=(HOLES, VALUES)),
        "fit: validation_data: the loss has become nan: x holds NaN in columns 0, 2, in 3 of 40",
    ),
    "the last batch": (
        lambda: fit(of(), in_batches(HOLES[::-1]), None, epochs=1),
        "x of the last batch holds NaN in column 0, in 2 of 10 rows, the first of them row 3",
    ),
    "an earlier batch": (
        lambda: fit(of(), Batches(), None, epochs=1, shuffle=False),
        "an earlier batch was not finite, or steps were too large",
    ),
    "evaluation": (
        lambda: of().evaluate(HOLES, VALUES, verbose=0),
        "evaluate: the loss has become nan: x holds NaN in columns 0, 2",
    ),
    "a layer": (
        lambda: fit(of(layers.Lambda(lambda x: ops.log(x - 1e3), name="logs"), layers.Dense(2))),
        "the loss has become nan: layer 'logs' is the first to give NaN, for data that are finite",
    ),
    "an infinite layer": (
        lambda: of(layers.Rescaling(1e38), layers.Rescaling(1e38, name="huge")).evaluate(
            X, VALUES, verbose=0
        ),
        "evaluate: the loss has become inf: layer 'huge' is the first to give inf",
    ),
    "an operation": (
        lambda: fit(functional()),
        "'sqrt' before layer 'behind' is the first to give NaN",
    ),
    "a layer of one's own": (lambda: fit(own()), "layer 'mine' is the first to give NaN"),
    "a loss": (
        lambda: fit(of(loss=log_of_outputs)),
        "the loss 'log_of_outputs' gives that for outputs and targets that are finite",
    ),
    "steps": (
        lambda: fit(of(optimizer=SGD(1e8)), epochs=20),
        "steps were too large, since data and layers are finite: lower the learning_rate of 1e+08",
    ),
}


def sparse(array):
    return pytest.importorskip("scipy.sparse").csr_matrix(array)


@pytest.mark.parametrize(("run", "text"), CASES.values(), ids=CASES)
def test_the_warning_says_once_where_it_comes_from(run, text):
    with pytest.warns(UserWarning) as caught:
        run()
    assert len(caught) == 1
    assert text in str(caught[0].message)
    assert caught[0].filename == __file__


def test_weights_are_left_as_they_are():
    model, twin = of(layers.Dense(2)), of(layers.Dense(2))
    twin.set_weights(model.get_weights())
    with pytest.warns(UserWarning, match="x holds NaN"):
        fit(model, HOLES, shuffle=False)
    with pytest.warns(UserWarning, match="layer 'logs'"):
        fit(of(layers.Lambda(lambda x: ops.log(x - 1e3), name="logs")))
    assert all(np.isnan(w).all() for w in model.get_weights())


def test_batches_one_by_one_tell_once():
    model = of()
    with pytest.warns(UserWarning, match="train_on_batch: the loss has become nan") as caught:
        for _ in range(3):
            assert math.isnan(model.train_on_batch(HOLES, VALUES))
    assert len(caught) == 1


def test_each_fit_tells_and_epochs_that_run_together_do_too():
    model = of()
    for _ in range(2):
        with pytest.warns(UserWarning, match="x holds NaN") as caught:
            fit(model, HOLES, epochs=30)
        assert len(caught) == 1


def test_terminate_on_nan_ends_as_before():
    with pytest.warns(UserWarning, match="x holds NaN"):
        history = fit(of(), HOLES, callbacks=[TerminateOnNaN()])
    assert len(history.epoch) == 1


def test_nothing_is_looked_at_while_losses_are_finite(monkeypatch):
    def fail(*args):
        raise AssertionError("data were searched")

    monkeypatch.setattr("cdl.trainers.not_finite.tell", fail)
    model = of()
    fit(model, validation_split=0.25)
    model.evaluate(X, VALUES, verbose=0)
    model.train_on_batch(X, VALUES)


# --- what was lost before ---


def normed():
    model = cdl.Sequential([Input((5,)), layers.Dense(4, "tanh", name="first")])
    model.add(layers.BatchNormalization(name="norm"))
    model.add(layers.Dense(2, name="last"))
    model.compile("adam", "mse")
    return model


def lost_by_data(model):
    with pytest.warns(UserWarning, match="x holds NaN"):
        fit(model, HOLES)


def set_one(path, value=np.nan):
    def lose(model):
        fit(model)
        variable = next(v for v in model.variables if v.path.endswith(path))
        values = variable.numpy()
        values.flat[0] = value
        variable.assign(values)

    return lose


def lost_slot(model):
    fit(model)
    slot = next(v for v in model.optimizer.variables if v.path.endswith("velocity"))
    slot.assign(np.full(slot.shape, np.nan))


def weights_set_anew(model):
    kept = model.get_weights()
    lost_by_data(model)
    model.set_weights(kept)


LOST = {
    "data": (
        lost_by_data,
        r"weights were NaN before this fit \('sequential.*/kernel' and \d+ more",
    ),
    "one": (
        set_one("last/bias"),
        r"weights were NaN before this fit \('sequential\S*/last/bias'\)",
    ),
    "inf": (set_one("last/kernel", np.inf), r"weights were inf before this fit .*/last/kernel"),
    "slot": (lost_slot, r"what the optimizer keeps was NaN before this fit, though .*velocity"),
    "reset": (weights_set_anew, r"what the optimizer keeps was NaN before this fit, though "),
}


@pytest.mark.parametrize("name", LOST)
@pytest.mark.parametrize("streamed", [False, True])
def test_what_was_lost_before_a_fit_is_named_first(name, streamed):
    lose, text = LOST[name]
    model = normed()
    lose(model)
    with pytest.warns(UserWarning, match=rf"^fit: the loss has become (nan|inf): {text}"):
        if streamed:
            model.fit(in_batches(X), epochs=1, verbose=0)
        else:
            fit(model)


def test_moving_statistics_that_were_lost_are_named():
    model = normed()
    set_one("moving_variance")(model)
    state = r"a state of a layer was NaN before this fit \('sequential\S*/norm/moving_variance'\)"
    with pytest.warns(UserWarning, match=rf"^fit: validation_data: the loss has .* nan: {state}"):
        fit(model, validation_data=(X, VALUES))


def test_data_that_are_lost_too_are_named_behind():
    model = normed()
    lost_by_data(model)
    with pytest.warns(UserWarning, match=r"weights were NaN before this fit .*; and x holds NaN"):
        fit(model, HOLES)


@pytest.mark.parametrize("call", ["evaluate", "test_on_batch", "train_on_batch"])
def test_what_was_lost_before_another_call_is_named_first(call):
    model = normed()
    fit(model)
    weights = model.get_weights()
    weights[-1][0] = np.nan
    fresh = normed()
    fresh.set_weights(weights)
    options = {"verbose": 0} if call == "evaluate" else {}
    with pytest.warns(
        UserWarning, match=rf"weights were NaN before this call of {call} .*last/bias"
    ):
        getattr(fresh, call)(X, VALUES, **options)


def test_weights_that_are_right_again_are_not_blamed():
    model = normed()
    lost_by_data(model)
    model.set_weights(normed().get_weights())
    model.compile("adam", "mse")
    fit(model)
    with pytest.warns(UserWarning, match="x holds NaN"):
        fit(model, HOLES)


def test_weights_that_training_loses_are_not_blamed():
    model = of(optimizer=SGD(1e30))
    with pytest.warns(UserWarning, match="steps were too large"):
        fit(model)


def test_weights_that_a_fit_has_left_are_not_searched(monkeypatch):
    model = normed()
    fit(model)
    monkeypatch.setattr("cdl.trainers.not_finite._lost", lambda *args: 1 / 0)
    fit(model)
    fit(model)
    with pytest.raises(ZeroDivisionError):
        model.set_weights(model.get_weights())
        fit(model)


def test_steps_are_not_blamed_alone_where_weights_were_set_between_batches():
    model = of()
    model.train_on_batch(X, VALUES)
    model.set_weights([np.full_like(each, np.nan) for each in model.get_weights()])
    with pytest.warns(UserWarning, match="weights set since the first were not finite, or steps"):
        model.train_on_batch(X, VALUES)
