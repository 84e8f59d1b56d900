"""Attribution of a prediction to the inputs of a sample, by gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdl import data
from cdl.trainers import vjp
from cdl.trainers.arguments import whole
from cdl.trainers.signature import labels

if TYPE_CHECKING:
    from cdl.models.model import Model

Array = NDArray[np.float32]

_MOST_STEPS = 4096


def saliency(model: Model, x: ArrayLike, target: Any = None, output: Any = None) -> Any:
    """Saliency of each input, ``|d y_target / d x|`` (Simonyan et al., 2014).

    Args:
        model: a trained model.
        x: samples, as in `predict`.
        target: the column of the output to explain: one for all samples, or one for each; None is
            the largest one of each sample.
        output: the name or number of the output, for a model of several.

    Returns:
        An array of the shape of x, or a list with one for each input.

    Raises:
        ValueError: data or a target that do not fit the model.
    """
    task = Task(model, x, target, output, "saliency")
    found = task.gradients.of(task.arrays, task.factor)[1]
    return task.packed([np.abs(each) for each in found])


def integrated_gradients(
    model: Model,
    x: ArrayLike,
    baseline: Any = None,
    target: Any = None,
    output: Any = None,
    steps: int = 64,
    tolerance: float = 1e-3,
) -> Any:
    """Integrated gradients: each input's contribution to the difference from a baseline.

    ``(x - b) * integral over a from 0 to 1 of dy/dx(b + a (x - b))`` (Sundararajan et al., 2017).
    The contributions of a sample add up to ``y(x) - y(b)``. The integral is a sum over midpoints;
    for samples where that is off by more than `tolerance` it is repeated with twice the points.

    Args:
        model: a trained model.
        x: samples, as in `predict`.
        baseline: what a sample without information is: an array like one sample, or like x; a list
            of them for several inputs; None is zeros.
        target: as in `saliency`.
        output: as in `saliency`.
        steps: points of the integral to begin with.
        tolerance: of the sum of a sample's contributions, times ``max(1, |y(x) - y(b)|)``.

    Returns:
        An array of the shape of x, or a list with one for each input.

    Raises:
        ValueError: data, a baseline or a target that do not fit the model.
    """
    steps = whole(steps, "integrated_gradients: steps", 1)
    task = Task(model, x, target, output, "integrated_gradients")
    bases = _baselines(baseline, task.arrays)
    ends = task.values(task.arrays) - task.values(bases)
    found = [np.zeros_like(each) for each in task.arrays]
    left = np.arange(len(ends))
    while True:
        parts = _midpoints(task, bases, left, steps)
        total = sum(part.reshape(len(left), -1).sum(1, dtype=np.float64) for part in parts)
        for whole_, part in zip(found, parts, strict=True):
            whole_[left] = part
        wrong = np.abs(total - ends[left]) > tolerance * np.maximum(1.0, np.abs(ends[left]))
        left, steps = left[wrong], 2 * steps
        if not len(left) or steps > _MOST_STEPS:
            return task.packed(found)


def _midpoints(task: Task, bases: list[Array], rows: NDArray[Any], steps: int) -> list[Array]:
    """Contributions in some rows, by the midpoint rule with `steps` points."""
    x = [each[rows] for each in task.arrays]
    b = [each[rows] for each in bases]
    factor = None if task.factor is None else task.factor[rows]
    sums = [np.zeros(each.shape, np.float64) for each in x]
    for k in range(steps):
        share = np.float32((k + 0.5) / steps)
        between = [low + share * (high - low) for low, high in zip(b, x, strict=True)]
        for total, gradient in zip(sums, task.gradients.of(between, factor)[1], strict=True):
            total += gradient
    triples = zip(x, b, sums, strict=True)
    return [((high - low) * total / steps).astype(np.float32) for high, low, total in triples]


def _baselines(given: Any, arrays: list[Array]) -> list[Array]:
    """Baseline of the shape of each input."""
    if given is None:
        return [np.zeros_like(each) for each in arrays]
    parts = list(given) if isinstance(given, (list, tuple)) and len(arrays) > 1 else [given]
    if len(parts) != len(arrays):
        raise ValueError(
            f"integrated_gradients: baseline must have {len(arrays)} parts, one for each input, "
            f"got {len(parts)}"
        )
    found = []
    for part, x in zip(parts, arrays, strict=True):
        array = np.asarray(part, np.float32)
        if array.shape not in (x.shape, x.shape[1:], ()):
            raise ValueError(
                f"integrated_gradients: baseline must have the shape of a sample, {x.shape[1:]}, "
                f"got {array.shape}"
            )
        found.append(np.ascontiguousarray(np.broadcast_to(array, x.shape)))
    return found


class Task:
    """Model, samples, and the output number of each to explain."""

    def __init__(
        self, model: Model, x: ArrayLike, target: Any, output: Any, call: str, layer: Any = None
    ) -> None:
        flat = model._graph_of_model.flat_inputs(x, call)
        names = labels(f"{call}: x", "input", model._graph_of_model.input_names())
        infos = model._graph_of_model.input_infos()
        triples = zip(flat, infos, names, strict=True)
        self.arrays = [
            np.array(data.fit_input(data.as_numeric(a, name), i.row, name), np.float32)
            for a, i, name in triples
        ]
        self.gradients = vjp.of_model(model, [a.shape[1:] for a in self.arrays], output, layer)
        self.factor: Array | None = None
        values = self.gradients.of(self.arrays)[0]
        if values[:1].size > 1:
            self.factor = self._factor(values, target, call)
        elif target not in (None, 0):
            raise ValueError(f"{call}: target must be 0 or None for one output, got {target!r}")

    @staticmethod
    def _factor(values: Array, target: Any, call: str) -> Array:
        """Mask with 1 for the number to explain, 0 for the others."""
        flat = values.reshape(len(values), -1)
        chosen = flat.argmax(1) if target is None else np.asarray(target)
        if chosen.dtype.kind not in "iu" or chosen.shape not in ((), (len(flat),)):
            raise ValueError(
                f"{call}: target must be a column of the output, or one for each of {len(flat)} "
                f"samples, got {target!r}"
            )
        if chosen.min() < 0 or chosen.max() >= flat.shape[1]:
            raise ValueError(
                f"{call}: target must be from 0 to {flat.shape[1] - 1}, got {target!r}"
            )
        factor = np.zeros_like(flat)
        factor[np.arange(len(flat)), chosen] = 1.0
        return factor.reshape(values.shape)

    def values(self, arrays: list[Array]) -> NDArray[np.float64]:
        """Number to explain, of each sample."""
        y = self.gradients.of(arrays, self.factor)[0].astype(np.float64)
        if self.factor is not None:
            y = y * self.factor
        total: NDArray[np.float64] = y.reshape(len(y), -1).sum(1)
        return total

    def packed(self, found: list[Array]) -> Any:
        """One array, or a list with one for each input."""
        self.gradients.trim()
        return found[0] if len(found) == 1 else found
