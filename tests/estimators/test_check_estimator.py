"""Scikit-learn's own checks of estimators, all of them."""

import pytest

pytest.importorskip("sklearn")

from estimators.nets import net
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.utils.estimator_checks import parametrize_with_checks

from cdl.sklearn import CDLClassifier, CDLRegressor, Conformal, TabularClassifier, TabularRegressor
from cdl.wrappers import SKLearnClassifier, SKLearnRegressor, SKLearnTransformer

# Estimators whose interfaces are checked: with defaults, and with values that reach the rest.
FLAT = [
    CDLClassifier(),
    CDLRegressor(),
    CDLClassifier(solver="lbfgs", hidden_layer_sizes=(8,)),
    CDLRegressor(solver="lbfgs", hidden_layer_sizes=(8,)),
]
SILENT = {"verbose": 0}
WRAPPED = [
    SKLearnClassifier(
        net,
        model_kwargs={"loss": "categorical_crossentropy", "units": [20, 20, 20]},
        fit_kwargs={"epochs": 5, **SILENT},
    ),
    SKLearnRegressor(net, model_kwargs={"loss": "mse", "activation": "linear"}, fit_kwargs=SILENT),
    SKLearnTransformer(net, model_kwargs={"loss": "mse"}, fit_kwargs=SILENT),
]
# Small and short, for speed: some hundred fits.
SMALL = {"hidden_layer_sizes": (32,), "max_epochs": 50}
TABULAR = [
    TabularClassifier(**SMALL),
    TabularRegressor(**SMALL),
    TabularClassifier("tabm", n_members=4, learning_rate=0.01, **SMALL),
    TabularRegressor("mlp", n_bags=2, learning_rate=0.01, **SMALL),
]
# A large alpha, since the checks have few rows.
CONFORMAL = [
    Conformal(Ridge(), alpha=0.6),
    Conformal(LogisticRegression(), alpha=0.6),
    Conformal(Ridge(), alpha=0.6, method="cv+"),
]


@parametrize_with_checks([*FLAT, *WRAPPED, *TABULAR, *CONFORMAL])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_estimators_pass(estimator, check):
    check(estimator)
