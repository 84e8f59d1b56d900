"""CallbackList: several callbacks as one, and the hooks they use."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from cdl._common.errors import Listed
from cdl._common.locks import new_lock
from cdl.callbacks.callback import Callback, Logs
from cdl.callbacks.history import History
from cdl.callbacks.progbar_logger import ProgbarLogger
from cdl.distribution import ranks
from cdl.utils.job import job

if TYPE_CHECKING:
    from cdl.trainers.signature import TrainableModel

# The hooks that bring a run back to Python at each batch, by the run that has them.
_BATCH_HOOKS = {
    "train": ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end"),
    "test": ("on_test_batch_begin", "on_test_batch_end"),
    "predict": ("on_predict_batch_begin", "on_predict_batch_end"),
}

_taking = new_lock()


class CallbackList(Listed):
    """List of callbacks, then the History, then the progress bar; each event goes to all.

    Args:
        callbacks: a Callback, a list or tuple of them, or a CallbackList.
        add_history: whether to append a History if there is none.
        add_progbar: whether to append a ProgbarLogger if there is none.
        model: the model that runs.
        **params: what callbacks find in their `params`.
    """

    _inner: tuple[str, ...] = (
        "close",
        "taken",
        "only_keep_history",
        "progress",
        "progress_bar",
        "wants_batches",
    )

    def __init__(
        self,
        callbacks: Callback | Sequence[Callback] | None = None,
        add_history: bool = False,
        add_progbar: bool = False,
        model: TrainableModel | None = None,
        **params: Any,
    ) -> None:
        self.callbacks = as_list(callbacks)
        given = len(self.callbacks)
        self.params = params
        self._wants_batches: dict[str, bool] = {}  # by run, once asked
        self.history = self._find(History)
        if add_history and self.history is None:
            self.history = History()
            self.callbacks.append(self.history)
        self.progress_bar = self._find(ProgbarLogger)
        if add_progbar and self.progress_bar is None:
            self.progress_bar = ProgbarLogger()
            self.callbacks.append(self.progress_bar)
        self._own = None if given else list(self.callbacks)  # callbacks, if none was given
        self.model: TrainableModel | None = None
        if model is not None:
            self.set_model(model)
        if params:
            self.set_params(params)

    def _find(self, cls: type[Any]) -> Any:
        for callback in self.callbacks:  # a generator takes longer than such a list
            if isinstance(callback, cls):
                return callback
        return None

    @property
    def _called(self) -> list[Callback]:
        """Callbacks whose hooks are called; with several ranks the first alone writes."""
        if ranks.is_first():
            return self.callbacks
        return [callback for callback in self.callbacks if not callback.writes]

    def set_params(self, params: dict[str, Any]) -> None:
        """Hand the parameters of the run to all."""
        if job.number is not None:
            params = {**params, "job": job.number}
        self.params = params
        for callback in self.callbacks:
            callback.set_params(params)

    def set_model(self, model: TrainableModel) -> None:
        """Hand the model to all; its `history` is this run's."""
        model = model._of_users() if hasattr(model, "_of_users") else model
        self.model = model
        self._wants_batches.clear()
        if self.history is not None:
            model.history = self.history
        for callback in self.callbacks:
            callback.set_model(model)

    def taken(self, model: TrainableModel, params: dict[str, Any]) -> _Taken:
        """Context in which callbacks of one model belong to a `fit` of this thread.

        Args:
            model: the model, which they are handed.
            params: likewise, of the run.
        """
        return _Taken(self, model, params)

    @property
    def only_keep_history(self) -> bool:
        """Whether the list holds a plain History alone, whose hooks need not be called."""
        return [type(callback) for callback in self.callbacks] == [History]

    def wants_batches(self, run: str) -> bool:
        """Whether a callback overrides a batch hook of `run`: "train", "test" or "predict"."""
        if self.callbacks == self._own:  # which override no batch hook
            return False
        if run not in self._wants_batches:
            self._wants_batches[run] = any(
                _overrides(callback, hook)
                for callback in self.callbacks
                for hook in _BATCH_HOOKS[run]
                if not isinstance(callback, ProgbarLogger)
            )
        return self._wants_batches[run]

    def progress(self, done: int, logs: Callable[[], dict[str, float]]) -> None:
        """Report the number of finished batches to the bar; `logs` is called if it draws."""
        if self.progress_bar in self._called:
            self.progress_bar.on_progress(done, logs)

    def close(self, trained: bool = False) -> None:
        """Restore screen and files after a run that an exception ended.

        Args:
            trained: whether the run was a `fit`.
        """
        if self.progress_bar is not None:
            self.progress_bar.close()
        for callback in self.callbacks:
            callback._let_go(trained)

    def on_train_begin(self, logs: Logs = None) -> None:
        """Pass the event on to all."""
        for callback in self._called:
            callback.on_train_begin(_given(logs))

    def on_train_end(self, logs: Logs = None) -> None:
        """Pass the event on to all."""
        for callback in self._called:
            callback.on_train_end(_given(logs))

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Pass the event on to all."""
        for callback in self._called:
            callback.on_epoch_begin(epoch, _given(logs))

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Pass the event on to all, in order, with one dict that each may extend."""
        logs = _given(logs)
        for callback in self._called:
            callback.on_epoch_end(epoch, logs)

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Pass the event on to all."""
        for callback in self._called:
            callback.on_train_batch_begin(batch, _given(logs))

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Pass the event on to all."""
        logs = _given(logs)
        for callback in self._called:
            callback.on_train_batch_end(batch, logs)

    def on_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Alias of `on_train_batch_begin` for older code."""
        self.on_train_batch_begin(batch, logs)

    def on_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Alias of `on_train_batch_end` for older code."""
        self.on_train_batch_end(batch, logs)

    def on_test_begin(self, logs: Logs = None) -> None:
        """Pass the event on to all."""
        for callback in self._called:
            callback.on_test_begin(_given(logs))

    def on_test_end(self, logs: Logs = None) -> None:
        """Pass the event on to all."""
        logs = _given(logs)
        for callback in self._called:
            callback.on_test_end(logs)

    def on_test_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Pass the event on to all."""
        for callback in self._called:
            callback.on_test_batch_begin(batch, _given(logs))

    def on_test_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Pass the event on to all."""
        logs = _given(logs)
        for callback in self._called:
            callback.on_test_batch_end(batch, logs)

    def on_predict_begin(self, logs: Logs = None) -> None:
        """Pass the event on to all."""
        for callback in self._called:
            callback.on_predict_begin(_given(logs))

    def on_predict_end(self, logs: Logs = None) -> None:
        """Pass the event on to all."""
        for callback in self._called:
            callback.on_predict_end(_given(logs))

    def on_predict_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """Pass the event on to all."""
        for callback in self._called:
            callback.on_predict_batch_begin(batch, _given(logs))

    def on_predict_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Pass the event on to all."""
        logs = _given(logs)
        for callback in self._called:
            callback.on_predict_batch_end(batch, logs)


class _Taken:
    """Context of `CallbackList.taken`, which each fit enters: a generator takes longer.

    Raises:
        RuntimeError: one of the callbacks is in a `fit` of another thread just now.
    """

    def __init__(
        self, callbacks: CallbackList, model: TrainableModel, params: dict[str, Any]
    ) -> None:
        self._callbacks, self._model, self._params = callbacks, model, params
        self._mine: list[Callback] = []

    def __enter__(self) -> None:
        here = threading.get_ident()
        with _taking:
            for callback in self._callbacks.callbacks:
                if not callback._of_one_fit:
                    continue
                if callback._thread not in (None, here):
                    raise RuntimeError(
                        f"fit: callbacks: this {type(callback).__name__} is in use by a fit that "
                        "another thread runs: give each fit one of its own"
                    )
                self._mine += [callback] if callback._thread is None else []
            for callback in self._mine:
                callback._thread = here
        try:
            self._callbacks.set_model(self._model)
            self._callbacks.set_params(self._params)
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *error: object) -> None:
        for callback in self._mine:
            callback._thread = None


def as_list(callbacks: Any) -> list[Callback]:
    """`callbacks=` of any run as a list; TypeError if one of them is no Callback."""
    if callbacks is None:
        return []
    if isinstance(callbacks, CallbackList):
        return list(callbacks.callbacks)
    given = list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]
    for callback in given:
        if not isinstance(callback, Callback):
            what = (
                f"the class {callback.__name__} (did you mean {callback.__name__}()?)"
                if isinstance(callback, type)
                else f"an object of type {type(callback).__name__}"
            )
            raise TypeError(f"callbacks must be Callback objects, got {what}")
    return given


def _given(logs: Logs) -> dict[str, Any]:
    return {} if logs is None else logs


def _overrides(callback: Callback, hook: str) -> bool:
    """Whether `hook` is overridden, by class or by object, and not idle."""
    method = getattr(callback, hook)
    function = getattr(method, "__func__", method)
    return function is not getattr(Callback, hook) and function not in callback.idle_hooks()
