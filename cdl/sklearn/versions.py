"""Differences between scikit-learn's versions, and the error without it."""

from __future__ import annotations

from typing import Any

try:
    from sklearn.base import (
        BaseEstimator,
        ClassifierMixin,
        ClassNamePrefixFeaturesOutMixin,
        RegressorMixin,
        TransformerMixin,
    )
    from sklearn.utils.metaestimators import available_if
except ImportError as error:
    raise ImportError(
        "cdl.sklearn and cdl.wrappers need scikit-learn: pip install 'cdl-nn[sklearn]'"
    ) from error

__all__ = [
    "BaseEstimator",
    "ClassNamePrefixFeaturesOutMixin",
    "ClassifierMixin",
    "RegressorMixin",
    "TransformerMixin",
    "available_if",
    "validated",
]


def validated(estimator: Any, *arrays: Any, **options: Any) -> Any:
    """X, or X and y, as arrays checked by scikit-learn; sets `n_features_in_` and names.

    Args:
        estimator: whose attributes are set, or with ``reset=False`` compared.
        arrays: X, or X and y.
        options: those of `sklearn.utils.validation.validate_data`.
    """
    try:  # scikit-learn 1.6 and later
        from sklearn.utils.validation import validate_data
    except ImportError:
        if "ensure_all_finite" in options:
            options["force_all_finite"] = options.pop("ensure_all_finite")
        if "skip_check_array" in options:
            options["cast_to_ndarray"] = not options.pop("skip_check_array")
        return estimator._validate_data(*arrays, **options)
    return validate_data(estimator, *arrays, **options)
