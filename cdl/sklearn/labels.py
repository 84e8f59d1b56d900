"""Label encoding: labels of any dtype as numbers for the core, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class Labels:
    """Classes of a classifier, and which of three forms its targets have.

    Args:
        classes: the sorted classes; of several labels a row, their numbers.
        several: whether a row may have any number of labels (a column of 0 and 1 for each).

    Attributes:
        outputs: how many numbers the net puts out for a row.
        activation: what makes probabilities of them, by its Keras name.
    """

    def __init__(self, classes: NDArray[Any], several: bool) -> None:
        self.classes = classes
        self.several = several
        self.outputs = len(classes) if several or len(classes) > 2 else 1
        self.activation = "softmax" if self.outputs > 1 and not several else "sigmoid"

    @classmethod
    def of(cls, y: Any) -> Labels:
        """Labels that occur in y.

        Raises:
            ValueError: y holds no labels, or several classes for each of several outputs.
        """
        from sklearn.utils.multiclass import check_classification_targets, type_of_target

        check_classification_targets(y)
        kind = type_of_target(y)
        if kind == "multilabel-indicator":
            return cls(np.arange(y.shape[1]), True)
        if kind == "multiclass-multioutput":
            raise ValueError(
                "CDLClassifier: y must be labels, or columns of 0 and 1 for several labels a row, "
                f"got {y.shape[1]} columns of classes: use "
                "sklearn.multioutput.MultiOutputClassifier(CDLClassifier())"
            )
        return cls(np.unique(y), False)

    def encode(self, y: Any) -> NDArray[Any]:
        """Labels in the form of the loss: columns of 0 and 1, 0 or 1, or class numbers.

        Raises:
            ValueError: a label outside the classes.
        """
        if self.several:
            columns = y.toarray() if hasattr(y, "toarray") else np.asarray(y)
            if columns.ndim != 2 or columns.shape[1] != len(self.classes):
                raise ValueError(
                    f"CDLClassifier: y must have {len(self.classes)} columns of 0 and 1 as in the "
                    f"first fit, got shape {columns.shape}"
                )
            indicators: NDArray[Any] = columns != 0
            return indicators
        if y.ndim != 1:
            raise ValueError(
                "CDLClassifier: y must be a label for each row as in the first fit, got "
                f"shape {y.shape}"
            )
        found, codes = np.unique(y, return_inverse=True)
        new = np.setdiff1d(found, self.classes)
        if len(new):
            raise ValueError(
                f"CDLClassifier: `y` has classes not in `self.classes_`: {list(new[:5])}; "
                f"`self.classes_` has {list(self.classes[:5])}"
            )
        codes = np.searchsorted(self.classes, found)[codes]
        return codes if self.outputs > 1 else codes.astype(np.float32)

    def check_same(self, y: NDArray[Any]) -> None:
        """Refuse labels other than those of the last fit, as `warm_start` requires."""
        found = np.unique(y)
        if not np.array_equal(found, self.classes):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous "
                f"call to fit. Previously got {self.classes}, `y` has {found}"
            )

    def are_right(self, outputs: NDArray[Any], codes: NDArray[Any]) -> NDArray[np.bool_]:
        """Whether each row's most probable label, or all of several, is the encoded one."""
        right: NDArray[np.bool_]
        if self.several:
            right = ((outputs > 0.5) == codes).all(axis=1)
        elif self.outputs > 1:
            right = outputs.argmax(axis=1) == codes
        else:
            right = (outputs[:, 0] > 0.5) == codes
        return right

    def decode(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """Most probable label of each row; columns of 0 and 1 of several labels a row."""
        if self.several:
            return (outputs > 0.5).astype(np.int64)
        if self.outputs > 1:
            best = outputs.argmax(axis=1)
        else:
            best = np.minimum(outputs[:, 0] > 0.5, len(self.classes) - 1)
        labels: NDArray[Any] = self.classes[best]
        return labels

    def probabilities(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """Column of probabilities per class, or per label of several."""
        if self.outputs > 1 or self.several:
            return outputs
        if len(self.classes) == 1:
            return np.ones_like(outputs)
        return np.concatenate([1.0 - outputs, outputs], axis=1)
