"""Permutation importance: the loss of quality when a column is shuffled."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdl import data
from cdl._common import html
from cdl.data.texts import array_of, holds_texts
from cdl.trainers.arguments import whole
from cdl.trainers.signature import labels

if TYPE_CHECKING:
    from cdl.models.model import Model


class Importance(NamedTuple):
    """Result of `permutation_importance`.

    Attributes:
        names: of the columns.
        drops: how much worse the model got, (columns, repeats).
        base: the loss, or score, of the data as they are.
    """

    names: list[str]
    drops: NDArray[np.float64]
    base: float

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean drop of each column."""
        return np.asarray(self.drops.mean(1))

    @property
    def std(self) -> NDArray[np.float64]:
        """Standard deviation of each column's drops."""
        return np.asarray(self.drops.std(1))

    def _repr_html_(self) -> str:
        """HTML for notebooks: a bar for each of the 20 most important columns."""
        order, longest = (
            np.argsort(-self.mean, kind="stable"),
            self.mean.max(initial=0) or 1.0,
        )
        rows = [
            [
                self.names[k],
                html.bar(self.mean[k] / longest),
                f"{self.mean[k]:.4g} ± {self.std[k]:.2g}",
            ]
            for k in order[:20]
        ]
        rest = len(order) - len(rows)
        more = f"<p>{rest} columns more matter less</p>" if rest else ""
        heads = ["column", "compared", "how much worse, shuffled"]
        return f"<p>loss or score, unshuffled: {self.base:.4g}</p>\n{html.table(heads, rows)}{more}"


def permutation_importance(
    model: Model,
    x: ArrayLike,
    y: ArrayLike,
    score: Callable[[Any, Any], float] | None = None,
    n_repeats: int = 5,
    seed: int | None = 0,
    names: list[str] | None = None,
) -> Importance:
    """Permutation importance: the cost of shuffling each column of the data (Breiman, 2001).

    Args:
        model: a trained model; compiled, unless there is a `score`.
        x: samples, as in `predict`; each column (along axis 1, or a whole input without one) is
            shuffled by itself.
        y: their targets.
        score: a function of targets and predictions, of which more is better, such as
            `sklearn.metrics.accuracy_score` of labels; None: the model's loss, of which less is.
        n_repeats: how often each column is shuffled.
        seed: of the shuffling; None for another one each time.
        names: of the columns; None for `x0`, `x1` ..., or the names of inputs before them.

    Raises:
        ValueError: data or names that do not fit.
    """
    n_repeats = whole(n_repeats, "permutation_importance: n_repeats", 1)
    flat, inputs = (
        model._graph_of_model.flat_inputs(x, "permutation_importance"),
        model._graph_of_model.input_names(),
    )
    if model._graph_of_model.has_host_part():  # texts are shuffled, not what they become
        flat, inputs = (
            model._graph_of_model.flat_given(x, "permutation_importance"),
            model.input_names,
        )
    of_each = labels("permutation_importance: x", "input", inputs)
    pairs = zip(flat, of_each, strict=True)
    arrays = [array_of(a, n) if holds_texts(a) else data.as_numeric(a, n) for a, n in pairs]
    columns: list[tuple[int, int | None]] = []
    for i, array in enumerate(arrays):
        columns += [(i, j) for j in ([None] if array.ndim < 2 else range(array.shape[1]))]
    names = _names(names, columns, inputs)

    def quality(parts: list[Any]) -> float:
        given = parts[0] if len(parts) == 1 else dict(zip(inputs, parts, strict=True))
        if score is not None:
            return float(score(y, model.predict(given, verbose=0)))
        return -float(model.evaluate(given, y, verbose=0, return_dict=True)["loss"])

    rng = np.random.default_rng(seed)
    base = quality(arrays)
    drops = np.zeros((len(columns), n_repeats))
    for k, (i, j) in enumerate(columns):
        for repeat in range(n_repeats):
            shuffled = arrays[i].copy()
            order = rng.permutation(len(shuffled))
            if j is None:
                shuffled = shuffled[order]
            else:
                shuffled[:, j] = shuffled[order, j]
            drops[k, repeat] = base - quality([*arrays[:i], shuffled, *arrays[i + 1 :]])
    return Importance(names, drops, base if score is not None else -base)


def _names(
    given: list[str] | None, columns: list[tuple[int, int | None]], inputs: list[str]
) -> list[str]:
    if given is not None:
        if len(given) != len(columns):
            raise ValueError(
                f"permutation_importance: names must be {len(columns)}, one for each column, got "
                f"{len(given)}"
            )
        return list(given)
    if len(inputs) == 1:
        return [f"x{j or 0}" for _, j in columns]
    return [inputs[i] if j is None else f"{inputs[i]}[{j}]" for i, j in columns]
