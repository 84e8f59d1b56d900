"""Hot reload of a served model when its file changes."""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cdl._common import clock
from cdl._common.errors import Hinting
from cdl._common.validation import expected, is_real
from cdl.saving import load_model
from cdl.saving.atomic import checked_path
from cdl.trainers import not_finite

if TYPE_CHECKING:
    from typing import Self

    from cdl.models.model import Model

_LONGEST_PAUSE = 60.0  # seconds between two trials of a file that stays bad
_log = logging.getLogger("cdl")


class ModelHolder(Hinting):
    """Model of a file, hot-swapped when the file changes: loaded, warmed up, then swapped in.

    A thread looks at the file. A new one is loaded beside the model that serves; requests that have
    begun finish on the old model. A file that is damaged, half written, gone, or whose model fails
    in its first prediction leaves the old model in place, is told to the logger `cdl` and in
    `health()`, and tried again when it changes, or after a pause that grows to a minute. All
    methods may be called from any thread; a forked child looks at the file by a thread of its own.

    The model is loaded without what it was compiled with.

    Args:
        filepath: a file that `cdl.saving.load_model` reads.
        every: seconds between two looks at the file; None for no thread: call `reload()`.
        warm_up: inputs of a first prediction, which builds the program; or a function that is given
            the new model and may refuse it by an error, say if its accuracy is too low. None
            predicts one row of zeros, if the sizes of inputs are known.
        custom_objects: classes and functions of the user's own, by name, as for `load_model`.

    Raises:
        ValueError: the file cannot be served at the beginning: all that `load_model` raises, a
            FileNotFoundError if it is missing, and what `warm_up` does.
    """

    def __init__(
        self,
        filepath: str | PathLike[str],
        every: float | None = 1.0,
        warm_up: Any = None,
        custom_objects: Mapping[str, Any] | None = None,
    ) -> None:
        if every is not None and not (is_real(every) and 0 < every <= threading.TIMEOUT_MAX):
            raise expected("ModelHolder", "every", "a number of seconds above 0, or None", every)
        self.filepath = checked_path(filepath, "ModelHolder")
        self._every = every
        self._warm_up = warm_up
        self._custom_objects = custom_objects
        self._stop = threading.Event()
        self._loading = threading.Lock()
        self._watcher: threading.Thread | None = None
        self._seen: Any = None  # the state of the file that was tried last
        self._loads = self._failures = 0
        self._loaded_at = 0.0
        self._error: str | None = None
        self._again_at = 0.0  # when a bad file is tried again, by clock.now
        self._model: Model
        self.reload()
        _holders.add(self)
        self._watch()

    @property
    def model(self) -> Model:
        """Current model; keep it for the length of a request, and no longer."""
        if self._watcher is None:
            self._watch()
        return self._model

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: int | str = 0,
        finite: bool = False,
    ) -> Any:
        """Outputs of the current model.

        Args:
            x: see `Model.predict`.
            batch_size: likewise.
            verbose: likewise.
            finite: whether NaN and infinity in arrays are refused; their outputs are mostly NaN.

        Raises:
            ValueError: which columns and rows are not finite, or what `Model.predict` raises.
        """
        if finite:
            not_finite.refuse(x, "ModelHolder: x")
        return self.model.predict(x, batch_size=batch_size, verbose=verbose)

    def reload(self) -> None:
        """Load the file now, changed or not.

        Raises:
            ValueError: what `load_model` and `warm_up` raise; the old model serves on.
        """
        with self._loading:
            self._seen = _state(self.filepath)
            try:
                model = load_model(self.filepath, self._custom_objects, compile=False)
                _warm(model, self._warm_up)
            except BaseException as error:
                self._failures += 1
                self._error = f"{type(error).__name__}: {error}"
                pause = (self._every or 0.0) * 2.0 ** min(self._failures, 30)
                self._again_at = clock.now() + min(pause, _LONGEST_PAUSE)
                raise
            if not self._stop.is_set():
                self._model = model
                self._loads += 1
                self._loaded_at = time.time()
                self._failures, self._error = 0, None

    def health(self) -> dict[str, Any]:
        """State of the holder, as JSON values.

        Returns:
            `healthy`: whether the file was loaded when it was tried last; `error`: why not, None if
            it was; `failures` since the last success; `loads`: how many models were swapped in, the
            first included; `loaded_at`: the time of the last one, in seconds since 1970; `file`;
            `watching`.
        """
        return {
            "healthy": self._error is None,
            "error": self._error,
            "failures": self._failures,
            "loads": self._loads,
            "loaded_at": self._loaded_at,
            "file": str(self.filepath),
            "watching": self._every is not None and not self._stop.is_set(),
        }

    def close(self, timeout: float | None = None) -> None:
        """End the thread; the current model stays.

        Args:
            timeout: seconds to wait for a load that is under way; None waits for its end.
        """
        self._stop.set()
        watcher = self._watcher
        if watcher is not None and watcher is not threading.current_thread():
            watcher.join(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<ModelHolder {str(self.filepath)!r}, loads={self._loads}, error={self._error!r}>"

    def _watch(self) -> None:
        """Start the thread, if one is wanted and there is none."""
        if self._every is None or self._stop.is_set():
            return
        with self._starting:
            if self._watcher is None:
                self._watcher = threading.Thread(
                    target=_follow,
                    args=(weakref.ref(self), self._stop, self._every),
                    name=f"cdl: {self.filepath.name}",
                    daemon=True,
                )
                self._watcher.start()

    def _look(self) -> None:
        """Load the file if it has changed, or if a bad one is due for another try."""
        bad = self._error is not None
        if _state(self.filepath) == self._seen and not (bad and clock.now() > self._again_at):
            return
        before = self._error
        try:
            self.reload()
        except Exception as error:
            if self._error != before:
                _log.warning("%s: the model that serves stays: %s", self.filepath, error)
        else:
            _log.info("%s: a new model serves", self.filepath)

    def _after_fork(self) -> None:
        """Drop what belongs to threads that a forked child does not have."""
        stopped = self._stop.is_set()
        self._stop, self._loading = threading.Event(), threading.Lock()
        self._watcher = None
        if stopped:
            self._stop.set()

    _starting = threading.Lock()


def _follow(
    holder_of: Callable[[], ModelHolder | None], stop: threading.Event, every: float
) -> None:
    """Watch the file of a holder until that is closed or garbage-collected."""
    while not stop.wait(every):
        holder = holder_of()
        if holder is None:
            return
        holder._look()
        del holder


def _state(path: Path) -> Any:
    """Value that changes with the file at a path; the reason if there is none."""
    try:
        found = path.stat()
    except OSError as error:
        return error.errno
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _warm(model: Model, warm_up: Any) -> None:
    """Make the first prediction of a model."""
    if callable(warm_up):
        warm_up(model)
        return
    x = warm_up
    if x is None and model.built:
        infos = model._graph_of_model.input_infos()
        if not any(None in info.row for info in infos):
            x = [np.zeros((1, *info.row), info.dtype) for info in infos]
            x = x[0] if len(x) == 1 else x
    if x is not None:
        model.predict(x, verbose=0)


_holders: weakref.WeakSet[ModelHolder] = weakref.WeakSet()


def _renew() -> None:
    ModelHolder._starting = threading.Lock()
    for holder in list(_holders):
        holder._after_fork()


os.register_at_fork(after_in_child=_renew)
