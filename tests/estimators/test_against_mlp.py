"""The estimators beside scikit-learn's MLP: the same steps, in float32."""

import numpy as np
import pytest

pytest.importorskip("sklearn", "1.7")  # which has weights and losses

from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from cdl.sklearn import CDLClassifier, CDLRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SETTINGS = {
    "defaults": {},
    "small batches": {"batch_size": 77, "alpha": 1.0, "activation": "logistic"},
    "no hidden layer": {"hidden_layer_sizes": (), "shuffle": False},
    "one number": {"hidden_layer_sizes": 30, "activation": "identity", "alpha": 0.0},
    "adam": {"beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-4, "learning_rate_init": 0.01},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.01, "momentum": 0.8},
    "plain momentum": {"solver": "sgd", "nesterovs_momentum": False, "activation": "tanh"},
    "no momentum": {"solver": "sgd", "momentum": 0.0, "learning_rate_init": 0.02},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "power_t": 0.3},
    "adaptive": {
        "solver": "sgd",
        "learning_rate": "adaptive",
        "learning_rate_init": 0.02,
        "tol": 0.05,
        "n_iter_no_change": 2,
    },
    "early stopping": {"early_stopping": True, "hidden_layer_sizes": (20, 10), "tol": 0.01},
    "more held out": {"early_stopping": True, "validation_fraction": 0.4, "n_iter_no_change": 1},
}


@pytest.fixture(autouse=True)
def blas_on_one_thread():
    """BLAS on one thread: more make small products a hundred times slower on a busy machine."""
    with threadpool_limits(1):
        yield


def digits():
    x, y = load_digits(return_X_y=True)
    return x[:300] / 16, y[:300]


def cancer():
    x, y = load_breast_cancer(return_X_y=True)
    return StandardScaler().fit_transform(x), y.astype(str)


def several_labels():
    x, y = digits()
    return x, np.stack([y % 2, y > 4, y == 3], axis=1).astype(int)


def diabetes():
    x, y = load_diabetes(return_X_y=True)
    return StandardScaler().fit_transform(x), y / 100


def several_numbers():
    x, y = diabetes()
    return x, np.stack([y, -y, y**2], axis=1)


CLASSES = {"digits": digits, "cancer": cancer, "several labels": several_labels}
NUMBERS = {"diabetes": diabetes, "several numbers": several_numbers}


def assert_alike(theirs, ours, x, tolerance=2e-4):
    """Equal losses after each epoch, equally many epochs, and nearly equal weights."""
    assert ours.n_iter_ == theirs.n_iter_
    assert ours.t_ == theirs.t_
    assert ours.n_layers_ == theirs.n_layers_
    assert ours.n_outputs_ == theirs.n_outputs_
    assert ours.out_activation_ == theirs.out_activation_
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=tolerance)
    assert ours.loss_ == ours.loss_curve_[-1]
    for name in ("best_loss_", "best_validation_score_", "validation_scores_"):
        one, other = getattr(ours, name), getattr(theirs, name)
        assert (one is None) == (other is None)
        if one is not None:
            np.testing.assert_allclose(one, other, rtol=2e-3)
    for mine, its in zip(ours.intercepts_, theirs.intercepts_, strict=True):
        assert mine.shape == its.shape
    for mine, its in zip(ours.coefs_, theirs.coefs_, strict=True):
        assert mine.shape == its.shape
        # Adam makes a step of full length of a gradient that is nothing but rounding.
        assert np.quantile(np.abs(mine - its), 0.99) < 2e-3


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("data", CLASSES)
def test_classifier_makes_the_same_steps(data, name, weighted):
    x, y = CLASSES[data]()
    weight = np.random.RandomState(5).uniform(0.2, 3.0, len(x)) if weighted else None
    options = {"max_iter": 8, "random_state": 3, **SETTINGS[name]}
    theirs = MLPClassifier(**options).fit(x, y, weight)
    ours = CDLClassifier(**options).fit(x, y, weight)

    assert_alike(theirs, ours, x)
    np.testing.assert_array_equal(ours.classes_, theirs.classes_)
    np.testing.assert_allclose(ours.predict_proba(x), theirs.predict_proba(x), atol=2e-3)
    assert (ours.predict(x) == theirs.predict(x)).mean() > 0.99
    assert ours.predict(x).dtype.kind == theirs.predict(x).dtype.kind


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("data", NUMBERS)
def test_regressor_makes_the_same_steps(data, name, loss, weighted):
    x, y = NUMBERS[data]()
    if loss == "poisson":
        y = np.abs(y)
    weight = np.random.RandomState(5).uniform(0.2, 3.0, len(x)) if weighted else None
    options = {"max_iter": 8, "random_state": 3, "loss": loss, **SETTINGS[name]}
    theirs = MLPRegressor(**options).fit(x, y, weight)
    ours = CDLRegressor(**options).fit(x, y, weight)

    assert_alike(theirs, ours, x)
    np.testing.assert_allclose(ours.predict(x), theirs.predict(x), rtol=2e-3, atol=5e-3)
    assert ours.predict(x).dtype == theirs.predict(x).dtype


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_partial_fit_makes_the_same_steps(solver):
    x, y = digits()
    options = {"random_state": 3, "solver": solver, "batch_size": 50, "learning_rate_init": 0.005}
    theirs, ours = MLPClassifier(**options), CDLClassifier(**options)
    for start in (0, 100, 200, 0):
        part = slice(start, start + 100)
        theirs.partial_fit(x[part], y[part], classes=np.arange(10))
        ours.partial_fit(x[part], y[part], classes=np.arange(10))
    assert_alike(theirs, ours, x)

    theirs.partial_fit(x, y)
    ours.partial_fit(x, y)
    assert_alike(theirs, ours, x)


def test_warm_start_makes_the_same_steps():
    x, y = diabetes()
    options = {"random_state": 3, "max_iter": 10, "warm_start": True}
    theirs, ours = MLPRegressor(**options), CDLRegressor(**options)
    for _ in range(3):
        theirs.fit(x, y)
        ours.fit(x, y)
    assert len(ours.loss_curve_) == 30
    assert_alike(theirs, ours, x)


def test_a_generator_as_random_state_goes_on():
    x, y = digits()
    one, other = np.random.RandomState(1), np.random.RandomState(1)
    for _ in range(2):
        theirs = MLPClassifier(random_state=one, max_iter=5).fit(x, y)
        ours = CDLClassifier(random_state=other, max_iter=5).fit(x, y)
        assert_alike(theirs, ours, x)


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_lbfgs_reaches_the_same_loss(weighted):
    x, y = cancer()
    weight = np.random.RandomState(5).uniform(0.2, 3.0, len(x)) if weighted else None
    options = {"solver": "lbfgs", "alpha": 10.0, "random_state": 0, "hidden_layer_sizes": 5}
    options["max_iter"] = 1000
    theirs = MLPClassifier(**options).fit(x, y, weight)
    ours = CDLClassifier(**options).fit(x, y, weight)
    assert ours.loss_ == pytest.approx(theirs.loss_, rel=0.05)
    assert (ours.predict(x) == theirs.predict(x)).mean() > 0.99
    assert not hasattr(ours, "loss_curve_")
    assert not hasattr(ours, "partial_fit")
