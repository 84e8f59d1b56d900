"""The estimators inside scikit-learn's tools, in several processes."""

import os
import subprocess
import sys

import joblib
import numpy as np
import pytest

pytest.importorskip("sklearn")

from estimators.nets import net, threads_limit
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import BaggingClassifier, VotingClassifier
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    RandomizedSearchCV,
    cross_val_predict,
    cross_val_score,
)
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cdl.sklearn import CDLClassifier, CDLRegressor
from cdl.wrappers import SKLearnClassifier

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)
SMALL = {
    "hidden_layer_sizes": (10,),
    "random_state": 0,
    "learning_rate_init": 0.02,
    "max_iter": 60,
}


def pipeline(**options):
    return make_pipeline(StandardScaler(), CDLClassifier(**{**SMALL, **options}))


@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing"])
def test_grid_search_in_two_workers_finds_what_one_finds(backend):
    grid = {"cdlclassifier__alpha": [1e-4, 10.0], "cdlclassifier__activation": ["relu", "tanh"]}
    one = GridSearchCV(pipeline(), grid, cv=3).fit(X, Y)
    with joblib.parallel_config(backend):
        two = GridSearchCV(pipeline(), grid, cv=3, n_jobs=2).fit(X, Y)
    np.testing.assert_array_equal(
        one.cv_results_["mean_test_score"], two.cv_results_["mean_test_score"]
    )
    assert two.best_score_ > 0.9
    assert two.best_estimator_.predict(X).shape == (150,)


def test_wrapped_models_are_searched_in_two_processes():
    wrapped = SKLearnClassifier(
        net,
        model_kwargs={"loss": "categorical_crossentropy"},
        fit_kwargs={"epochs": 5, "verbose": 0},
        random_state=0,
    )
    kinds = [{"loss": "categorical_crossentropy", "units": (n,)} for n in (5, 50)]
    search = GridSearchCV(wrapped, {"model_kwargs": kinds}, cv=3, n_jobs=2).fit(X, Y)
    assert search.best_params_["model_kwargs"] in kinds


def test_cross_validation():
    assert cross_val_score(pipeline(), X, Y, cv=3, n_jobs=2).mean() > 0.9
    p = cross_val_predict(pipeline(), X, Y, cv=3, method="predict_proba")
    assert p.shape == (150, 3)
    scores = cross_val_score(pipeline(), X, Y, cv=3, scoring="roc_auc_ovr")
    assert scores.mean() > 0.95


def test_random_search_over_sizes():
    sizes = {"cdlclassifier__hidden_layer_sizes": [(5,), (10, 5), (20,)]}
    search = RandomizedSearchCV(pipeline(), sizes, n_iter=2, cv=3, random_state=0).fit(X, Y)
    assert search.best_score_ > 0.9


def test_calibration_and_importance():
    calibrated = CalibratedClassifierCV(pipeline(), cv=3).fit(X, Y)
    np.testing.assert_allclose(calibrated.predict_proba(X).sum(axis=1), 1.0)
    found = permutation_importance(pipeline().fit(X, Y), X, Y, n_repeats=3, random_state=0)
    assert found.importances_mean[2:].sum() > found.importances_mean[:2].sum()


def test_ensembles_of_nets():
    bagged = BaggingClassifier(pipeline(), n_estimators=3, n_jobs=2, random_state=0).fit(X, Y)
    assert bagged.score(X, Y) > 0.9
    voting = VotingClassifier(
        [("net", pipeline()), ("lines", LogisticRegression())], voting="soft"
    ).fit(X, Y)
    assert voting.score(X, Y) > 0.9


def test_several_outputs_through_scikit_learn():
    y = np.stack([Y, Y == 2], axis=1).astype(int)
    assert MultiOutputClassifier(pipeline()).fit(X, y).predict(X).shape == (150, 2)
    x, t = load_diabetes(return_X_y=True)
    scaled = TransformedTargetRegressor(
        CDLRegressor(**{**SMALL, "max_iter": 100}), transformer=StandardScaler()
    )
    assert scaled.fit(x, t).score(x, t) > 0.4


def test_joblib_writes_and_reads(tmp_path):
    model = pipeline().fit(X, Y)
    joblib.dump(model, tmp_path / "model.joblib")
    loaded = joblib.load(tmp_path / "model.joblib")
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))


def test_repr_and_html_are_scikit_learns():
    assert repr(CDLClassifier(alpha=1.0)) == "CDLClassifier(alpha=1.0)"
    assert "CDLClassifier" in CDLClassifier()._repr_html_()


# --- the share of the cores ---


def test_processes_of_loky_are_told_their_share(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "2")
    jobs = joblib.Parallel(2, "loky")(joblib.delayed(threads_limit)() for _ in range(4))
    assert set(jobs) == {(0, 1, "1")}


def test_jobs_in_threads_use_one_core_each():
    jobs = joblib.Parallel(2, "threading")(joblib.delayed(threads_limit)() for _ in range(4))
    assert {own for own, _, _ in jobs} == {1}
    assert threads_limit()[0] == 0


# A step of this net is worth two threads.
BIG_FIT = """if True:
    import os, sys, numpy as np
    from threadpoolctl import threadpool_limits
    import cdl
    model = cdl.Sequential([cdl.Input((256,)), cdl.layers.Dense(1024), cdl.layers.Dense(1024)])
    model.compile("sgd", "mse")
    x, y = np.zeros((256, 256), np.float32), np.zeros((256, 1024), np.float32)
    def threads():
        model.fit(x, y, batch_size=256, verbose=0)
        return len(os.listdir("/proc/self/task"))
    with threadpool_limits(1):
        limited = threads()
    print(limited, threads(), cdl._core.info()["threads"])
    """


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="threads are counted by /proc")
def test_limits_of_threadpoolctl_are_heeded():
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    environment.pop("OMP_NUM_THREADS", None)
    done = subprocess.run(
        [sys.executable, "-c", BIG_FIT],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
    )
    limited, free, most = map(int, done.stdout.split())
    assert limited == 1
    assert free == most
