"""Code of the user's that is not compiled says so once, with reason and line."""

import copy
import functools
import pickle
import warnings

import numpy as np
import pytest
from trainers.nets import data, net

import cdl
from cdl import layers, ops
from cdl.losses import Loss, MeanSquaredError
from cdl.metrics import Mean, Metric

X, VALUES, LABELS, ONE_HOT = data(20)


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    """No code has been warned of before."""
    monkeypatch.setattr("cdl._tracing.untraced._told", {})


def numpy_loss(y_true, y_pred):
    return np.mean(np.copysign(y_true - y_pred, 1.0), axis=-1)


def ops_loss(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


def slip(y_true, y_pred):
    return np.mean(y_pred.tolist())


class NumpyLoss(Loss):
    def call(self, y_true, y_pred):
        return numpy_loss(y_true, y_pred)


class WholeLoss(Loss):
    def __call__(self, y_true, y_pred, sample_weight=None):
        return numpy_loss(y_true, y_pred).mean()


class Derived(MeanSquaredError):  # noqa: N818 - no exception
    def call(self, y_true, y_pred):
        return numpy_loss(y_true, y_pred)


def numpy_metric(y_true, y_pred):
    return np.copysign(y_true, y_pred)[:, 0]


class KeepsArrays(Metric):
    def __init__(self):
        super().__init__(name="kept")
        self.kept = []

    def update_state(self, y_true, y_pred):
        self.kept.append(y_pred)

    def result(self):
        return len(self.kept)


class NumpyStates(Metric):
    def __init__(self):
        super().__init__(name="states")
        self.total = self.add_weight(name="total")

    def update_state(self, y_true, y_pred):
        self.total.assign_add(np.sum(np.spacing(y_true)))

    def result(self):
        return self.total


class DerivedMean(Mean):
    def update_state(self, y_true, y_pred):
        super().update_state(y_pred)


def penalty(w):
    return float(np.sum(w)) * 0.01


def function(x):
    return np.unwrap(x)


def of(*more, **compiled):
    model = net((4, "tanh"), (2, "linear"))
    for layer in more:
        model.add(layer)
    model.compile(**{"optimizer": "sgd", "loss": "mse", **compiled})
    return model


def in_numpy(what):
    return rf"test_untraced.py:\d+: numpy.{what} of a symbolic \w+: cdl.ops has no such f.*\n    \w"


CASES = {
    "a function": (
        lambda: of(loss=numpy_loss),
        f"loss 'numpy_loss' runs in Python on each batch, and its gradient.*{in_numpy('copysign')}",
    ),
    "a partial function": (
        lambda: of(loss=functools.partial(numpy_loss)),
        f"loss 'partial' runs.*{in_numpy('copysign')}",
    ),
    "a class": (lambda: of(loss=NumpyLoss()), f"loss 'numpy_loss' runs.*{in_numpy('copysign')}"),
    "a method": (
        lambda: of(loss=slip),
        r"loss 'slip' runs.*test_untraced.py:\d+: AttributeError: 'KerasTensor' object has no "
        r"attribute 'tolist'\n    return np.mean\(y_pred.tolist\(\)\)",
    ),
    "__call__": (lambda: of(loss=WholeLoss()), r"it overrides __call__: override call\(y_true"),
    "a derived loss": (lambda: of(loss=Derived()), "derived from MeanSquaredError: derive it"),
    "a metric": (
        lambda: of(metrics=[numpy_metric]),
        f"metric 'numpy_metric' runs in Python on each batch, since.*{in_numpy('copysign')}",
    ),
    "lists": (lambda: of(metrics=[KeepsArrays()]), "metric 'kept' runs.*must have states by add_w"),
    "states": (lambda: of(metrics=[NumpyStates()]), f"metric 'states' runs.*{in_numpy('spacing')}"),
    "a derived metric": (lambda: of(metrics=[DerivedMean()]), "its class is derived from Mean"),
    "a regularizer": (
        lambda: of(layers.Dense(2, kernel_regularizer=penalty)),
        "regularizer 'penalty' of 'sequential.*/dense.*/kernel' runs.*untraced.py:\\d+: the number "
        "in a symbolic tensor is not known",
    ),
    "a Lambda": (
        lambda: of(layers.Lambda(function, name="own")),
        f"Lambda 'own' runs in Python on each batch, on one thread, since.*{in_numpy('unwrap')}",
    ),
}


@pytest.mark.parametrize(("make", "text"), CASES.values(), ids=CASES)
def test_what_is_not_compiled_is_told_once_at_the_users_line(make, text):
    model = make()
    with pytest.warns(cdl.UntracedWarning, match=f"(?s){text}") as caught:
        model.fit(X, VALUES, verbose=0)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    model.fit(X, VALUES, verbose=0)
    model.evaluate(X, VALUES, verbose=0)
    make().fit(X, VALUES, verbose=0)  # the same code in another model


@pytest.mark.parametrize(("make", "text"), CASES.values(), ids=CASES)
def test_jit_compile_refuses_it_with_the_reason(make, text):
    model = make()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cdl.UntracedWarning)
        given = {k: v for k, v in model._compiled.given.items() if k != "jit_compile"}
        model.compile(**given, jit_compile=True)
        before = model.get_weights()
        with pytest.raises(ValueError, match="jit_compile=True must be left out") as caught:
            model.fit(X, VALUES, verbose=0)
        assert "could not be traced" in str(caught.value)
        assert all(map(np.array_equal, model.get_weights(), before))
        model.compile(**given, jit_compile=False)
        model.fit(X, VALUES, verbose=0)


