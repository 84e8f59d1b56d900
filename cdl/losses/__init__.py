"""Losses: functions of targets and predictions that training minimizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cdl._common.public_names import publish
from cdl.compat import short_names
from cdl.losses.circle import Circle, circle
from cdl.losses.core_loss import is_compiled as is_compiled
from cdl.losses.crossentropy import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    SparseCategoricalCrossentropy,
    binary_crossentropy,
    categorical_crossentropy,
    sparse_categorical_crossentropy,
)
from cdl.losses.ctc import CTC, ctc
from cdl.losses.distributions import (
    BinaryFocalCrossentropy,
    CategoricalFocalCrossentropy,
    CategoricalGeneralizedCrossEntropy,
    KLDivergence,
    binary_focal_crossentropy,
    categorical_focal_crossentropy,
    categorical_generalized_cross_entropy,
    kl_divergence,
)
from cdl.losses.loss import Loss, registry
from cdl.losses.margins import (
    CategoricalHinge,
    Hinge,
    SquaredHinge,
    categorical_hinge,
    hinge,
    squared_hinge,
)
from cdl.losses.overlap import Dice, Tversky, dice, tversky
from cdl.losses.python_loss import LossFunctionWrapper, as_loss
from cdl.losses.python_loss import numeric_gradient as numeric_gradient
from cdl.losses.quantile import Quantile, quantile
from cdl.losses.regression import (
    CosineSimilarity,
    Huber,
    LogCosh,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    Poisson,
    cosine_similarity,
    huber,
    log_cosh,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
    poisson,
)
from cdl.losses.traced_loss import traced

__all__ = [
    "BinaryCrossentropy",
    "BinaryFocalCrossentropy",
    "CTC",
    "CategoricalCrossentropy",
    "CategoricalFocalCrossentropy",
    "CategoricalGeneralizedCrossEntropy",
    "CategoricalHinge",
    "Circle",
    "CosineSimilarity",
    "Dice",
    "Hinge",
    "Huber",
    "KLDivergence",
    "LogCosh",
    "Loss",
    "LossFunctionWrapper",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "Poisson",
    "Quantile",
    "SparseCategoricalCrossentropy",
    "SquaredHinge",
    "Tversky",
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "categorical_generalized_cross_entropy",
    "categorical_hinge",
    "circle",
    "cosine_similarity",
    "ctc",
    "deserialize",
    "dice",
    "get",
    "hinge",
    "huber",
    "kl_divergence",
    "log_cosh",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_error",
    "mean_squared_logarithmic_error",
    "poisson",
    "quantile",
    "serialize",
    "sparse_categorical_crossentropy",
    "squared_hinge",
    "tversky",
]

get, serialize, deserialize = registry.get, registry.serialize, registry.deserialize
__getattr__ = short_names(__name__)  # mse and its like, of Keras 2


def resolve(
    identifier: Any,
    y_shape: Sequence[int | None],
    output_shape: Sequence[int | None],
    traces: bool = True,
) -> Loss:
    """The Loss of an identifier (name, function or object) for given target and output shapes.

    Args:
        identifier: what `get` takes, but for None; "crossentropy" and "ce" are the one that fits
            the shapes.
        y_shape: shape of the targets, batch axis included.
        output_shape: shape of the predictions, batch axis included.
        traces: whether code of the user's is traced, if it can be.

    Raises:
        ValueError: nothing that a loss can be made of.
    """
    if identifier is None:
        raise registry.not_one(identifier)
    name = identifier if isinstance(identifier, str) else None
    if name is not None and name.lower() in ("crossentropy", "ce"):
        return as_loss(get(f"{kind_of_targets(y_shape, output_shape)}_crossentropy"), name)
    return traced(as_loss(get(identifier), name), y_shape, output_shape, traces)


def kind_of_targets(y_shape: Sequence[int | None], output_shape: Sequence[int | None]) -> str:
    """Kind of targets by their shape: "binary", "sparse_categorical" or "categorical".

    One prediction a line is binary; targets of lower rank, or with a last axis of 1, are class
    numbers; all else is one-hot.
    """
    if output_shape[-1] == 1:
        return "binary"
    if len(y_shape) < len(output_shape) or y_shape[-1] == 1:
        return "sparse_categorical"
    return "categorical"


publish(globals())
