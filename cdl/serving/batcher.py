"""Dynamic batching of requests from many threads."""

from __future__ import annotations

import os
import queue
import threading
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cdl import tree
from cdl._common import clock
from cdl._common.errors import Hinting
from cdl._common.validation import expected, flag, is_int
from cdl.serving.model_holder import ModelHolder
from cdl.trainers import not_finite

Array = NDArray[Any]


class Batcher(Hinting):
    """Dynamic batching: requests of many threads are predicted in one call.

    Worth it for nets whose prediction takes longer than a request waits, and whose batches cost
    less than their rows alone. A row's answer has the same bits alone and within any batch.

    Each request gets the rows that are its own, or its own error: if a batch fails, its requests
    are predicted one by one. Requests of other shapes or dtypes make batches of their own; data
    frames and whatever else is no array are predicted alone. All methods may be called from any
    thread; a forked child has a queue and a thread of its own.

    Args:
        model: a model, a `ModelHolder`, an object with a `predict`, or a function that is given
            arrays.
        max_rows: the most rows of a batch; a larger request is predicted alone.
        wait: seconds that a request waits for others to come, at most; 0 gathers those that come
            while a batch is predicted.
        max_waiting: the most requests that wait; one more is refused.
        finite: whether arrays with NaN or infinity are refused, by a ValueError that says where.
    """

    def __init__(
        self,
        model: Any,
        max_rows: int = 256,
        wait: float = 0.001,
        max_waiting: int = 1024,
        finite: bool = False,
    ) -> None:
        for name, value in (("max_rows", max_rows), ("max_waiting", max_waiting)):
            if not is_int(value, 1):
                raise expected("Batcher", name, "an integer above 0", value)
        if not isinstance(wait, (int, float)) or not 0 <= wait < float("inf"):
            raise expected("Batcher", "wait", "a number of seconds, 0 or more", wait)
        self._finite = flag("Batcher", "finite", finite)
        self._queue = _Queue(_function_of(model), int(max_rows), float(wait), int(max_waiting))
        weakref.finalize(self, self._queue.end)

    def predict(self, x: Any, timeout: float | None = None) -> Any:
        """Outputs for the rows of x, once they are computed.

        Args:
            x: an array, or a list or dict of arrays for a model of several inputs.
            timeout: seconds; None waits as long as it takes.

        Raises:
            TimeoutError: there was no answer by then; the request is withdrawn.
            queue.Full: `max_waiting` requests wait.
            RuntimeError: the Batcher is closed.
        """
        future = self.submit(x)
        try:
            return future.result(timeout)
        except TimeoutError:
            if future.done():
                raise
            raise TimeoutError(f"Batcher: there was no answer within {timeout} s") from None
        finally:
            future.cancel()

    def submit(self, x: Any) -> Future[Any]:
        """Future of the outputs for the rows of x; `asyncio.wrap_future` makes it awaitable.

        Args:
            x: an array, or a list or dict of arrays for a model of several inputs. It must not be
                changed before the answer is there.

        Raises:
            queue.Full: `max_waiting` requests wait.
            RuntimeError: the Batcher is closed.
        """
        request = _request(x)
        if self._finite and request.leaves is not None:
            not_finite.refuse(x, "Batcher: x")
        return self._queue.put(request)

    def health(self) -> dict[str, Any]:
        """Counters of the batcher, as JSON values.

        Returns:
            `waiting`: requests that wait now; `requests`, `rows` and `batches` that were answered
            since the beginning, errors included; `closed`.
        """
        there = self._queue
        counts = {"requests": there.requests, "rows": there.rows, "batches": there.batches}
        return {"waiting": len(there.waiting), **counts, "closed": there.closed}

    def close(self, timeout: float | None = None) -> None:
        """Refuse new requests, and answer those that wait.

        Args:
            timeout: seconds to wait for the answers; None waits for the last one.
        """
        self._queue.end()
        self._queue.join(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _function_of(model: Any) -> Callable[[Any], Any]:
    from cdl.models import Model, Sequential

    if isinstance(model, (Model, Sequential, ModelHolder)):
        return lambda x: model.predict(x, verbose=0)
    function = getattr(model, "predict", model)
    if not callable(function):
        raise expected("Batcher", "model", "a model, a ModelHolder or a function", model)
    return function  # type: ignore[no-any-return]


def _now() -> float:
    return clock.now()


@dataclass(eq=False)
class _Request:
    """Data of one caller, and the future of their outputs.

    Attributes:
        x: the data as they were given.
        leaves: arrays of equally many rows; None if x is something else.
        kind: equal for requests that fit into one batch.
        rows: of each array.
    """

    x: Any
    leaves: list[Array] | None
    kind: Any
    rows: int
    future: Future[Any] = field(default_factory=Future)
    came: float = field(default_factory=_now)


def _request(x: Any) -> _Request:
    if isinstance(x, Mapping):
        x, parts, form = dict(x), list(x.values()), tuple(x)
    elif isinstance(x, (list, tuple)) and x and all(isinstance(each, np.ndarray) for each in x):
        parts, form = list(x), (len(x),)
    else:
        parts, form = [x], ()
    if not all(isinstance(each, (np.ndarray, list, tuple)) for each in parts):
        return _Request(x, None, object(), 1)
    leaves = [np.asarray(each) for each in parts]
    counts = {each.shape[:1] for each in leaves}
    if len(counts) != 1 or counts in ({()}, {(0,)}):
        return _Request(x, None, object(), 1)
    kind = (form, *((each.shape[1:], each.dtype) for each in leaves))
    return _Request(x, leaves, kind, counts.pop()[0])


class _Queue:
    """Queue of waiting requests, and the thread that answers them; arguments as of `Batcher`."""

    def __init__(
        self, function: Callable[[Any], Any], max_rows: int, wait: float, max_waiting: int
    ) -> None:
        self._function = function
        self._max_rows, self._wait, self._max_waiting = max_rows, wait, max_waiting
        self.closed = False
        self.requests = self.rows = self.batches = 0
        self.renew()
        _queues.add(self)

    def renew(self) -> None:
        """Reset to no requests and no thread, as in a forked child."""
        self.waiting: deque[_Request] = deque()
        self._changed = threading.Condition()
        self._worker: threading.Thread | None = None

    def put(self, request: _Request) -> Future[Any]:
        """Add a request; see `Batcher.submit`."""
        with self._changed:
            if self.closed:
                raise RuntimeError("Batcher: it is closed")
            if self._worker is threading.current_thread():
                raise RuntimeError("Batcher: a function must not ask the Batcher that calls it")
            if len(self.waiting) >= self._max_waiting:
                self.waiting = deque(each for each in self.waiting if not each.future.cancelled())
            if len(self.waiting) >= self._max_waiting:
                raise queue.Full(f"Batcher: {self._max_waiting} requests wait already")
            if self._worker is None:
                self._worker = threading.Thread(target=self._work, name="cdl: batches", daemon=True)
                self._worker.start()
            self.waiting.append(request)
            self._changed.notify_all()
        return request.future

    def end(self) -> None:
        """Refuse new requests from now on."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()

    def join(self, timeout: float | None) -> None:
        """Wait until all requests are answered."""
        worker = self._worker
        if worker is not None and worker is not threading.current_thread():
            worker.join(timeout)

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self.waiting and not self.closed:
                    self._changed.wait()
                if not self.waiting:
                    return
                batch = self._gathered()
            self._answer(batch)
            del batch  # whoever asked may want the memory back

    def _gathered(self) -> list[_Request]:
        """Requests of the next batch, once they are there."""
        first = self.waiting[0]
        while True:
            batch: list[_Request] = []
            rows = 0
            for each in self.waiting:
                if each.kind == first.kind and (not batch or rows + each.rows <= self._max_rows):
                    batch.append(each)
                    rows += each.rows
            left = first.came + self._wait - clock.now()
            if rows >= self._max_rows or left <= 0 or self.closed or first.leaves is None:
                break
            self._changed.wait(left)
        taken = set(map(id, batch))
        self.waiting = deque(each for each in self.waiting if id(each) not in taken)
        return batch

    def _answer(self, batch: list[_Request]) -> None:
        """Set each request's result, its rows of the outputs or its error."""
        batch = [each for each in batch if each.future.set_running_or_notify_cancel()]
        if not batch:
            return
        try:
            parts = self._outputs(batch)
        except BaseException as error:  # each waiter has a right to it, whatever it is
            if len(batch) > 1:
                for each in batch:
                    self._answer_alone(each)
            else:
                self._count(batch)
                batch[0].future.set_exception(error)
            return
        self._count(batch)
        for each, part in zip(batch, parts, strict=True):
            each.future.set_result(part)

    def _answer_alone(self, request: _Request) -> None:
        self._count([request])
        try:
            (part,) = self._outputs([request])
        except BaseException as error:
            request.future.set_exception(error)
        else:
            request.future.set_result(part)

    def _count(self, batch: list[_Request]) -> None:
        self.batches += 1
        self.requests += len(batch)
        self.rows += sum(each.rows for each in batch)

    def _outputs(self, batch: list[_Request]) -> list[Any]:
        """Outputs of each request."""
        first = batch[0]
        if len(batch) == 1:
            return [self._function(first.x)]
        arrays = zip(*(each.leaves or () for each in batch), strict=True)
        joined: Any = [np.concatenate(parts) for parts in arrays]
        form = first.kind[0]
        if isinstance(first.x, dict):
            joined = dict(zip(form, joined, strict=True))
        elif not form:
            (joined,) = joined
        outputs = self._function(joined)
        rows = sum(each.rows for each in batch)
        for each in tree.flatten(outputs):
            if len(each) != rows:
                raise ValueError(f"Batcher: a batch of {rows} rows has outputs of {len(each)}")
        parts, start = [], 0
        for request in batch:
            end = start + request.rows
            parts.append(tree.map_structure(_Rows(start, end), outputs))
            start = end
        return parts


@dataclass
class _Rows:
    """Copier of rows of an array, so that no caller shares memory with another."""

    start: int
    end: int

    def __call__(self, array: Any) -> Array:
        return np.array(array[self.start : self.end])


_queues: weakref.WeakSet[_Queue] = weakref.WeakSet()


def _renew() -> None:
    for each in list(_queues):
        each.renew()


os.register_at_fork(after_in_child=_renew)
