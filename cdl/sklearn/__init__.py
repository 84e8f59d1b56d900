"""Estimators for scikit-learn with the parameters of MLPClassifier and MLPRegressor.

    from cdl.sklearn import CDLClassifier as MLPClassifier

They need scikit-learn, which is loaded when the first of them is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cdl._common.public_names import publish

if TYPE_CHECKING:
    from cdl.sklearn.classifier import CDLClassifier as CDLClassifier
    from cdl.sklearn.regressor import CDLRegressor as CDLRegressor

_MODULES = {"CDLClassifier": "classifier", "CDLRegressor": "regressor"}

__all__ = ["CDLClassifier", "CDLRegressor"]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(name)
    from importlib import import_module

    value = getattr(import_module(f"cdl.sklearn.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


publish(globals())
