"""Models that override train_step, test_step, predict_step, compute_metrics."""

import numpy as np
import pytest
from trainers.nets import data, same_weights

from cdl import GradientTape, Sequential, metrics
from cdl.callbacks import Callback
from cdl.layers import Dense, Input
from cdl.utils import PyDataset

X, NUMBERS, LABELS, ONE_HOT = data(50)
WEIGHTS = np.random.default_rng(3).uniform(0.5, 2.0, 50)


def model_of(cls, compiled=True):
    model = cls([Input((5,)), Dense(6, activation="tanh"), Dense(3, activation="softmax")])
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(size=w.shape) * 0.5 for w in model.get_weights()])
    if compiled:
        loss = "categorical_crossentropy"
        model.compile("adam", loss, metrics=["accuracy"], weighted_metrics=["mae"])
    return model


def fit(model, *args, **options):
    np.random.seed(0)
    return model.fit(*args, **{"epochs": 2, "batch_size": 16, "verbose": 0, **options}).history


class Noting(Sequential):
    """A model that records the arguments of its steps."""

    seen = ()

    def train_step(self, data):
        self.seen = (*self.seen, data)
        return super().train_step(data)


class LossAndMetrics(Sequential):
    """A model that computes loss and metrics in its steps as the default steps do."""

    def train_step(self, data):
        x, y = data
        y_pred = self(x, training=True)
        loss = self.compute_loss(x=x, y=y, y_pred=y_pred)
        gradients = self.gradients(x, y)
        self.optimizer.apply_gradients(
            zip(gradients.values(), self.trainable_variables, strict=True)
        )
        return self.add(x, y, y_pred, loss)

    def test_step(self, data):
        x, y = data
        y_pred = self(x, training=False)
        return self.add(x, y, y_pred, self.compute_loss(y=y, y_pred=y_pred, training=False))

    def add(self, x, *rest, **options):
        if not rest:
            return super().add(x, **options)
        y, y_pred, loss = rest
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss, sample_weight=len(x))
            else:
                metric.update_state(y, y_pred)
        return {metric.name: metric.result() for metric in self.metrics}


def assert_alike(one, other):
    assert list(one) == list(other)
    for name in one:
        np.testing.assert_allclose(one[name], other[name], rtol=2e-6, err_msg=name)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"sample_weight": WEIGHTS},
        {"class_weight": {0: 2.0, 1: 0.5}},
        {"validation_split": 0.3, "sample_weight": WEIGHTS},
        {"validation_data": (X, ONE_HOT, WEIGHTS)},
        {"steps_per_epoch": 2},
        {"shuffle": False},
        {"shuffle": "batch"},
    ],
)
def test_the_default_step_is_what_fit_does(options):
    plain, noting = model_of(Sequential), model_of(Noting)
    assert fit(plain, X, ONE_HOT, **options) == fit(noting, X, ONE_HOT, **options)
    assert same_weights(plain, noting.get_weights())
    assert plain.evaluate(X, ONE_HOT, verbose=0) == noting.evaluate(X, ONE_HOT, verbose=0)
    arguments = (X[:7], ONE_HOT[:7], WEIGHTS[:7])
    assert plain.train_on_batch(*arguments) == noting.train_on_batch(*arguments)


class Watching(Callback):
    """Compares the metrics of the model with the logs of each batch."""

    def on_train_batch_end(self, batch, logs=None):
        np.testing.assert_allclose(self.model.get_metrics_result()["loss"], logs["loss"], 1e-6)

    on_test_batch_end = on_train_batch_end


@pytest.mark.parametrize("left", [(), ("train_step",), ("test_step",), ("train_step", "test_step")])
def test_steps_by_hand_are_the_default_ones(left):
    defaults = {name: getattr(Sequential, name) for name in left}
    plain, by_hand = model_of(Sequential), model_of(type("ByHand", (LossAndMetrics,), defaults))
    for each in (plain, by_hand):
        each.compile("adam", "categorical_crossentropy", metrics=["accuracy", "mae"])
    options = {"validation_data": (X[:20], ONE_HOT[:20]), "callbacks": [Watching()]}
    assert_alike(fit(plain, X, ONE_HOT, **options), fit(by_hand, X, ONE_HOT, **options))
    expected, found = (each.evaluate(X, ONE_HOT, verbose=0) for each in (plain, by_hand))
    np.testing.assert_allclose(found, expected, rtol=2e-6)
    for call in ("test_on_batch", "train_on_batch", "test_on_batch"):
        expected, found = (getattr(each, call)(X, ONE_HOT) for each in (plain, by_hand))
        np.testing.assert_allclose(found, expected, rtol=2e-6)
    names = [metric.name for metric in by_hand.metrics]
    assert names == ["loss", "compile_metrics"]
    assert list(by_hand.get_metrics_result()) == ["accuracy", "loss", "mae"]


