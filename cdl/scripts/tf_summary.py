"""`tf.summary`: scalars, texts and histograms for TensorBoard; requires tensorboard."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from cdl._common.optional_imports import needed


class _State(threading.local):
    """The default writer and step of a thread; None if not set."""

    writer: Writer | None = None
    step: int | None = None


_state = _State()


class Writer:
    """Writes summaries to an event file.

    Args:
        logdir: the folder of the file.

    Raises:
        ImportError: tensorboard is not installed.
    """

    def __init__(self, logdir: Any) -> None:
        module = needed("tensorboard.summary.writer.event_file_writer", "tensorboard", "tf.summary")
        self._file = module.EventFileWriter(str(logdir))

    def add(self, summary: Any, step: int) -> None:
        """Write a Summary proto for a step."""
        protos = needed("tensorboard.compat.proto.event_pb2", "tensorboard", "tf.summary")
        event = protos.Event(wall_time=time.time(), step=step, summary=summary)
        self._file.add_event(event)

    @contextlib.contextmanager
    def as_default(self, step: int | None = None) -> Iterator[Writer]:
        """A context in which this is the default writer; flushes at the end."""
        before = _state.writer, _state.step
        _state.writer, _state.step = self, before[1] if step is None else int(step)
        try:
            yield self
        finally:
            self.flush()
            _state.writer, _state.step = before

    def set_as_default(self, step: int | None = None) -> None:
        """Make this the default writer of the thread."""
        _state.writer = self
        if step is not None:
            _state.step = int(step)

    def init(self) -> None:
        """Do nothing: the file is open already."""

    def flush(self) -> None:
        """Write buffered summaries to the file."""
        self._file.flush()

    def close(self) -> None:
        """Close the event file."""
        self._file.close()


def _create_file_writer(logdir: Any, *args: Any, **options: Any) -> Writer:
    """`tf.summary.create_file_writer`: a writer to a new event file in `logdir`."""
    return Writer(logdir)


def _added(make: Callable[[], Any], step: Any) -> bool:
    """Write a summary to the default writer; False without one, ValueError without a step."""
    if _state.writer is None:
        return False
    step = _state.step if step is None else step
    if step is None:
        raise ValueError(
            "tf.summary: step must be given, or set by tf.summary.experimental.set_step"
        )
    _state.writer.add(make(), int(step))
    return True


def _of(kind: str) -> Callable[..., bool]:
    def call(name: str, data: Any, step: Any = None, *args: Any, **options: Any) -> bool:
        """Write a summary of one kind; False without a default writer."""

        def make() -> Any:
            module = needed(f"tensorboard.plugins.{kind}.summary_v2", "tensorboard", "tf.summary")
            value = data if isinstance(data, str) else np.asarray(data)
            return getattr(module, f"{kind}_pb")(name, value, *args, **options)

        return _added(make, step)

    return call


def _write(tag: str, tensor: Any, step: Any = None, metadata: Any = None, name: Any = None) -> bool:
    """`tf.summary.write`: write a tensor for a plugin of TensorBoard."""

    def make() -> Any:
        protos = needed("tensorboard.compat.proto.summary_pb2", "tensorboard", "tf.summary")
        made = needed("tensorboard.util.tensor_util", "tensorboard", "tf.summary")
        summary = protos.Summary()
        proto = made.make_tensor_proto(np.asarray(tensor))
        summary.value.add(tag=tag, tensor=proto, metadata=metadata)
        return summary

    return _added(make, step)


def _write_raw_pb(tensor: Any, step: Any = None, name: Any = None) -> bool:
    """`tf.summary.experimental.write_raw_pb`: write a serialized Summary proto."""

    def make() -> Any:
        protos = needed("tensorboard.compat.proto.summary_pb2", "tensorboard", "tf.summary")
        content = tensor.item() if isinstance(tensor, np.ndarray) else tensor
        return protos.Summary.FromString(content)

    return _added(make, step)


def _set_step(step: Any) -> None:
    """`tf.summary.experimental.set_step`: set the default step of the thread."""
    _state.step = None if step is None else int(step)


@contextlib.contextmanager
def _scope(name: Any, default_name: str = "summary", values: Any = None) -> Iterator[Any]:
    """`tf.summary.experimental.summary_scope`: a context that gives (tag, scope)."""
    yield (name or default_name), (name or default_name)


def _flush(writer: Writer | None = None, name: Any = None) -> None:
    """`tf.summary.flush`: flush a writer, by default the thread's."""
    writer = writer or _state.writer
    if writer is not None:
        writer.flush()


SUMMARY: dict[str, Any] = {
    "SummaryWriter": Writer,
    "create_file_writer": _create_file_writer,
    "flush": _flush,
    "summary_scope": _scope,
    "histogram": _of("histogram"),
    "scalar": _of("scalar"),
    "text": _of("text"),
    "write": _write,
}
SUMMARY_EXPERIMENTAL: dict[str, Any] = {
    "get_step": lambda: _state.step,
    "set_step": _set_step,
    "summary_scope": _scope,
    "write_raw_pb": _write_raw_pb,
}
