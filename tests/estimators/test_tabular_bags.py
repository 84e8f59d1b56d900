"""Bags: the same nets however many train at a time, errors by number, and Ctrl-C."""

import os
import signal
import threading

import numpy as np
import pytest

pytest.importorskip("sklearn")
joblib = pytest.importorskip("joblib")

import sklearn
from sklearn.datasets import load_diabetes, load_wine

from cdl import _core
from cdl.sklearn import TabularClassifier, TabularRegressor
from cdl.sklearn.tables.training import Course

X, Y = load_diabetes(return_X_y=True)
QUICK = {"hidden_layer_sizes": (16,), "max_epochs": 4, "random_state": 0, "n_bags": 3}
ALONE = TabularRegressor(**QUICK, n_jobs=1).fit(X, Y)


def same(one, other):
    """Whether two estimators have nets of equal weights, chosen by equal scores."""
    pairs = zip(one.models_, other.models_, strict=True)
    weights = [zip(a.get_weights(), b.get_weights(), strict=True) for a, b in pairs]
    equal = all(np.array_equal(*each) for pair in weights for each in pair)
    return equal and one.validation_scores_ == other.validation_scores_


@pytest.mark.parametrize("n_jobs", [None, 2, 3, -1])
def test_bags_have_the_bits_of_one_after_the_other(n_jobs):
    assert same(TabularRegressor(**QUICK, n_jobs=n_jobs).fit(X, Y), ALONE)


@pytest.mark.parametrize("recipe", ["realmlp", "tabm", "mlp"])
def test_bags_by_one_program_have_the_bits_of_programs_of_their_own(recipe, monkeypatch):
    small = QUICK | {"dropout": 0.2, "n_jobs": 1}
    shared = TabularRegressor(recipe, **small).fit(X, Y)
    monkeypatch.setattr("cdl.sklearn.tables.tabular.Course", lambda *given: Course(*given[:-1]))
    assert same(TabularRegressor(recipe, **small).fit(X, Y), shared)


@pytest.mark.parametrize("options", [{"early_stopping": False}, {"validation_fraction": 0.1}])
def test_bags_without_validation_and_of_other_folds_are_the_same_too(options):
    x, y = load_wine(return_X_y=True)
    weight = np.random.default_rng(0).uniform(size=len(y))
    found = [
        TabularClassifier("mlp", **QUICK, **options, n_jobs=jobs).fit(x, y, sample_weight=weight)
        for jobs in (1, 2)
    ]
    assert same(*found)


def bags_at_a_time(n_jobs=None, wait=0.2):
    """The most bags that train at one time, and the threads that each may use."""
    there, most, threads = 0, 0, set()
    lock, both = threading.Lock(), threading.Event()

    def score(estimator, x, y):
        nonlocal there, most
        with lock:
            there += 1
            most = max(most, there)
            threads.add(_core.info()["threads"])
        if there > 1:
            both.set()
        both.wait(wait)  # long where a second one must come
        with lock:
            there -= 1
        return 0.0

    options = QUICK | {"max_epochs": 1, "n_bags": 2}
    TabularRegressor(**options, scoring=score, n_jobs=n_jobs).fit(X, Y)
    return most, threads


def test_bags_take_the_cores_unless_others_have_them(monkeypatch):
    monkeypatch.setattr("cdl.sklearn.bags._threads", lambda: 2)
    assert bags_at_a_time(wait=300) == (2, {1})
    assert bags_at_a_time(1)[0] == 1
    with joblib.parallel_config("threading", n_jobs=2):  # a setting of the user's
        assert bags_at_a_time(wait=300)[0] == 2
        found = joblib.Parallel()(joblib.delayed(bags_at_a_time)() for _ in range(2))
    assert [each[0] for each in found] == [1, 1]
    monkeypatch.setattr("cdl.sklearn.bags._threads", lambda: 1)
    assert bags_at_a_time()[0] == 1


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_an_error_names_its_bag_and_leaves_the_estimator(n_jobs):
    calls = []

    def score(estimator, x, y):
        calls.append(len(y))
        if len(calls) > 3:
            raise ArithmeticError("no such score")
        return 0.0

    model = TabularRegressor(**QUICK).fit(X, Y)
    before = model.predict(X)
    model.set_params(scoring=score, n_jobs=n_jobs)
    with pytest.raises(ArithmeticError) as caught:
        model.fit(X, Y)
    assert caught.value.__notes__[0].startswith("n_bags: in bag ")
    np.testing.assert_array_equal(model.predict(X), before)


def test_settings_of_scikit_learn_and_numpy_hold_in_bags():
    found = []

    def score(estimator, x, y):
        found.append((sklearn.get_config()["assume_finite"], np.geterr()["over"]))
        return 0.0

    with sklearn.config_context(assume_finite=True), np.errstate(over="raise"):
        TabularRegressor(**QUICK, scoring=score, n_jobs=2).fit(X, Y)
    assert set(found) == {(True, "raise")}


def test_an_interrupt_ends_all_bags_and_leaves_the_estimator():
    told = []

    def score(estimator, x, y):
        if not told:  # a second one ends the wait for the bags, too
            told.append(os.kill(os.getpid(), signal.SIGINT))
        return 0.0

    model = TabularRegressor(**QUICK).fit(X, Y)
    before = model.predict(X)
    model.set_params(scoring=score, n_jobs=2, max_epochs=10**6)
    kept = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            model.fit(X, Y)
    finally:
        signal.signal(signal.SIGINT, kept)
    np.testing.assert_array_equal(model.predict(X), before)
    assert not [each for each in threading.enumerate() if each.name.startswith("cdl-bags")]