def read_after(kind):
    def step(self, data):
        getattr(Sequential, kind)(self, data)
        return {metric.name: metric.result() for metric in self.metrics}

    return step


def test_metrics_have_what_a_default_step_has_added():
    steps = {kind: read_after(kind) for kind in ("train_step", "test_step")}
    plain, reading = model_of(Sequential), model_of(type("Reading", (Sequential,), steps))
    options = {"validation_data": (X[:20], ONE_HOT[:20])}
    assert_alike(fit(plain, X, ONE_HOT, **options), fit(reading, X, ONE_HOT, **options))
    expected, found = (each.evaluate(X, ONE_HOT, verbose=0) for each in (plain, reading))
    np.testing.assert_allclose(found, expected, rtol=2e-6)


def test_a_step_that_updates_the_metrics_of_compile_is_recorded():
    class Taped(LossAndMetrics):
        def train_step(self, data):
            x, y = data
            with GradientTape() as tape:
                y_pred = self(x, training=True)
                loss = self.compute_loss(y=y, y_pred=y_pred)
            weights = self.trainable_variables
            self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
            for metric in self.metrics:
                if metric.name == "loss":
                    metric.update_state(loss)
                else:
                    metric.update_state(y, y_pred)
            return {metric.name: metric.result() for metric in self.metrics}

    plain, taped = model_of(Sequential), model_of(Taped)
    found = [fit(each, X[:48], ONE_HOT[:48], epochs=3) for each in (plain, taped)]
    assert_alike(*found)
    assert taped._compiled.chains.reasons == {}


def test_a_step_sees_batches_as_the_user_nested_them():
    model = model_of(Noting)
    fit(model, X.astype(np.float64), ONE_HOT, epochs=1, shuffle=False)
    assert [[part.shape for part in step] for step in model.seen] == [
        [(16, 5), (16, 3)],
        [(16, 5), (16, 3)],
        [(16, 5), (16, 3)],
        [(2, 5), (2, 3)],
    ]
    assert {part.dtype for step in model.seen for part in step} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(model.seen[1][0], X[16:32])


class Loose(Sequential):
    """A model whose steps take any data and need no loss."""

    def __init__(self, *args):
        super().__init__(*args)
        self.seen = []
        self.size = metrics.Mean(name="size")

    @property
    def metrics(self):
        return [self.size]

    def train_step(self, data):
        self.seen.append(data)
        x = data
        while not isinstance(x, np.ndarray):
            x = x["a"] if isinstance(x, dict) else x[0]
        self.size.update_state(np.full(len(x), len(x)))
        return {"size": self.size.result()}

    test_step = train_step


@pytest.mark.parametrize(
    ("x", "y", "kind"),
    [
        (X, None, np.ndarray),
        ({"a": X, "b": [NUMBERS, LABELS]}, None, dict),
        ([X, NUMBERS], None, tuple),
        ({"a": X}, {"p": NUMBERS, "q": LABELS}, tuple),
    ],
)
def test_data_need_not_fit_the_model(x, y, kind):
    model = model_of(Loose, compiled=False)
    model.compile("adam")
    history = fit(model, x, y, validation_split=0.2)
    assert history == {"size": [float(np.float32(14.4))] * 2, "val_size": [10.0, 10.0]}
    assert type(model.seen[0]) is kind


def test_metrics_are_reset_before_each_epoch():
    model = model_of(Loose, compiled=False)
    model.compile("adam")
    assert fit(model, X, batch_size=25)["size"] == [25.0, 25.0]
    assert model.evaluate(X, batch_size=10, verbose=0) == 10.0


def batches(form):
    for start in range(0, 50, 10):
        rows = slice(start, start + 10)
        yield {"x": (X[rows],), "xy": (X[rows], ONE_HOT[rows])}[form]


class Dataset(PyDataset):
    """A PyDataset of five batches of the arrays."""

    def __len__(self):
        return 5

    def __getitem__(self, i):
        rows = slice(10 * i, 10 * i + 10)
        return X[rows], ONE_HOT[rows]


def test_streams_come_as_they_yield():
    model, plain = model_of(Noting), model_of(Sequential)
    assert fit(model, batches("xy"), epochs=1, batch_size=None) == fit(
        plain, batches("xy"), epochs=1, batch_size=None
    )
    options = {"batch_size": None, "shuffle": False}
    assert fit(model, Dataset(), **options) == fit(plain, Dataset(), **options)
    loose = model_of(Loose, compiled=False)
    loose.compile("adam")
    fit(loose, batches("x"), epochs=1, batch_size=None)
    assert [(type(step), len(step)) for step in loose.seen] == [(tuple, 1)] * 5