def test_jit_compile_takes_what_is_compiled():
    of(loss=ops_loss, jit_compile=True).fit(X, VALUES, verbose=0)
    of(metrics=["mae", ops_loss], jit_compile=True).fit(X, VALUES, verbose=0)


def test_jit_compile_refuses_steps_in_python_at_once():
    class Own(cdl.Sequential):
        def train_step(self, batch):
            return {"loss": 0.0}

    class Step(cdl.optimizers.Optimizer):
        def update_step(self, gradient, variable, learning_rate):
            self.assign_sub(variable, learning_rate * gradient)

    with pytest.raises(ValueError, match=r"since Own.train_step of one's own runs in Python"):
        Own([layers.Dense(2)]).compile("sgd", "mse", jit_compile=True)
    with pytest.raises(ValueError, match=r"since Step.update_step of one's own runs in Python"):
        of(optimizer=Step(0.1), jit_compile=True)


def test_jit_compile_of_a_file_is_no_wish_of_the_users(tmp_path):
    of(loss=numpy_loss).save(tmp_path / "a.keras")  # "auto" is True in files, as in Keras's
    model = cdl.models.load_model(tmp_path / "a.keras", {"numpy_loss": numpy_loss})
    with pytest.warns(cdl.UntracedWarning):
        model.fit(X, VALUES, verbose=0)


def test_what_compares_samples_has_a_compiled_gradient_and_is_not_told():
    def contrast(y_true, y_pred):
        return ops.sum(ops.square(ops.matmul(y_pred, ops.transpose(y_pred))))

    model = of(loss=contrast)
    model.fit(X, VALUES, verbose=0)
    model.evaluate(X, VALUES, verbose=0)


def test_own_kinds_of_cdl_are_not_told():
    of(loss="dice").fit(X, np.abs(VALUES), verbose=0)


def test_evaluation_alone_tells_too():
    with pytest.warns(cdl.UntracedWarning, match="loss 'numpy_loss'"):
        of(loss=numpy_loss).evaluate(X, VALUES, verbose=0)
    with pytest.warns(cdl.UntracedWarning, match="Lambda 'own'"):
        of(layers.Lambda(function, name="own")).predict(X, verbose=0)


def test_an_error_of_the_function_is_not_hidden_by_the_warning():
    def wrong(y_true, y_pred):
        return unknown_name  # noqa: F821

    with pytest.raises(NameError, match="unknown_name"):
        of(loss=wrong).fit(X, VALUES, verbose=0)


def test_code_that_is_gone_is_forgotten():
    from cdl._tracing import untraced

    def told():
        space = {"np": np}
        exec("def f(y, p): return np.mean(np.asarray(y) - p, axis=-1)", space)
        with pytest.warns(cdl.UntracedWarning):
            of(loss=space["f"]).fit(X, VALUES, verbose=0)

    for _ in range(3):
        told()
    import gc

    gc.collect()
    assert not untraced._told


def test_a_model_that_was_told_of_can_be_copied():
    model = of(loss=numpy_loss, metrics=[numpy_metric])
    with pytest.warns(cdl.UntracedWarning):
        model.fit(X, VALUES, verbose=0)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        other.fit(X, VALUES, verbose=0)
