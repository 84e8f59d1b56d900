"""Metrics: values that judge a model's predictions and are shown while it trains."""

from __future__ import annotations

from collections.abc import Sequence
from types import FunctionType
from typing import Any

from cdl import losses
from cdl._common.overriding import is_users
from cdl._common.public_names import publish
from cdl.compat import short_names
from cdl.losses import binary_crossentropy as binary_crossentropy
from cdl.losses import binary_focal_crossentropy as binary_focal_crossentropy
from cdl.losses import categorical_crossentropy as categorical_crossentropy
from cdl.losses import categorical_focal_crossentropy as categorical_focal_crossentropy
from cdl.losses import categorical_hinge as categorical_hinge
from cdl.losses import hinge as hinge
from cdl.losses import huber as huber
from cdl.losses import kl_divergence as kl_divergence
from cdl.losses import log_cosh as log_cosh
from cdl.losses import mean_absolute_error as mean_absolute_error
from cdl.losses import mean_absolute_percentage_error as mean_absolute_percentage_error
from cdl.losses import mean_squared_error as mean_squared_error
from cdl.losses import mean_squared_logarithmic_error as mean_squared_logarithmic_error
from cdl.losses import poisson as poisson
from cdl.losses import sparse_categorical_crossentropy as sparse_categorical_crossentropy
from cdl.losses import squared_hinge as squared_hinge
from cdl.losses.core_loss import CompiledLoss
from cdl.losses.loss import class_of
from cdl.metrics.accuracy import Accuracy as Accuracy
from cdl.metrics.accuracy import BinaryAccuracy as BinaryAccuracy
from cdl.metrics.accuracy import CategoricalAccuracy as CategoricalAccuracy
from cdl.metrics.accuracy import SparseCategoricalAccuracy as SparseCategoricalAccuracy
from cdl.metrics.accuracy import SparseTopKCategoricalAccuracy as SparseTopKCategoricalAccuracy
from cdl.metrics.accuracy import TopKCategoricalAccuracy as TopKCategoricalAccuracy
from cdl.metrics.accuracy import binary_accuracy as binary_accuracy
from cdl.metrics.accuracy import categorical_accuracy as categorical_accuracy
from cdl.metrics.accuracy import sparse_categorical_accuracy as sparse_categorical_accuracy
from cdl.metrics.accuracy import (
    sparse_top_k_categorical_accuracy as sparse_top_k_categorical_accuracy,
)
from cdl.metrics.accuracy import top_k_categorical_accuracy as top_k_categorical_accuracy
from cdl.metrics.auc import AUC as AUC
from cdl.metrics.confusion import FalseNegatives as FalseNegatives
from cdl.metrics.confusion import FalsePositives as FalsePositives
from cdl.metrics.confusion import Precision as Precision
from cdl.metrics.confusion import Recall as Recall
from cdl.metrics.confusion import TrueNegatives as TrueNegatives
from cdl.metrics.confusion import TruePositives as TruePositives
from cdl.metrics.core_metric import is_compiled as is_compiled
from cdl.metrics.correlation import ConcordanceCorrelation as ConcordanceCorrelation
from cdl.metrics.correlation import CosineSimilarity as CosineSimilarity
from cdl.metrics.correlation import PearsonCorrelation as PearsonCorrelation
from cdl.metrics.correlation import concordance_correlation as concordance_correlation
from cdl.metrics.correlation import pearson_correlation as pearson_correlation
from cdl.metrics.f_score import F1Score as F1Score
from cdl.metrics.f_score import FBetaScore as FBetaScore
from cdl.metrics.iou import BinaryIoU as BinaryIoU
from cdl.metrics.iou import IoU as IoU
from cdl.metrics.iou import MeanIoU as MeanIoU
from cdl.metrics.iou import OneHotIoU as OneHotIoU
from cdl.metrics.iou import OneHotMeanIoU as OneHotMeanIoU
from cdl.metrics.loss_metrics import BinaryCrossentropy as BinaryCrossentropy
from cdl.metrics.loss_metrics import CategoricalCrossentropy as CategoricalCrossentropy
from cdl.metrics.loss_metrics import CategoricalHinge as CategoricalHinge
from cdl.metrics.loss_metrics import Hinge as Hinge
from cdl.metrics.loss_metrics import KLDivergence as KLDivergence
from cdl.metrics.loss_metrics import LogCoshError as LogCoshError
from cdl.metrics.loss_metrics import MeanAbsolutePercentageError as MeanAbsolutePercentageError
from cdl.metrics.loss_metrics import MeanOfLoss
from cdl.metrics.loss_metrics import MeanSquaredLogarithmicError as MeanSquaredLogarithmicError
from cdl.metrics.loss_metrics import Poisson as Poisson
from cdl.metrics.loss_metrics import SparseCategoricalCrossentropy as SparseCategoricalCrossentropy
from cdl.metrics.loss_metrics import SquaredHinge as SquaredHinge
from cdl.metrics.metric import Mean as Mean
from cdl.metrics.metric import MeanMetricWrapper as MeanMetricWrapper
from cdl.metrics.metric import Metric as Metric
from cdl.metrics.metric import Sum as Sum
from cdl.metrics.metric import name_of, registry
from cdl.metrics.rate_at_rate import PrecisionAtRecall as PrecisionAtRecall
from cdl.metrics.rate_at_rate import RecallAtPrecision as RecallAtPrecision
from cdl.metrics.rate_at_rate import SensitivityAtSpecificity as SensitivityAtSpecificity
from cdl.metrics.rate_at_rate import SpecificityAtSensitivity as SpecificityAtSensitivity
from cdl.metrics.regression import MeanAbsoluteError as MeanAbsoluteError
from cdl.metrics.regression import MeanSquaredError as MeanSquaredError
from cdl.metrics.regression import R2Score as R2Score
from cdl.metrics.regression import RootMeanSquaredError as RootMeanSquaredError
from cdl.metrics.traced_metric import traced
from cdl.metrics.traced_metric import with_states as with_states

