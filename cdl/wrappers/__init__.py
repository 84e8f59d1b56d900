"""scikit-learn wrappers of models, under Keras's names.

They need scikit-learn, which is loaded when the first of them is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cdl._common.public_names import publish

if TYPE_CHECKING:
    from cdl.wrappers.estimators import SKLearnClassifier as SKLearnClassifier
    from cdl.wrappers.estimators import SKLearnRegressor as SKLearnRegressor
    from cdl.wrappers.estimators import SKLearnTransformer as SKLearnTransformer

__all__ = ["SKLearnClassifier", "SKLearnRegressor", "SKLearnTransformer"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(name)
    from cdl.wrappers import estimators

    value = getattr(estimators, name)
    globals()[name] = value
    return value


publish(globals())
