"""Losses: functions of targets and predictions that training minimizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cdl._common.public_names import publish
from cdl.compat import short_names
from cdl.losses.circle import Circle as Circle
from cdl.losses.circle import circle as circle
from cdl.losses.core_loss import is_compiled as is_compiled
from cdl.losses.crossentropy import BinaryCrossentropy as BinaryCrossentropy
from cdl.losses.crossentropy import CategoricalCrossentropy as CategoricalCrossentropy
from cdl.losses.crossentropy import SparseCategoricalCrossentropy as SparseCategoricalCrossentropy
from cdl.losses.crossentropy import binary_crossentropy as binary_crossentropy
from cdl.losses.crossentropy import categorical_crossentropy as categorical_crossentropy
from cdl.losses.crossentropy import (
    sparse_categorical_crossentropy as sparse_categorical_crossentropy,
)
from cdl.losses.ctc import CTC as CTC
from cdl.losses.ctc import ctc as ctc
from cdl.losses.distributions import BinaryFocalCrossentropy as BinaryFocalCrossentropy
from cdl.losses.distributions import CategoricalFocalCrossentropy as CategoricalFocalCrossentropy
from cdl.losses.distributions import (
    CategoricalGeneralizedCrossEntropy as CategoricalGeneralizedCrossEntropy,
)
from cdl.losses.distributions import KLDivergence as KLDivergence
from cdl.losses.distributions import binary_focal_crossentropy as binary_focal_crossentropy
from cdl.losses.distributions import (
    categorical_focal_crossentropy as categorical_focal_crossentropy,
)
from cdl.losses.distributions import (
    categorical_generalized_cross_entropy as categorical_generalized_cross_entropy,
)
from cdl.losses.distributions import kl_divergence as kl_divergence
from cdl.losses.loss import Loss as Loss
from cdl.losses.loss import registry
from cdl.losses.margins import CategoricalHinge as CategoricalHinge
from cdl.losses.margins import Hinge as Hinge
from cdl.losses.margins import SquaredHinge as SquaredHinge
from cdl.losses.margins import categorical_hinge as categorical_hinge
from cdl.losses.margins import hinge as hinge
from cdl.losses.margins import squared_hinge as squared_hinge
from cdl.losses.overlap import Dice as Dice
from cdl.losses.overlap import Tversky as Tversky
from cdl.losses.overlap import dice as dice
from cdl.losses.overlap import tversky as tversky
from cdl.losses.python_loss import LossFunctionWrapper as LossFunctionWrapper
from cdl.losses.python_loss import as_loss
from cdl.losses.python_loss import numeric_gradient as numeric_gradient
from cdl.losses.quantile import Quantile as Quantile
from cdl.losses.quantile import quantile as quantile
from cdl.losses.regression import CosineSimilarity as CosineSimilarity
from cdl.losses.regression import Huber as Huber
from cdl.losses.regression import LogCosh as LogCosh
from cdl.losses.regression import MeanAbsoluteError as MeanAbsoluteError
from cdl.losses.regression import MeanAbsolutePercentageError as MeanAbsolutePercentageError
from cdl.losses.regression import MeanSquaredError as MeanSquaredError
from cdl.losses.regression import MeanSquaredLogarithmicError as MeanSquaredLogarithmicError
from cdl.losses.regression import Poisson as Poisson
from cdl.losses.regression import cosine_similarity as cosine_similarity
from cdl.losses.regression import huber as huber
from cdl.losses.regression import log_cosh as log_cosh
from cdl.losses.regression import mean_absolute_error as mean_absolute_error
from cdl.losses.regression import mean_absolute_percentage_error as mean_absolute_percentage_error
from cdl.losses.regression import mean_squared_error as mean_squared_error
from cdl.losses.regression import mean_squared_logarithmic_error as mean_squared_logarithmic_error
from cdl.losses.regression import poisson as poisson
from cdl.losses.traced_loss import traced

get, serialize, deserialize = registry.get, registry.serialize, registry.deserialize
__getattr__ = short_names(__name__)  # mse and its like, of Keras 2


def resolve(
    identifier: Any,
    y_shape: Sequence[int | None],
    output_shape: Sequence[int | None],
    traces: bool = True,
) -> Loss:
    """Loss of a name, function or object for shapes of targets and outputs with the batch.

    Args:
        identifier: what `get` takes, but for None; "crossentropy" and "ce" are the one that fits
            the shapes.
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


publish(
    globals(),
    but="as_loss is_compiled kind_of_targets numeric_gradient "
    "publish registry resolve short_names traced",
)
