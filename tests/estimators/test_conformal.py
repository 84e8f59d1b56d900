"""`cdl.sklearn.Conformal`: coverage, intervals, sets, and what it refuses."""

import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestRegressor
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cdl.sklearn import Conformal, TabularClassifier, TabularRegressor

RNG = np.random.default_rng(0)


def data(n):
    x = RNG.normal(size=(n, 3))
    return x, x[:, 0] + (0.2 + np.abs(x[:, 1])) * RNG.normal(size=n)


def covered(model, x, y):
    low, high = model.predict_interval(x).T
    assert (low <= high).all()
    return ((low <= y) & (y <= high)).mean()


@pytest.mark.parametrize("method", ["split", "cv+"])
def test_intervals_hold_the_part_of_targets_that_alpha_leaves(method):
    found = []
    for seed in range(40):
        model = Conformal(Ridge(), alpha=0.2, method=method, random_state=seed).fit(*data(120))
        found.append(covered(model, *data(300)))
    # Coverage of "cv+" is usually 1 - alpha, though less is promised.
    assert np.mean(found) == pytest.approx(0.8, abs=0.035)


def test_a_split_is_that_of_the_formula():
    x, y = data(100)
    model = LinearRegression().fit(x, y)
    rows, targets = data(57)
    conformal = Conformal(model, alpha=0.1, method="prefit").fit(rows, targets)
    residuals = np.sort(np.abs(targets - model.predict(rows)))
    assert conformal.threshold_ == residuals[int(np.ceil(58 * 0.9)) - 1]
    low, high = conformal.predict_interval(x).T
    np.testing.assert_allclose(low, model.predict(x) - conformal.threshold_)
    np.testing.assert_allclose(high, model.predict(x) + conformal.threshold_)
    np.testing.assert_array_equal(conformal.predict(x), model.predict(x))


def test_folds_are_those_of_the_formula():
    x, y = data(53)
    model = Conformal(LinearRegression(), alpha=0.1, method="cv+", random_state=1).fit(x, y)
    rows, _ = data(9)
    predicted = np.array([each.predict(rows) for each in model._models])[model._folds]
    level = int(np.ceil(54 * 0.9))
    high = np.sort(predicted + model._residuals[:, None], axis=0)[level - 1]
    low = np.sort(predicted - model._residuals[:, None], axis=0)[53 - level]
    np.testing.assert_array_equal(model.predict_interval(rows), np.stack([low, high], 1))


def test_quantiles_are_moved_until_they_hold():
    x, y = data(1200)
    net = TabularRegressor(
        "mlp",
        quantiles=(0.1, 0.5, 0.9),
        hidden_layer_sizes=(32,),
        learning_rate=0.01,
        max_epochs=40,
        random_state=0,
    )
    model = Conformal(net, alpha=0.2, random_state=0).fit(x, y)
    rows, targets = data(2000)
    assert covered(model, rows, targets) == pytest.approx(0.8, abs=0.05)
    widths = np.diff(model.predict_interval(rows))[:, 0]
    assert np.corrcoef(widths, np.abs(rows[:, 1]))[0, 1] > 0.3
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_interval(rows), model.predict_interval(rows))


def test_quantiles_of_a_pipeline_are_those_of_its_model():
    x, y = data(200)
    net = TabularRegressor("mlp", quantiles=(0.1, 0.5, 0.9), max_epochs=3, random_state=0)
    found = []
    for steps in ([], [StandardScaler()]):
        piped = Conformal(make_pipeline(*steps, net), alpha=0.2, random_state=0).fit(x, y)
        found.append(piped.predict_interval(x))
        assert np.ptp(np.diff(found[-1])) > 0.01  # of residuals all would be as wide
    np.testing.assert_array_equal(
        found[0], Conformal(net, alpha=0.2, random_state=0).fit(x, y).predict_interval(x)
    )
    with pytest.raises(ValueError, match="'split' or 'prefit' for classifiers and for quantiles"):
        Conformal(make_pipeline(StandardScaler(), net), method="cv+").fit(x, y)


def test_sets_hold_the_label():
    x, y = load_iris(return_X_y=True)
    at = RNG.permutation(150)
    x, y = x[at] + RNG.normal(0, 1.0, (150, 4)), y[at]
    names = np.array(["a", "b", "c"])[y]
    model = Conformal(LogisticRegression(), alpha=0.1, random_state=0, calibration_fraction=0.5)
    model.fit(x[:100], names[:100])
    found = model.predict_set(x[100:])
    assert found[np.arange(50), y[100:]].mean() > 0.8
    assert found.shape == (50, 3)
    assert not found.all()
    with pytest.raises(AttributeError, match="a classifier has predict_set"):
        model.predict_interval(x)


@pytest.mark.parametrize(
    ("options", "n", "message"),
    [
        ({"alpha": 0.0}, 50, "alpha must be"),
        ({"alpha": 1.0}, 50, "alpha must be"),
        ({"method": "jackknife"}, 50, "method must be"),
        ({"calibration_fraction": 1.0}, 50, "calibration_fraction must be"),
        ({"alpha": 0.01}, 50, "alpha=0.01 needs at least 99 rows for calibration, got 13"),
    ],
)
def test_wrong_arguments_are_refused(options, n, message):
    with pytest.raises(ValueError, match=message):
        Conformal(Ridge(), **options).fit(*data(n))


def test_what_it_cannot_do_is_refused_by_name():
    x, y = data(60)
    with pytest.raises(ValueError, match="method must be 'split' or 'prefit' for classifiers"):
        Conformal(LogisticRegression(), method="cv+").fit(x, y > 0)
    with pytest.raises(ValueError, match="y must be one target for each row"):
        Conformal(Ridge()).fit(x, np.stack([y, y], 1))
    with pytest.raises(AttributeError, match="a regressor has predict_interval"):
        Conformal(RandomForestRegressor(5)).fit(x, y).predict_set(x)
    with pytest.raises(ValueError, match="of the classes that the estimator knows"):
        fitted = LogisticRegression().fit(x, y > 0)
        Conformal(fitted, method="prefit").fit(x, np.full(60, 7))
    with pytest.raises(NotFittedError):
        Conformal(TabularClassifier(), method="prefit").fit(x, y > 0)
