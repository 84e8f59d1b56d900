"""Estimators for scikit-learn: for tables as they come, and with MLPClassifier's parameters.

    from cdl.sklearn import CDLClassifier as MLPClassifier

They need scikit-learn, which is loaded when the first of them is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cdl._common.public_names import publish

if TYPE_CHECKING:
    from cdl.sklearn.classifier import CDLClassifier as CDLClassifier
    from cdl.sklearn.conformal import Conformal as Conformal
    from cdl.sklearn.regressor import CDLRegressor as CDLRegressor
    from cdl.sklearn.tables.classifier import TabularClassifier as TabularClassifier
    from cdl.sklearn.tables.regressor import TabularRegressor as TabularRegressor

_MODULES = {
    "CDLClassifier": "classifier",
    "CDLRegressor": "regressor",
    "Conformal": "conformal",
    "TabularClassifier": "tables.classifier",
    "TabularRegressor": "tables.regressor",
}

__all__ = ["CDLClassifier", "CDLRegressor", "Conformal", "TabularClassifier", "TabularRegressor"]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(name)
    from importlib import import_module

    value = getattr(import_module(f"cdl.sklearn.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


publish(globals())
