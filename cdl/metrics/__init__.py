"""__init__.py - metrics: classes, functions, and what a name, function or object stands for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cdl import losses
from cdl.losses import binary_crossentropy as binary_crossentropy
from cdl.losses import categorical_crossentropy as categorical_crossentropy
from cdl.losses import mean_absolute_error as mean_absolute_error
from cdl.losses import mean_squared_error as mean_squared_error
from cdl.losses import sparse_categorical_crossentropy as sparse_categorical_crossentropy
from cdl.metrics.accuracy import Accuracy as Accuracy
from cdl.metrics.accuracy import BinaryAccuracy as BinaryAccuracy
from cdl.metrics.accuracy import CategoricalAccuracy as CategoricalAccuracy
from cdl.metrics.accuracy import SparseCategoricalAccuracy as SparseCategoricalAccuracy
from cdl.metrics.accuracy import binary_accuracy as binary_accuracy
from cdl.metrics.accuracy import categorical_accuracy as categorical_accuracy
from cdl.metrics.accuracy import sparse_categorical_accuracy as sparse_categorical_accuracy
from cdl.metrics.compiled import is_compiled as is_compiled
from cdl.metrics.metric import Mean as Mean
from cdl.metrics.metric import MeanMetricWrapper as MeanMetricWrapper
from cdl.metrics.metric import Metric as Metric
from cdl.metrics.metric import Sum as Sum
from cdl.metrics.metric import family, name_of
from cdl.metrics.of_losses import BinaryCrossentropy as BinaryCrossentropy
from cdl.metrics.of_losses import CategoricalCrossentropy as CategoricalCrossentropy
from cdl.metrics.of_losses import MeanAbsoluteError as MeanAbsoluteError
from cdl.metrics.of_losses import MeanSquaredError as MeanSquaredError
from cdl.metrics.of_losses import SparseCategoricalCrossentropy as SparseCategoricalCrossentropy

get, serialize, deserialize = family.get, family.serialize, family.deserialize

_accuracies: dict[str, type[Metric]] = {
    "binary": BinaryAccuracy,
    "sparse_categorical": SparseCategoricalAccuracy,
    "categorical": CategoricalAccuracy,
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
    name = getattr(metric, "name", None) or name_of(metric)
    if str(getattr(metric, "__module__", "")).startswith("cdl.") and name in family.names():
        own: Metric = family.find(name)(name=name)  # a function that a class stands for
        return own
    return MeanMetricWrapper(metric, name=name)