class Counting(Sequential):
    """Adds a metric of its own to those of compile."""

    def __init__(self, *args):
        super().__init__(*args)
        self.top = metrics.Mean(name="top")

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        values = super().compute_metrics(x, y, y_pred, sample_weight)
        self.top.update_state(y_pred.max(axis=1))
        return {**values, "top": self.top.result()}


def test_compute_metrics_of_one_s_own_sees_each_batch():
    plain, counting = model_of(Sequential), model_of(Counting)
    options = {"validation_split": 0.3, "sample_weight": WEIGHTS}
    expected, found = (fit(each, X, ONE_HOT, **options) for each in (plain, counting))
    tops = found.pop("top"), found.pop("val_top")
    assert_alike(expected, found)
    assert same_weights(plain, counting.get_weights())
    assert all(1 / 3 < each < 1 for each in (*tops[0], *tops[1]))
    values = counting.evaluate(X, ONE_HOT, verbose=0, return_dict=True)
    np.testing.assert_allclose(values["top"], counting.predict(X).max(1).mean(), rtol=1e-6)


class Doubling(Sequential):
    """Predicts more than its outputs."""

    def predict_step(self, data):
        return {"twice": 2 * self(data, training=False), "row": np.arange(len(data))}


def test_predict_step_of_one_s_own_gives_each_batch():
    model = model_of(Doubling)
    found = model.predict(X, batch_size=20, verbose=0)
    np.testing.assert_array_equal(found["twice"], 2 * model(X))
    np.testing.assert_array_equal(found["row"], [*range(20), *range(20), *range(10)])
    model.predict(X[:1], verbose=0)
    assert set(model.predict(X[:1], verbose=0)) == {"twice", "row"}
    assert len(model.predict(X, batch_size=20, steps=2, verbose=0)["row"]) == 40
    assert set(model.predict_on_batch(X[:1])) == {"twice", "row"}


def test_what_a_step_must_not_do_is_said():
    wrong = type("Wrong", (Sequential,), {"train_step": lambda self, data: 3})
    with pytest.raises(TypeError, match="Wrong: train_step must return a dict of logs, got 3"):
        model_of(wrong).fit(X, ONE_HOT, verbose=0)
    broken = type("Broken", (Sequential,), {"train_step": lambda self, data: 1 / 0})
    model = model_of(broken)
    with pytest.raises(ZeroDivisionError):
        model.fit(X, ONE_HOT, verbose=0)
    with pytest.raises(ValueError, match="fit: y must have as many rows as x, expected 50, got 49"):
        model.fit(X, ONE_HOT[:49], verbose=0)
    with pytest.raises(ValueError, match="fit: y must be one array for class_weight"):
        model.fit(X, [ONE_HOT, LABELS], class_weight={0: 1.0}, verbose=0)
    with pytest.raises(ValueError, match="compute_loss: the model must be compiled with a loss"):
        unscored = model_of(broken, compiled=False)
        unscored.compile("adam")
        unscored.compute_loss(y=ONE_HOT, y_pred=ONE_HOT)


def test_compute_loss_of_arrays_is_the_loss_of_compile():
    model = model_of(Sequential)
    value = model.compute_loss(X, ONE_HOT, model(X), WEIGHTS)
    expected = model.test_on_batch(X, ONE_HOT, WEIGHTS)[0]
    np.testing.assert_allclose(value, expected, rtol=1e-6)


def of_torch(self, data):
    self.compute_loss(*data, self(data[0])).backward()


@pytest.mark.parametrize(
    ("step", "error", "text"),
    [
        (of_torch, AttributeError, "no attribute 'backward'"),
        (lambda self, data: self.zero_grad(), AttributeError, "no attribute 'zero_grad'"),
        (lambda self, data: self.trainable_variables[0].grad, AttributeError, "attribute 'grad'"),
        (lambda self, state, data: ({}, state), TypeError, r"got \(state, data\): .* are for JAX"),
    ],
    ids=["backward", "zero_grad", "grad", "state"],
)
def test_steps_of_other_backends_are_told_what_to_write(step, error, text):
    model = model_of(type("Foreign", (Sequential,), {"train_step": step}))
    before = model.get_weights()
    with pytest.raises(error, match=f"train_step: .*{text}.*cdl.GradientTape.. as tape"):
        model.fit(X, ONE_HOT, verbose=0)
    assert same_weights(model, before)
