"""Helpers of the recorded cases of Keras's own results; see trainers/keras_cases.py.

A case is a function of the module under test, `cdl` or `keras`: it gives numbers, names and lists.
"""

import json
import os
import warnings
from pathlib import Path

import numpy as np

RNG = np.random.RandomState(3)
X = RNG.normal(size=(22, 4)).astype("float32")
Y = RNG.normal(size=(22, 2)).astype("float32")
LABELS = RNG.randint(0, 3, 22)
ONE_HOT = np.eye(3, dtype="float32")[LABELS]
WEIGHTS = RNG.uniform(0.2, 2.0, 22).astype("float32")
CLASS_WEIGHTS = {0: 0.5, 1: 3.0}


def net(K, units=2, activation=None, loss="mse", optimizer=None, **compile):
    model = K.Sequential(
        [K.Input((4,)), K.layers.Dense(5, "tanh"), K.layers.Dense(units, activation)]
    )
    rng = np.random.RandomState(1)
    model.set_weights([rng.normal(size=w.shape) * 0.7 for w in model.get_weights()])
    model.compile(optimizer or K.optimizers.SGD(0.1, momentum=0.5), loss, **compile)
    return model


def fit(model, x=X, y=Y, **kwargs):
    """All that `fit` leaves: names in order, values, epochs, steps, weights."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        given = {"verbose": 0, "shuffle": False, "batch_size": 5, "epochs": 3} | kwargs
        history = model.fit(x, y, **given)
    return {
        "names": list(history.history),
        "values": [[float(v) for v in values] for values in history.history.values()],
        "epoch": history.epoch,
        "steps": history.params["steps"],
        "weights": [w.tolist() for w in model.get_weights()],
        "iterations": int(model.optimizer.iterations),
    }


def classes(K, **compile):
    return net(K, 3, "softmax", "sparse_categorical_crossentropy", metrics=["acc"], **compile)


def record(cases, path, names=()):
    """Record what Keras gives for all cases, or only for those of the names given."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import keras

    results = json.loads(path.read_text()) if names else {}
    for case in cases:
        if not names or case.__name__ in names:
            keras.utils.clear_session()
            results[case.__name__] = _rounded(case(keras))
    found = [case.__name__ for case in cases if case.__name__ in results]
    lines = (f"{json.dumps(name)}: {json.dumps(results[name])}" for name in found)
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def recorded(path):
    """The results in a file that `record` wrote."""
    return json.loads(Path(path).read_text())


def _rounded(value):
    if isinstance(value, float):
        return float(f"{value:.7g}")
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, (list, tuple)) else value


def cases_of(names):
    """The public functions of one argument K among a module's names."""
    return [
        value
        for name, value in names.items()
        if callable(value)
        and getattr(value, "__module__", None) == names["__name__"]
        and not name.startswith("_")
    ]


def assert_same(ours, theirs, place):
    """All names and whole numbers alike, and floats within what float32 sums differ by."""
    if isinstance(theirs, (list, tuple)):
        assert len(ours) == len(theirs), f"{place}: {ours} is not {theirs}"
        if theirs and all(isinstance(each, float) for each in theirs):
            np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-6, err_msg=place)
            return
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            assert_same(a, b, f"{place}[{i}]")
    elif isinstance(theirs, dict):
        assert list(ours) == list(theirs), place
        for key, value in theirs.items():
            assert_same(ours[key], value, f"{place}[{key!r}]")
    elif isinstance(theirs, float):
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-6, err_msg=place)
    else:
        assert ours == theirs, place
