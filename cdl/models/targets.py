"""targets.py - whether targets are what losses and metrics can read."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl import _core, data
from cdl._hints import warn
from cdl.models.compiled import Head

Array = NDArray[Any]


def checked_targets(
    y: Array | None, head: Head, output: tuple[int, ...], name: str
) -> Array | None:
    """The targets of an output checked against all that reads them."""
    if y is None:
        if head.readers:
            raise ValueError(f"{name} must be given for the {head.readers[0][0]}, got None")
        return None
    checked = False
    ignored = getattr(head.loss, "ignore_class", None)
    for why, wants in head.readers:
        if wants == "values":
            y = data.fit_values(y, output, name, why)
        elif wants == "classes":
            y = data.fit_classes(y, output, name, why)
            if not checked:
                check_classes(y, output[-1], name, why, ignored)
                checked = True
        elif wants == "labels":
            if y.ndim != 2:
                raise ValueError(
                    f"{name} must have shape (n, labels), class numbers padded by 0, "
                    f"for the {why}, got {y.shape}"
                )
            check_classes(y, output[-1], name, why)
    return y


def warn_of_no_probabilities(y: Array | None, head: Head, name: str) -> None:
    """Warn of targets that a crossentropy cannot be of: it has no least value then.

    Keras trains on them without a word; so do calls with one batch.
    """
    row = getattr(head.loss, "row", "")
    if y is None or not row.endswith(("binary_crossentropy", "categorical_crossentropy")):
        return
    if "sparse" in row or not y.size or y.dtype.kind == "b":
        return
    low, high = y.min(), y.max()
    if low < 0 or high > 1:
        assert head.loss is not None
        warn(
            f"{name} should hold numbers from 0 to 1 for loss {head.loss.name!r}, got numbers from "
            f"{low:g} to {high:g}: the loss can fall without end"
        )


def check_classes(y: Array, classes: int, name: str, why: str, ignored: int | None = None) -> None:
    """Raise ValueError for the first label that is no class number, nor the one to be ignored."""
    bad = _core.check_classes(y, classes)
    if bad >= 0 and ignored is not None:
        bad = _core.check_classes(np.where(y == ignored, 0, y), classes)
    if bad >= 0:
        row = bad // max(1, y[:1].size)
        label = y.flat[bad]
        raise ValueError(
            f"{name} must hold class numbers from 0 to {classes - 1} for the {why}, "
            f"got {label} in row {row}"
        )
