"""History: what `fit` returns, the values of each epoch by name."""

from collections.abc import Iterable
from typing import Any

from cdl._common.optional_imports import needed
from cdl.callbacks.callback import Callback, Logs


class History(Callback):
    """Values of each epoch; every `fit` makes one, returns it, and leaves it in `model.history`.

    Attributes:
        history: name -> one float for each epoch; a validation that was skipped leaves no entry.
        epoch: the numbers of the epochs, from 0.
        params: `{"verbose", "epochs", "steps"}` of the run.
    """

    def __init__(self) -> None:
        super().__init__()
        self.history: dict[str, list[Any]] = {}
        self.epoch: list[int] = []

    def on_train_begin(self, logs: Logs = None) -> None:
        """Forget earlier epochs."""
        self.epoch = []

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Append the epoch's values."""
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)

    def to_pandas(self) -> Any:
        """The values as a DataFrame: a row for each epoch, a column for each name.

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
        """Draw the values over the epochs, those of validation as dashed lines.

        Args:
            names: which ones, without `val_`; None for all, each in a drawing of its own.
            axes: matplotlib axes to draw all into, or None for new ones.

        Returns:
            The axes, an array of them for several drawings.

        Raises:
            ValueError: a name that is not there, or nothing to draw.
            ImportError: matplotlib is not there.
        """
        plain = [name for name in self.history if not name.startswith("val_")]
        chosen = plain if names is None else [names] if isinstance(names, str) else list(names)
        for name in chosen:
            if name not in self.history:
                raise ValueError(f"plot: names must be out of {plain}, got {name!r}")
        if not chosen:
            raise ValueError("plot: there are no values yet: call fit() first")
        if axes is None:
            pyplot = needed("matplotlib.pyplot", "plot", "History.plot")
            size = (6.0 * len(chosen), 4.0)
            _, axes = pyplot.subplots(1, len(chosen), figsize=size, layout="constrained")
        flat = list(axes.flat) if hasattr(axes, "flat") else [axes] * len(chosen)
        for name, ax in zip(chosen, flat, strict=False):
            (line,) = ax.plot(self._numbers(name), self.history[name], label=name)
            held_out = f"val_{name}"
            if held_out in self.history:
                ax.plot(
                    self._numbers(held_out),
                    self.history[held_out],
                    "--",
                    color=line.get_color(),
                    label=held_out,
                )
            ax.set_xlabel("epoch")
            ax.legend()
        return axes

    def _numbers(self, name: str) -> list[int]:
        """The epochs, counted from 1, of the values of a name; the last ones if some lack it."""
        count = len(self.history[name])
        epochs = [epoch + 1 for epoch in self.epoch] or list(range(1, count + 1))
        return epochs[-count:] if count <= len(epochs) else list(range(1, count + 1))
