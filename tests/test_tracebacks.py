"""Tracebacks above an error's text show the user's names, no wrapper of cdl's."""

import importlib
import inspect
import pickle
import traceback
import types

import numpy as np
import pytest

import cdl
from cdl import config, layers, losses, metrics, optimizers, saving, utils

X = np.ones((8, 4), np.float32)


def _model():
    model = cdl.Sequential([layers.Dense(1)])
    model.compile("adam", "mse")
    return model


def _wrong_shape():
    model = _model()
    model.build((None, 4))
    model.fit(X[:, :3], X[:, :1], verbose=0)


class _Layer(layers.Layer):
    def build(self, input_shape):
        raise RuntimeError("of the user's")


MISTAKES = {
    "fit with an argument that there is not": lambda: _model().fit(X, X, epoch=3),
    "fit with wrong shapes": _wrong_shape,
    "fit without targets": lambda: _model().fit(X, verbose=0),
    "compile with an argument that there is not": lambda: _model().compile("adam", metric=["x"]),
    "a rate that is none": lambda: layers.Dropout(20),
    "an argument of a layer that there is not": lambda: layers.Dense(3, activaton="relu"),
    "an argument of an optimizer that there is not": lambda: optimizers.Adam(learning_rat=1.0),
    "two names of one argument": lambda: layers.Dense(3, output_dim=3),
    "a build that fails": lambda: _Layer()(X),
    "an operation that fails": lambda: cdl.ops.matmul(X, X),
    "labels that are none": lambda: utils.to_categorical([-1]),
}
_FILES = ("_common/errors.py", "compat.py", "_common/public_names.py")


def _wrappers(error):
    """The frames of decorators between the user's line and the error."""
    frames = traceback.extract_tb(error.__traceback__)
    return [
        frame
        for frame in frames
        if frame.filename.endswith(_FILES) or frame.name in ("opened", "run")
    ]


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_no_wrapper_stands_in_a_traceback(mistake):
    with pytest.raises(Exception) as caught:
        mistake()
    assert _wrappers(caught.value) == []


def frames_of(call, error=ValueError):
    with pytest.raises(error) as caught:
        call()
    return [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)][1:]


@pytest.mark.parametrize(
    "mistake",
    [
        _wrong_shape,
        lambda: _model().fit(X, X[:5], verbose=0),
        lambda: _model().fit(X, X[:, :3], verbose=0),
        lambda: layers.Dense(0),
    ],
)
def test_one_line_of_cdl_stands_under_the_users(mistake):
    assert len(frames_of(mistake)) == 2


def test_the_users_own_lines_are_shown():
    def loss(y_true, y_pred):
        return cdl.ops.matmul(y_true, y_pred)

    model = _model()
    model.compile("adam", loss)
    names = frames_of(lambda: model.fit(X, X[:, :1], verbose=0))
    assert names[0] == "<lambda>" and names[2] == "loss" and len(names) == 4


def test_a_fault_of_cdl_keeps_all_its_lines(monkeypatch):
    model = _model()
    model.build((None, 4))
    monkeypatch.setattr("cdl.trainers.data_adapter.checked_targets", lambda *_: {}["no"])
    assert len(frames_of(lambda: model.fit(X, X[:, :1], verbose=0), KeyError)) > 4


def test_traceback_that_is_not_filtered_is_whole():
    config.disable_traceback_filtering()
    try:
        with pytest.raises(ValueError) as caught:
            _wrong_shape()
    finally:
        config.enable_traceback_filtering()
    assert [frame.name for frame in _wrappers(caught.value)] == ["call", "call"]


def test_message_stands_at_the_user_s_line():
    model = _model()
    with pytest.raises(TypeError) as caught:
        model.fit(X, X, epoch=3)
    (frame,) = traceback.extract_tb(caught.value.__traceback__)
    assert frame.filename == __file__
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: _model().compile("adam", metric=["x"]),
            "compile() got an unexpected keyword argument 'metric'; did you mean 'metrics'?",
        ),
        (
            lambda: _model().fit(X, X, epoch=3),
            "fit() got an unexpected keyword argument 'epoch'; did you mean 'epochs'?",
        ),
        (lambda: _model().save(), "save() missing 1 required positional argument: 'filepath'"),
        (
            lambda: layers.Dense(unts=3),
            "Dense.__init__() missing 1 required positional argument: 'units'; got 'unts'; "
            "did you mean 'units'?",
        ),
        (lambda: _model().predict(), "predict() missing 1 required positional argument: 'x'"),
        (
            lambda: metrics.TruePositives(threshold=1),
            "TruePositives.__init__() got an unexpected keyword argument 'threshold'; "
            "did you mean 'thresholds'?",
        ),
    ],
    ids=["compile", "fit", "save", "Dense", "predict", "TruePositives"],
)
def test_error_of_python_names_what_the_user_has_called(call, text):
    with pytest.raises(TypeError) as caught:
        call()
    assert str(caught.value) == text


PUBLIC = [
    getattr(module, name)
    for module in map(
        importlib.import_module,
        [
            *(f"cdl.{name}" for name in ("layers", "models", "losses", "metrics", "optimizers")),
            *(f"cdl.{name}" for name in ("optimizers.schedules", "callbacks", "initializers")),
            *(f"cdl.{name}" for name in ("regularizers", "constraints", "utils", "sklearn")),
        ],
    )
    for name in dir(module)
    if inspect.isclass(getattr(module, name))
]


@pytest.mark.parametrize("cls", PUBLIC, ids=lambda cls: cls.__name__)
def test_methods_bear_no_private_name(cls):
    known = {each.__name__ for each in PUBLIC}
    for name in [name for name in dir(cls) if name[0] != "_" or name in ("__init__", "__call__")]:
        method = inspect.getattr_static(cls, name)
        method = getattr(method, "__func__", method)
        if isinstance(method, types.FunctionType) and method.__module__.startswith("cdl."):
            owner, _, _ = method.__qualname__.rpartition(".")
            assert owner in known | {""}, method.__qualname__


ERRORS = {
    "no array": (lambda: _model().predict({"a": object()}), TypeError, ValueError),
    "no label": (lambda: utils.to_categorical([1, 5], 3), ValueError, IndexError),
    "no class": (
        lambda: saving.deserialize_keras_object({"class_name": "Nothing", "config": {}}),
        TypeError,
        ValueError,
    ),
}


@pytest.mark.parametrize(("call", "kind", "other"), ERRORS.values(), ids=ERRORS)
def test_error_of_two_kinds_shows_the_name_of_the_first(call, kind, other):
    with pytest.raises(kind) as caught:
        call()
    error = caught.value
    assert isinstance(error, other)
    shown = traceback.format_exception_only(error)[0]
    assert shown.startswith(f"{kind.__name__}: ")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)


def test_losses_too_say_their_own_name():
    with pytest.raises(TypeError, match=r"^MeanSquaredError.__init__\(\) got an unexpected"):
        losses.MeanSquaredError(redction="sum")
