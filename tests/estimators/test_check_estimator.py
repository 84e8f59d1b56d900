"""Scikit-learn's own checks of estimators, all of them."""

import pytest

pytest.importorskip("sklearn")

from estimators.nets import net
from sklearn.utils.estimator_checks import parametrize_with_checks

from cdl.sklearn import CDLClassifier, CDLRegressor
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


@parametrize_with_checks([*FLAT, *WRAPPED])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_estimators_pass(estimator, check):
    check(estimator)