get, serialize, deserialize = registry.get, registry.serialize, registry.deserialize
__getattr__ = short_names(__name__)  # mse and its like, of Keras 2

_accuracies: dict[str, type[Metric]] = {
    "binary": BinaryAccuracy,
    "sparse_categorical": SparseCategoricalAccuracy,
    "categorical": CategoricalAccuracy,
}


def resolve(
    identifier: Any,
    y_shape: Sequence[int | None],
    output_shape: Sequence[int | None],
    traces: bool = True,
) -> Metric:
    """Metric of a name, function or object for shapes of targets and outputs with the batch.

    It is named as the identifier was written, or after the function that it is.

    Args:
        identifier: a name, a config, a Metric or a function; "accuracy" and "acc" are the accuracy
            that fits the shapes.
        traces: whether a function of the user's is traced, if it can be.

    Raises:
        ValueError: nothing that a metric can be made of.
    """
    if identifier is None:
        raise registry.not_one(identifier)
    name = identifier if isinstance(identifier, str) else None
    if name is not None and name.lower() in ("accuracy", "acc"):
        return _accuracies[losses.kind_of_targets(y_shape, output_shape)](name=name)
    metric = get(identifier)
    if isinstance(metric, Metric):
        metric.name = name or metric.name
        return metric
    name = getattr(metric, "name", None) or name_of(metric)
    loss = class_of(metric)
    if loss is losses.CosineSimilarity or name not in registry.names():
        compiled = loss() if loss is not None else None  # a loss that is no metric by itself
        if isinstance(compiled, CompiledLoss):
            return MeanOfLoss(compiled, name)
    elif isinstance(metric, FunctionType) and not is_users(metric):
        shared: Metric = registry.find(name)(name=name)  # a function that a class stands for
        return shared
    mean = MeanMetricWrapper(metric, name=name)
    return traced(mean, y_shape, output_shape) if traces else mean


publish(
    globals(),
    but="CompiledLoss MeanOfLoss class_of is_compiled is_users name_of "
    "publish registry resolve short_names traced with_states",
)
