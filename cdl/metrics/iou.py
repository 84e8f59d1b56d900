"""Intersection over union of classes, from a confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdl._common.errors import warn
from cdl._common.validation import (
    class_number,
    expected,
    flag,
    number,
    positive_int,
    several,
    whole,
)
from cdl._configs import allocation_limit
from cdl._ir.lowering import Lowering
from cdl._ir.program import Instruction, Value
from cdl.config import epsilon
from cdl.losses.loss import as_array
from cdl.metrics.core_metric import Tally
from cdl.metrics.metric import registry

Array = NDArray[Any]

_CAST = (
    "{owner}: each weight that is a float becomes an int by casting, which cuts it off; give the "
    "metric dtype='float32' to have weights count as they are"
)


@registry.add()
class IoU(Tally):
    """Intersection over union of target and predicted classes, the mean over some of them.

    For each class: true positives / (true positives + false positives + false negatives). Classes
    that appear nowhere do not count; each division has epsilon (1e-7) added to its divisor.

    Args:
        num_classes: the number of classes; other numbers do not count.
        target_class_ids: the classes to take the mean over.
        dtype: of the counts, int32 unless given, which cuts off weights to whole numbers; "float32"
            does not.
        ignore_class: a class whose targets do not count, or None.
        sparse_y_true: whether targets are class numbers, else one-hot.
        sparse_y_pred: whether predictions are class numbers, else scores of classes.
        axis: of the classes, where there is one.

    Raises:
        ValueError: no such classes, or another invalid argument.
    """

    _direction = "up"
    threshold: float | None = None

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ) -> None:
        owner = type(self).__name__
        super().__init__(dtype or "int32", name)
        self.num_classes = positive_int(owner, "num_classes", num_classes)
        allocation_limit.spend(f"{owner}: num_classes", (num_classes,))
        ids = several(owner, "target_class_ids", target_class_ids, "a list of class numbers")
        self.target_class_ids = [whole(owner, "target_class_ids", i) for i in ids]
        if not self.target_class_ids or max(self.target_class_ids) >= num_classes:
            what = f"class numbers below {num_classes}"
            raise expected(owner, "target_class_ids", what, target_class_ids)
        self.ignore_class = ignore_class
        if ignore_class is not None:
            self.ignore_class = class_number(owner, "ignore_class", ignore_class)
        self.sparse_y_true = flag(owner, "sparse_y_true", sparse_y_true)
        self.sparse_y_pred = flag(owner, "sparse_y_pred", sparse_y_pred)
        self.axis = whole(owner, "axis", axis)
        self.total_cm = self.add_variable(
            (num_classes, num_classes), "zeros", dtype=self.dtype, name="total_confusion_matrix"
        )

    @property
    def _whole(self) -> bool:
        """Whether counts are integers."""
        return np.dtype(self.dtype).kind in "iu"

    @property
    def row(self) -> str:  # type: ignore[override]
        """The core's row for predictions and targets of these kinds."""
        if self.sparse_y_pred:
            return "class_matrix"
        return "number_matrix" if self.sparse_y_true else "one_hot_matrix"

    @property
    def in_core(self) -> bool:  # type: ignore[override]
        """Whether the core has it: no mixed kinds, no scores on another axis."""
        return self.sparse_y_true if self.sparse_y_pred else self.axis == -1

    def parameters(self) -> dict[str, float]:
        """Numeric parameters of the row; -1 as `ignored` ignores no class."""
        common = {
            "classes": float(self.num_classes),
            "ignored": float(-1 if self.ignore_class is None else self.ignore_class),
            "whole": float(self._whole),
        }
        if not self.sparse_y_pred:
            return common
        return {**common, "threshold": np.nan if self.threshold is None else self.threshold}

    def sums(self, state: Array) -> Sequence[Array]:
        return [state.reshape(self.num_classes, self.num_classes)]

    def lower(
        self, program: Lowering, target: Value, prediction: Value, weight: Value | None = None
    ) -> Instruction:
        if weight is not None and self._whole:
            warn(_CAST.format(owner=type(self).__name__))
        return super().lower(program, target, prediction, weight)

    def update_state(
        self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> None:
        owner = type(self).__name__
        y, p = as_array(owner, "y_true", y_true), as_array(owner, "y_pred", y_pred)
        y = (y if self.sparse_y_true else np.argmax(y, self.axis)).reshape(-1)
        p = (p if self.sparse_y_pred else np.argmax(p, self.axis)).reshape(-1)
        if y.shape != p.shape:
            raise ValueError(
                f"{owner}: y_true must have as many classes as y_pred, "
                f"expected {len(p)}, got {len(y)}"
            )
        if self._whole and getattr(sample_weight, "dtype", np.dtype(int)).kind == "f":
            warn(_CAST.format(owner=owner))
        weight = None
        if sample_weight is not None:
            flat = np.reshape(sample_weight, -1) if np.ndim(sample_weight) > 1 else sample_weight
            weight = self.weights_for(flat, p.shape)
        y, p = (each.astype(np.float32).reshape(-1, 1) for each in (y, p))
        kinds = self.sparse_y_true, self.sparse_y_pred
        try:  # by now both are class numbers
            self.sparse_y_true = self.sparse_y_pred = True
            self.add(y, p, weight)
        finally:
            self.sparse_y_true, self.sparse_y_pred = kinds

    def result(self) -> np.float32:
        """The mean so far over those of the classes that appeared."""
        matrix = self.total_cm.numpy().astype(np.float64)
        hits = np.diag(matrix)
        union = (matrix.sum(axis=0) + matrix.sum(axis=1) - hits)[self.target_class_ids]
        appeared = union > 1e-9
        shares = np.where(appeared, hits[self.target_class_ids] / (union + epsilon()), 0.0)
        return np.float32(shares.sum() / (appeared.sum() + epsilon()))


@registry.add()
class BinaryIoU(IoU):
    """Intersection over union of two classes; predictions of at least `threshold` are class 1.

    Args:
        target_class_ids: the classes to take the mean over: of 0 and 1.
        threshold: what makes a prediction class 1.
    """

    _not_in_config = (
        "num_classes",
        "ignore_class",
        "sparse_y_true",
        "sparse_y_pred",
        "axis",
    )

    def __init__(
        self,
        target_class_ids: Sequence[int] = (0, 1),
        threshold: float = 0.5,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(2, target_class_ids, name, dtype)
        self.threshold = number("BinaryIoU", "threshold", threshold)


@registry.add()
class MeanIoU(IoU):
    """Mean intersection over union of all classes."""

    _not_in_config: tuple[str, ...] = ("target_class_ids",)

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ) -> None:
        n = positive_int(type(self).__name__, "num_classes", num_classes)
        super().__init__(n, range(n), name, dtype, ignore_class, sparse_y_true, sparse_y_pred, axis)


@registry.add()
class OneHotIoU(IoU):
    """Intersection over union for one-hot targets and predictions that are class scores."""

    _not_in_config = ("sparse_y_true",)

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ) -> None:
        super().__init__(
            num_classes, target_class_ids, name, dtype, ignore_class, False, sparse_y_pred, axis
        )


@registry.add()
class OneHotMeanIoU(MeanIoU):
    """Mean intersection over union for one-hot targets and predictions that are class scores."""

    _not_in_config = ("target_class_ids", "sparse_y_true")

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ) -> None:
        super().__init__(num_classes, name, dtype, ignore_class, False, sparse_y_pred, axis)
