"""joblib's backend "cdl": folds and settings whose nets train by one `train_many`."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

pytest.importorskip("sklearn")
joblib = pytest.importorskip("joblib")

from sklearn.ensemble import BaggingClassifier
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    RandomizedSearchCV,
    TimeSeriesSplit,
    cross_val_score,
    cross_validate,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import cdl
from cdl.callbacks import Callback, EarlyStopping
from cdl.layers import Dense, Dropout, Input
from cdl.sklearn import CDLClassifier, TabularClassifier
from cdl.trainers.many import meeting, train_many
from cdl.wrappers import SKLearnClassifier

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 4))
Y = np.where(X[:, 0] + X[:, 1] > 0, "yes", "no")
STOPS = EarlyStopping("val_loss", patience=1, restore_best_weights=True)


def build(X, y, rate=0.01, units=8, drops=0.0):
    hidden = [Dense(units, "relu"), Dropout(drops)] if drops else [Dense(units, "relu")]
    net = cdl.Sequential([Input(X.shape[1:]), *hidden, Dense(y.shape[1], "softmax")])
    net.compile(cdl.optimizers.Adam(rate), "categorical_crossentropy")
    return net


@pytest.mark.parametrize("name", ["CDLRegressor", "TabularClassifier"])
def test_the_backend_is_there_once_an_estimator_is(name):
    code = f"import joblib; from cdl.sklearn import {name}; joblib.parallel_config('cdl')"
    subprocess.run([sys.executable, "-c", code], check=True)


def classifier(model=build, **fit):
    fit = {"epochs": 3, "batch_size": 16, "verbose": 0, **fit}
    return SKLearnClassifier(model, fit_kwargs=fit, random_state=0)


GRID = {"model_kwargs": [{"rate": rate} for rate in (0.01, 0.03, 0.1)]}


@pytest.fixture
def ended_threads():
    """Fail if threads of tasks are still there, after a while in which they may end."""
    before = {*threading.enumerate()}
    yield
    for _ in range(100):
        if before.issuperset(threading.enumerate()):
            return
        time.sleep(0.05)
    pytest.fail(f"left: {threading.enumerate()}")


@pytest.fixture
def groups(monkeypatch):
    """Numbers of the nets that trained by one call."""
    found = []

    def by_threads(calls, *rest):
        found.append(len(calls))
        return train_many.by_threads(calls, *rest)

    monkeypatch.setattr(meeting, "by_threads", by_threads)
    return found


def in_meetings(task, **options):
    with joblib.parallel_config("cdl", **options):
        return task()


def same(one, other):
    """Whether two results of a search are the same but for their times."""
    names = [each for each in one if "time" not in each and each != "params"]
    return all(np.array_equal(one[each], other[each]) for each in names)


@pytest.mark.parametrize("n_jobs", [None, 1, 2, 3])
def test_a_grid_has_the_bits_of_one_after_the_other(groups, n_jobs):
    def task():
        return GridSearchCV(classifier(), GRID, cv=4, refit=False).fit(X, Y).cv_results_

    options = {} if n_jobs is None else {"n_jobs": n_jobs}
    assert same(in_meetings(task, **options), task())
    assert groups == [12]


@pytest.mark.parametrize(
    "fit",
    [
        {"validation_split": 0.2},
        {"validation_split": 0.2, "callbacks": [STOPS], "epochs": 20},
        {"shuffle": False},
    ],
)
@pytest.mark.parametrize("drops", [0.0, 0.5])
def test_folds_with_validation_and_early_stopping_are_the_same_too(groups, fit, drops):
    def task():
        net = classifier(**fit).set_params(model_kwargs={"drops": drops})
        found = cross_validate(net, X, Y, cv=5, return_estimator=True)
        return [each.model_.get_weights() for each in found["estimator"]]

    for one, other in zip(in_meetings(task), task(), strict=True):
        assert all(np.array_equal(*each) for each in zip(one, other, strict=True))
    assert groups == [5]


def test_splits_by_time_groups_weights_and_pipelines(groups):
    net = make_pipeline(StandardScaler(), classifier())
    weight = RNG.uniform(size=len(Y))
    given = {"params": {"sklearnclassifier__sample_weight": weight}}
    of_each = np.arange(len(Y)) % 6

    def task():
        return (
            cross_val_score(net, X, Y, cv=TimeSeriesSplit(4), **given),
            cross_val_score(net, X, Y, cv=GroupKFold(3), groups=of_each, scoring="f1_macro"),
            RandomizedSearchCV(classifier(), GRID, n_iter=2, cv=3, random_state=0)
            .fit(X, Y)
            .cv_results_["mean_test_score"],
        )

    for one, other in zip(in_meetings(task), task(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert groups == [4, 3, 6]


def test_nets_that_differ_and_other_estimators_run_beside(groups):
    nets = [
        BaggingClassifier(classifier(), n_estimators=4, random_state=0),
        GridSearchCV(classifier(), {"model_kwargs": [{"units": 4}, {"units": 8}]}, cv=3),
        cross_val_of(LogisticRegression()),
        cross_val_of(CDLClassifier((8,), max_iter=5, random_state=0)),
        cross_val_of(
            TabularClassifier(
                "mlp", hidden_layer_sizes=(8,), max_epochs=3, n_bags=2, random_state=0
            )
        ),
    ]
    for net in nets:
        found = [net.fit(X, Y).predict(X), in_meetings(lambda net=net: net.fit(X, Y)).predict(X)]
        np.testing.assert_array_equal(*found)
    assert groups == [4, 6]


def cross_val_of(estimator):
    return GridSearchCV(estimator, {}, cv=3)


def test_searches_within_folds_meet_too(groups):
    def task():
        return cross_val_score(GridSearchCV(classifier(), GRID, cv=2), X, Y, cv=3)

    np.testing.assert_array_equal(in_meetings(task), task())
    assert max(groups) == 3


def test_tasks_have_the_scopes_of_the_caller(groups):
    def named(X, y):
        net = build(X, y)
        net.compile("adam", "own_loss")
        return net

    with cdl.saving.custom_object_scope({"own_loss": lambda y, p: (y - p) ** 2}):
        found = in_meetings(lambda: cross_val_score(classifier(named), X, Y, cv=3))
    assert np.isfinite(found).all() and groups == [3]


def test_draws_of_a_builder_are_kept(groups):
    def drawing(X, y):
        net = build(X, y)
        cdl.random.numpys().randint(10)
        return net

    def task():
        return cross_val_score(classifier(drawing), X, Y, cv=3)

    np.testing.assert_array_equal(in_meetings(task), task())
    assert groups == []


@pytest.mark.filterwarnings("ignore:One or more of the test scores are non-finite")
def test_tasks_that_share_a_layer_have_errors_and_the_others_are_scored():
    shared = Dense(4)

    def sharing(X, y, shares):
        net = cdl.Sequential(
            [Input(X.shape[1:]), shared if shares else Dense(4), Dense(y.shape[1], "softmax")]
        )
        net.compile("adam", "categorical_crossentropy")
        return net

    grid = {"model_kwargs": [{"shares": True}, {"shares": False}]}
    search = GridSearchCV(classifier(sharing), grid, cv=3, refit=False)
    with pytest.warns(FitFailedWarning, match="each a layer that learns of its own") as told:
        found = in_meetings(lambda: search.fit(X, Y).cv_results_["mean_test_score"])
    assert "3 fits failed out of a total of 6" in str(told[0].message)
    assert np.isnan(found).tolist() == [True, False]


@pytest.mark.usefixtures("ended_threads")
def test_an_error_is_that_of_its_fold_and_the_others_are_scored():
    first = X[0, 0]

    def failing(X, y):
        net = build(X, y)
        if X[0, 0] == first:  # of all folds but one
            net.compile("adam", "sparse_categorical_crossentropy")
        return net

    with pytest.warns(FitFailedWarning) as told:
        found = in_meetings(lambda: cross_val_score(classifier(failing), X, Y, cv=3))
    assert np.isnan(found).sum() == 2 and "y must" in str(told[0].message)
    with pytest.raises(ValueError, match="y must"):
        in_meetings(lambda: cross_val_score(classifier(failing), X, Y, cv=3, error_score="raise"))


def test_a_task_that_waits_for_one_that_waits_for_it_goes_on(monkeypatch):
    monkeypatch.setattr(meeting, "_PATIENCE", 0.1)
    lock = threading.Lock()

    class Locking(SKLearnClassifier):
        def fit(self, X, y, **kwargs):
            with lock:
                return super().fit(X, y, **kwargs)

    net = Locking(build, fit_kwargs={"epochs": 1, "verbose": 0}, random_state=0)
    for workers in (1, 2):
        found = in_meetings(lambda: cross_val_score(net, X, Y, cv=3), n_jobs=workers)
        np.testing.assert_array_equal(found, cross_val_score(net, X, Y, cv=3))


@pytest.mark.parametrize("meets", [True, False])
@pytest.mark.usefixtures("ended_threads")
def test_an_interrupt_ends_all_tasks(meets):
    told = []

    class Interrupts(Callback):
        def on_epoch_end(self, epoch, logs=None):
            if not told:
                told.append(os.kill(os.getpid(), signal.SIGINT))

    more = {} if meets else {"callbacks": [Interrupts()]}
    net = classifier(epochs=10**5, **more)
    kept = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        if meets:
            timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT))
            timer.start()
        with pytest.raises(KeyboardInterrupt):
            in_meetings(lambda: cross_val_score(net, X, Y, cv=3))
    finally:
        signal.signal(signal.SIGINT, kept)
    assert cross_val_score(classifier(), X, Y, cv=3).mean() > 0
