"""History: the result of `fit`, the values of each epoch by name."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from cdl._common import html
from cdl._common.optional_imports import needed
from cdl.callbacks.callback import Callback, Logs

_IN_A_ROW = 4  # panels, at most
# Width and height of a panel in inches, by the number in a row: text stays readable where a
# notebook makes a wide figure as narrow as its column.
_SIZES = {1: (6.0, 4.0), 2: (5.0, 3.6), 3: (4.2, 3.2), 4: (3.6, 3.0)}


class History(Callback):
    """Values of each epoch by name; the result of `fit`, also in `model.history`.

    Attributes:
        history: name -> one float for each epoch; a validation that was skipped leaves no entry.
        epoch: the numbers of the epochs, from 0.
        params: `{"verbose", "epochs", "steps"}` of the run.
    """

    _of_one_fit = True

    def __init__(self) -> None:
        super().__init__()
        self.history: dict[str, list[Any]] = {}
        self.epoch: list[int] = []

    def on_train_begin(self, logs: Logs = None) -> None:
        self.epoch = []

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Append the values of the epoch."""
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)

    def __repr__(self) -> str:
        """Number of epochs, and the last value of each name."""
        shown = [
            f"{name}={np.mean(values[-1]):.4g}" for name, values in self.history.items() if values
        ]
        return f"<{' '.join([f'History epochs={len(self.epoch)}', *shown])}>"

    def to_pandas(self) -> Any:
        """Values as a DataFrame: a row per epoch, a column per name.

        An epoch whose validation was skipped has NaN there, if that can be told.

        Raises:
            ImportError: pandas is not there.
        """
        pandas = needed("pandas", "pandas", "History.to_pandas")
        columns = {name: pandas.Series(values) for name, values in self.history.items()}
        frame = pandas.DataFrame(columns)
        if len(frame) == len(self.epoch):
            frame.index = pandas.Index(self.epoch, name="epoch")
        return frame

    def plot(self, names: str | Iterable[str] | None = None, axes: Any = None) -> Any:
        """Plot the values over the epochs, validation dashed.

        Args:
            names: which ones, without `val_`; None for all, losses first. Each has a panel of its
                own, up to four in a row.
            axes: matplotlib axes to draw all into, or several, one for each name; None for new
                ones.

        Returns:
            The axes; for several panels an array of them, in the order of the names.

        Raises:
            ValueError: a name that is not there, nothing to draw, or too few axes.
            ImportError: matplotlib is not there.
        """
        plain = [name for name in self.history if not name.startswith("val_")]
        plain.sort(key=lambda name: (name != "loss", not name.endswith("_loss")))
        chosen = plain if names is None else [names] if isinstance(names, str) else list(names)
        for name in chosen:
            if name not in self.history:
                raise ValueError(f"plot: names must be out of {plain}, got {name!r}")
        if not chosen:
            raise ValueError("plot: there are no values yet: call fit() first")
        if axes is None:
            axes = _panels(len(chosen))
        several = list(getattr(axes, "flat", axes)) if np.iterable(axes) else [axes] * len(chosen)
        if len(several) < len(chosen):
            raise ValueError(
                f"plot: axes must be one, or one for each of {chosen}, got {len(several)}"
            )
        for name, ax in zip(chosen, several, strict=False):
            line = self._draw(ax, name, "-", None)
            if f"val_{name}" in self.history:
                self._draw(ax, f"val_{name}", "--", line.get_color())
            ax.set_xlabel("epoch")
            ax.legend()
        return axes

    def _repr_html_(self) -> str:
        """HTML for notebooks: a curve over the epochs per name, with its ends and extremes.

        The dashed line is that of validation.
        """
        rows = []
        for name, values in self.history.items():
            shown, at = np.array([np.mean(value) for value in values], float), self._numbers(name)
            if np.isnan(shown).all():
                continue
            ends = [f"{shown[k]:.4g}" for k in (0, -1)]
            for k in (np.nanargmin(shown), np.nanargmax(shown)):
                ends.append(f"{shown[k]:.4g} (epoch {at[k]})")
            drawn = html.Html("")
            if not name.startswith("val_"):
                beside = [np.mean(value) for value in self.history.get(f"val_{name}", ())]
                drawn = html.curves([shown.tolist(), beside], f"{name} over the epochs")
            rows.append([name, drawn, *ends])
        heads = ["name", "over the epochs", "first", "last", "lowest", "highest"]
        return f"<p>{len(self.epoch)} epochs</p>\n{html.table(heads, rows)}"

    def _draw(self, ax: Any, name: str, style: str, color: Any) -> Any:
        """Draw the values of a name: a line, or a single point."""
        values = self.history[name]
        marker = "o" if len(values) == 1 else None
        (line,) = ax.plot(
            self._numbers(name), values, style, label=name, color=color, marker=marker
        )
        return line

    def _numbers(self, name: str) -> list[int]:
        """Epochs, counted from 1, of a name's values; the last ones if some lack it."""
        count = len(self.history[name])
        epochs = [epoch + 1 for epoch in self.epoch] or list(range(1, count + 1))
        return epochs[-count:] if count <= len(epochs) else list(range(1, count + 1))


def _panels(count: int) -> Any:
    """New axes in rows of equal length except the last; a single one is no array."""
    pyplot = needed("matplotlib.pyplot", "plot", "History.plot")
    rows = math.ceil(count / _IN_A_ROW)
    columns = math.ceil(count / rows)
    width, height = _SIZES[columns]
    figure, axes = pyplot.subplots(
        rows, columns, figsize=(width * columns, height * rows), layout="constrained", squeeze=False
    )
    for spare in axes.flat[count:]:
        figure.delaxes(spare)
    for ax in axes.flat:
        ax.xaxis.get_major_locator().set_params(integer=True)  # no epoch 1.5
    return axes[0, 0] if count == 1 else axes.flat[:count]
