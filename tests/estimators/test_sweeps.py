"""Sweeps on other engines: the same results, a share of the cores, and what a lost worker does."""

import os
import pickle
import subprocess
import sys
from unittest import mock

import numpy as np
import pytest

pytest.importorskip("sklearn")
joblib = pytest.importorskip("joblib")

from sklearn.datasets import load_iris
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, cross_val_score
from sweep_tasks import Counting, Fatal, build, threads_of_a_fit

import cdl
from cdl.sklearn import CDLClassifier
from cdl.wrappers import SKLearnClassifier

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:.*:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
X, Y = load_iris(return_X_y=True)
GRID = {"alpha": [1e-4, 10.0]}


def classifier():
    return CDLClassifier(random_state=0, learning_rate_init=0.02, max_iter=10)


@pytest.fixture(autouse=True)
def environment():
    """The environment of before each test: Dask sets OMP_NUM_THREADS=1 where it starts workers."""
    with mock.patch.dict(os.environ):
        yield


@pytest.fixture(scope="module")
def cluster():
    """Two worker processes of Dask, of two threads each."""
    distributed = pytest.importorskip("distributed")
    with (
        mock.patch.dict(os.environ),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=2, dashboard_address=None, memory_limit=0
        ) as local,
        distributed.Client(local) as client,
    ):
        yield client


@pytest.fixture(params=["loky", "dask"])
def backend(request):
    if request.param == "dask":
        request.getfixturevalue("cluster")
    with joblib.parallel_config(request.param, n_jobs=2):
        yield request.param


def test_searches_find_what_one_process_finds(backend):
    kinds = [
        lambda n: GridSearchCV(classifier(), GRID, cv=2, n_jobs=n),
        lambda n: HalvingGridSearchCV(classifier(), GRID, cv=2, random_state=0, n_jobs=n),
    ]
    for kind in kinds:
        found = kind(None).fit(X, Y)
        with joblib.parallel_config("sequential"):
            alone = kind(1).fit(X, Y)
        np.testing.assert_array_equal(
            found.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"]
        )
        assert found.best_params_ == alone.best_params_


def test_wrappers_score_as_in_one_process(backend):
    net = SKLearnClassifier(build, fit_kwargs={"epochs": 5, "verbose": 0}, random_state=0)
    found = cross_val_score(net, X, Y, cv=3)
    with joblib.parallel_config("sequential"):
        np.testing.assert_array_equal(found, cross_val_score(net, X, Y, cv=3))


def test_workers_keep_to_their_share_of_the_cores(backend):
    fitted = joblib.Parallel()(
        joblib.delayed(Counting(max_iter=2, random_state=0).fit)(X, Y) for _ in range(4)
    )
    share = 1
    if backend == "loky":
        share = int(os.environ.get("OMP_NUM_THREADS", max(1, joblib.cpu_count() // 2)))
    assert [each.threads_ for each in fitted] == [share] * 4


def test_tasks_of_dask_train_on_one_thread_each(cluster):
    assert cluster.submit(threads_of_a_fit, pure=False).result() == 1


def test_train_many_by_dask_gives_what_threads_give(cluster):
    def trained(backend):
        nets = []
        for seed in range(5):
            cdl.utils.set_random_seed(seed)
            nets.append(build(X, Y))
        cdl.utils.set_random_seed(5)
        jobs = [(net, X, np.eye(3, dtype=np.float32)[Y]) for net in nets]
        histories = cdl.train_many(jobs, backend=backend, epochs=2)
        return [net.get_weights()[0].tobytes() for net in nets], [h.history for h in histories]

    assert trained("dask") == trained(None)


@pytest.mark.filterwarnings("ignore")
def test_dask_repeats_the_task_of_a_lost_worker(cluster, tmp_path):
    path = tmp_path / "died"
    found = cluster.submit(cross_val_score, Fatal(path), X, Y, cv=2, pure=False).result()
    assert path.exists()
    path.touch()
    np.testing.assert_array_equal(found, cross_val_score(Fatal(path), X, Y, cv=2))


def test_loky_says_that_a_worker_is_lost(tmp_path):
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    with joblib.parallel_config("loky", n_jobs=2), pytest.raises(TerminatedWorkerError):
        cross_val_score(Fatal(tmp_path / "died"), X, Y, cv=2)


def test_a_pickled_model_is_its_weights_and_slots_and_predicts_the_same_bits(tmp_path):
    model = cdl.Sequential([cdl.Input((200,)), cdl.layers.Dense(300, "relu"), cdl.layers.Dense(1)])
    model.compile("adam", "mse")
    x = np.random.default_rng(0).standard_normal((500, 200)).astype(np.float32)
    model.fit(x, x[:, 0], verbose=0)
    model.predict(x, verbose=0)
    kept = 3 * sum(weight.nbytes for weight in model.get_weights())
    pickled = pickle.dumps(model)
    assert len(pickled) < 1.1 * kept
    (tmp_path / "model").write_bytes(pickled)
    np.save(tmp_path / "x.npy", x)
    code = (
        "import pickle, sys, numpy as np\n"
        "model, x = pickle.load(open('model', 'rb')), np.load('x.npy')\n"
        "np.save('found.npy', model.predict(x, verbose=0))\n"
        "model.fit(x, x[:, 0], shuffle=False, verbose=0); np.save('on.npy', model.get_weights()[0])"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "found.npy"), model.predict(x, verbose=0))
    model.fit(x, x[:, 0], shuffle=False, verbose=0)
    np.testing.assert_array_equal(np.load(tmp_path / "on.npy"), model.get_weights()[0])
