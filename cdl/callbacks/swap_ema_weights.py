"""SwapEMAWeights: evaluation with averaged weights, training with the raw ones."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from cdl._common.validation import flag
from cdl.callbacks.callback import Callback, Logs

_swapped: WeakKeyDictionary[Any, "SwapEMAWeights"] = WeakKeyDictionary()  # by model, averages in it


@contextmanager
def raw_weights(model: Any) -> Iterator[None]:
    """Context in which a model has its raw weights, not swapped averages."""
    callback = _swapped.get(model)
    if callback is not None:
        callback._swap_to(False)
    try:
        yield
    finally:
        if callback is not None:
            callback._swap_to(True)


class SwapEMAWeights(Callback):
    """Swap weights with their moving averages for evaluation and prediction.

    For optimizers with `use_ema=True`; to be given to `fit`, `evaluate` or `predict`.

    Args:
        swap_on_epoch: whether to have the averages in the model from the end of an epoch to the
            start of the next too, for others that look at it then, such as a ModelCheckpoint that
            comes after this callback.

    Raises:
        ValueError: in the run, if the optimizer keeps no averages.
    """

    _of_one_fit = True

    def __init__(self, swap_on_epoch: bool = False) -> None:
        super().__init__()
        self.swap_on_epoch = flag("SwapEMAWeights", "swap_on_epoch", swap_on_epoch)
        self._raw: dict[Any, Any] | None = None  # the weights, while averages are in their place
        self._in_fit = False

    def on_train_begin(self, logs: Logs = None) -> None:
        """Mark the run as a `fit`."""
        self._averaging_optimizer()
        self._in_fit = True

    def _averaging_optimizer(self, built: bool = False) -> Any:
        """Optimizer that keeps the averages, or is about to."""
        optimizer = self.model.optimizer
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)
        several = getattr(optimizer, "optimizers", [optimizer])
        uses = any(getattr(each, "use_ema", False) for each in several)
        if not uses or (built and not optimizer.built):
            raise ValueError(
                "SwapEMAWeights must be used when `use_ema=True` is set on the optimizer, and it "
                f"has learned: got use_ema={uses}, built={optimizer.built}"
            )
        return optimizer

    def _swap_to(self, averages_in_model: bool) -> None:
        if averages_in_model == (self._raw is not None):
            return
        if self._raw is None:
            averages = self._averaging_optimizer(built=True).averages
            self._raw = {weight: weight.numpy() for weight in averages}
            for weight, average in averages.items():
                weight.assign(average.numpy())
            _swapped[self.model] = self
        else:
            raw, self._raw = self._raw, None
            for weight, value in raw.items():
                weight.assign(value)
            _swapped.pop(self.model, None)

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Restore the raw weights for training."""
        if self.swap_on_epoch:
            self._swap_to(False)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Swap in the averages, with `swap_on_epoch`."""
        if self.swap_on_epoch:
            self._swap_to(True)

    def on_train_end(self, logs: Logs = None) -> None:
        """Leave the averages in the model, as each `fit` with `use_ema=True` does."""
        self._raw = None
        _swapped.pop(self.model, None)

    def _let_go(self, trained: bool) -> None:
        """Restore the raw weights after a run that did not finish."""
        if trained or not self._in_fit:
            self._swap_to(False)
            self._in_fit = False

    def on_test_begin(self, logs: Logs = None) -> None:
        """Swap in the averages for evaluation."""
        self._swap_to(True)

    def on_test_end(self, logs: Logs = None) -> None:
        """Restore the raw weights after evaluation."""
        self._swap_to(False)

    def on_predict_begin(self, logs: Logs = None) -> None:
        """Swap in the averages for prediction."""
        self._swap_to(True)

    def on_predict_end(self, logs: Logs = None) -> None:
        """Restore the raw weights after prediction."""
        self._swap_to(False)
