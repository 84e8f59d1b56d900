"""__init__.py - metrics: classes, functions, and what a name, function or object stands for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cdl import losses
from cdl.losses import (
    binary_crossentropy,
    categorical_crossentropy,
    mean_absolute_error,
    mean_squared_error,
    sparse_categorical_crossentropy,
)
from cdl.metrics.accuracy import (
    Accuracy,
    BinaryAccuracy,
    CategoricalAccuracy,
    SparseCategoricalAccuracy,
    binary_accuracy,
    categorical_accuracy,
    sparse_categorical_accuracy,
)
from cdl.metrics.compiled import is_compiled
from cdl.metrics.metric import Mean, MeanMetricWrapper, Metric, Sum, family, name_of
from cdl.metrics.of_losses import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    MeanAbsoluteError,
    MeanSquaredError,
    SparseCategoricalCrossentropy,
)

__all__ = [
    "Metric",
    "Mean",
    "Sum",
    "MeanMetricWrapper",
    "Accuracy",
    "BinaryAccuracy",
    "CategoricalAccuracy",
    "SparseCategoricalAccuracy",
    "MeanSquaredError",
    "MeanAbsoluteError",
    "BinaryCrossentropy",
    "CategoricalCrossentropy",
    "SparseCategoricalCrossentropy",
    "binary_accuracy",
    "categorical_accuracy",
    "sparse_categorical_accuracy",
    "mean_squared_error",
    "mean_absolute_error",
    "binary_crossentropy",
    "categorical_crossentropy",
    "sparse_categorical_crossentropy",
    "get",
    "serialize",
    "deserialize",
    "resolve",
    "is_compiled",
]

get, serialize, deserialize = family.get, family.serialize, family.deserialize

_accuracies: dict[str, type[Metric]] = {
    "binary": BinaryAccuracy,
    "sparse_categorical": SparseCategoricalAccuracy,
    "categorical": CategoricalAccuracy,
}
_functions: dict[Any, type[Metric]] = {
    function: family.find(function.__name__)
    for function in (
        binary_accuracy,
        categorical_accuracy,
        sparse_categorical_accuracy,
        mean_squared_error,
        mean_absolute_error,
        binary_crossentropy,
        categorical_crossentropy,
        sparse_categorical_crossentropy,
    )
}


def resolve(
    identifier: Any, y_shape: Sequence[int | None], output_shape: Sequence[int | None]
) -> Metric:
    """The Metric that an identifier stands for, given the shapes that it is to be used with.

    It is named as the identifier was written, or after the function that it is.

    Args:
        identifier: a name, a config, a Metric or a function; "accuracy" and "acc" are the accuracy
            that fits the shapes.
        y_shape: shape of the targets, batch axis included.
        output_shape: shape of the predictions, batch axis included.

    Raises:
        ValueError: nothing that a metric can be made of.
    """
    if identifier is None:
        raise family.not_one(identifier)
    name = identifier if isinstance(identifier, str) else None
    if name is not None and name.lower() in ("accuracy", "acc"):
        return _accuracies[losses.kind_of_targets(y_shape, output_shape)](name=name)
    metric = get(identifier)
    if isinstance(metric, Metric):
        metric.name = name or metric.name
        return metric
    own = getattr(metric, "name", None) or name_of(metric)
    cls = _functions.get(metric) if getattr(metric, "__hash__", None) else None
    return cls(name=own) if cls else MeanMetricWrapper(metric, name=own)
