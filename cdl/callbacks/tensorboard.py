"""TensorBoard: logs of a training as event files for TensorBoard."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cdl._common import clock
from cdl._common.naming import FreeNames
from cdl._common.optional_imports import needed
from cdl._common.validation import count, expected, flag
from cdl.callbacks.callback import Callback, Logs
from cdl.callbacks.counting import BatchCounter, frequency
from cdl.callbacks.rates import rates_of, steps_of
from cdl.callbacks.weight_images import as_images, projector_config
from cdl.utils.drawing import layers_with_parents

if TYPE_CHECKING:
    from cdl.models.model import Model


class TensorBoard(Callback):
    """Write losses, metrics, weights and the graph for TensorBoard, by `tensorboardX`.

    In `log_dir/train` and `log_dir/validation`: `epoch_NAME` of each epoch, `batch_NAME` where
    batches are asked for, `evaluation_NAME_vs_iterations` of each evaluation; the distribution of
    each weight as `PATH/histogram`; the summary of the model and its config as texts.
    `tensorboard --logdir LOG_DIR` shows them. It needs the extra `tensorboard`.

    Args:
        log_dir: a folder.
        histogram_freq: every how many epochs the distributions of weights are written; 0: never.
        write_graph: whether the model is written: its graph of layers, its summary, its config.
        write_images: whether weights are written as pictures, too, as `PATH/image`, whenever their
            distributions are; numbers from 0 to 1 are grey. It needs Pillow.
        write_steps_per_second: whether the speed is written, as `epoch_steps_per_second` and, if
            batches are asked for, `batch_steps_per_second`.
        update_freq: "epoch"; or "batch", or after how many batches, for `batch_NAME` too.
        profile_batch: not supported.
        embeddings_freq: every how many epochs `train/keras_embedding.ckpt-EPOCH.weights.h5` is
            written, which `projector_config.pbtxt` names; 0: never.
        embeddings_metadata: the file with the names of rows, or a dict of them by layer.

    Raises:
        ValueError: an argument with a wrong value, or that is not supported.
        ImportError: in `fit`, if `tensorboardX` is not there.
    """

    writes = True
    _writes_to = "log_dir"
    _of_one_fit = True

    def __init__(
        self,
        log_dir: str | os.PathLike[str] = "logs",
        histogram_freq: int = 0,
        write_graph: bool = True,
        write_images: bool = False,
        write_steps_per_second: bool = False,
        update_freq: str | int = "epoch",
        profile_batch: Any = 0,
        embeddings_freq: int = 0,
        embeddings_metadata: Any = None,
    ) -> None:
        super().__init__()
        owner = "TensorBoard"
        if not isinstance(log_dir, (str, os.PathLike)):
            raise TypeError(f"{owner}: log_dir must be a path, got {log_dir!r}")
        if profile_batch != 0:
            raise ValueError(f"{owner}: profile_batch must be 0, got {profile_batch!r}")
        self.write_images = flag(owner, "write_images", write_images)
        self.embeddings_freq = count(owner, "embeddings_freq", embeddings_freq)
        self.embeddings_metadata = embeddings_metadata
        self.log_dir = os.fspath(log_dir)
        self.histogram_freq = count(owner, "histogram_freq", histogram_freq)
        self.write_graph = flag(owner, "write_graph", write_graph)
        self.write_steps_per_second = flag(owner, "write_steps_per_second", write_steps_per_second)
        if isinstance(update_freq, str) and update_freq not in ("epoch", "batch"):
            raise expected(
                owner, "update_freq", "'epoch', 'batch' or a number of batches", update_freq
            )
        update_freq = 1 if update_freq == "batch" else update_freq
        self.update_freq = frequency(owner, "update_freq", update_freq)
        self._counter = BatchCounter(self.update_freq)
        self._writers: dict[str, Any] = {}
        self._batches = 0  # of all epochs
        self._last_batch = -1
        self._epoch_begun = self._batch_begun = 0.0
        self._batches_before = 0
        self._training = False

    def idle_hooks(self) -> set[Callable[..., Any]]:
        """Batch hooks, which are idle if epochs are written."""
        return {TensorBoard.on_train_batch_end} if self.update_freq == "epoch" else set()

    @property
    def _folder(self) -> Path:
        return Path(self._placed(self.log_dir))

    def _writer(self, which: str) -> Any:
        """Writer of "train" or "validation", created on first use."""
        if which not in self._writers:
            package = needed("tensorboardX", "tensorboard", "TensorBoard")
            self._writers[which] = package.SummaryWriter(str(self._folder / which))
        return self._writers[which]

    def _write(self, which: str, values: dict[str, Any], step: int) -> None:
        for name, value in values.items():
            if np.ndim(value) == 0:
                self._writer(which).add_scalar(name, float(value), step)

    def on_train_begin(self, logs: Logs = None) -> None:
        """Open the files, and write the model."""
        self._training = True
        self._batches, self._last_batch = 0, -1
        self._counter = BatchCounter(self.update_freq)
        if self.embeddings_freq:
            config = projector_config(self.model, self.embeddings_metadata)
            os.makedirs(self._folder, exist_ok=True)
            (self._folder / "projector_config.pbtxt").write_text(config, encoding="utf-8")
        writer = self._writer("train")
        if self.write_graph:
            lines: list[str] = []
            self.model.summary(line_length=100, print_fn=lines.append)
            table = "".join(f"    {line}\n" for line in "".join(lines).splitlines())
            writer.add_text("model/summary", table, 0)
            writer.add_text("model/config", f"    {self.model.to_json()}\n", 0)
            _write_graph(writer, self.model)

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Store the start time of the epoch."""
        self._epoch_begun = self._batch_begun = clock.now()
        self._batches_before = self._steps()

    def _steps(self) -> int:
        return steps_of(self.model.optimizer)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Write the values so far after every `update_freq` batches."""
        self._batches += batch + 1 if batch <= self._last_batch else batch - self._last_batch
        self._last_batch = batch
        if not self._counter.is_due(batch):
            return
        values = {f"batch_{name}": value for name, value in (logs or {}).items()}
        now = clock.now()
        if self.write_steps_per_second:
            every = self.update_freq if isinstance(self.update_freq, int) else 1
            values["batch_steps_per_second"] = every / max(now - self._batch_begun, 1e-9)
        self._batch_begun = now
        self._write("train", values, self._batches - 1)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Write the epoch's values, and histograms of weights every `histogram_freq` epochs."""
        logs = logs or {}
        train = {f"epoch_{k}": v for k, v in logs.items() if not k.startswith("val_")}
        rates = rates_of(self.model.optimizer)
        train.update({f"epoch_{name}": rate for name, rate in rates.items()})
        if self.write_steps_per_second:
            steps = self._steps() - self._batches_before
            seconds = max(clock.now() - self._epoch_begun, 1e-9)
            train["epoch_steps_per_second"] = steps / seconds
        self._write("train", train, epoch)
        held_out = {f"epoch_{k[4:]}": v for k, v in logs.items() if k.startswith("val_")}
        if held_out:
            self._write("validation", held_out, epoch)
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            names = FreeNames()
            for weight in self.model.weights:
                path = names.take(weight.path)
                values = np.asarray(weight).reshape(-1)
                if values.size and np.isfinite(values).all():
                    self._writer("train").add_histogram(f"{path}/histogram", values, epoch)
                image = as_images(np.asarray(weight)) if self.write_images else None
                if image is not None:
                    tag = f"{path}/image"
                    self._writer("train").add_images(tag, image, epoch, dataformats="NHWC")
        if self.embeddings_freq and epoch % self.embeddings_freq == 0:
            name = f"keras_embedding.ckpt-{epoch}.weights.h5"
            os.makedirs(self._folder / "train", exist_ok=True)
            self.model.save_weights(self._folder / "train" / name)
        self._flush()

    def on_test_end(self, logs: Logs = None) -> None:
        """Write the values of an evaluation at the training step."""
        optimizer = getattr(self.model, "optimizer", None)
        if optimizer is not None and int(optimizer.iterations) and logs:
            values = {f"evaluation_{name}_vs_iterations": value for name, value in logs.items()}
            self._write("validation", values, int(optimizer.iterations))
        if not self._training:
            self._close()

    def on_train_end(self, logs: Logs = None) -> None:
        self._training = False
        self._close()

    def _let_go(self, trained: bool) -> None:
        """Close the files after an error, too."""
        if trained:
            self._training = False
        if not self._training:
            self._close()

    def _flush(self) -> None:
        for writer in self._writers.values():
            writer.flush()

    def _close(self) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers = {}

    def __getstate__(self) -> dict[str, Any]:
        """Attributes to pickle and copy: all but the open files."""
        return {**self.__dict__, "_writers": {}}


def _write_graph(writer: Any, model: Model) -> None:
    """Write the layers of a model and their connections for TensorBoard's page of graphs."""
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.graph_pb2 import GraphDef

    graph = GraphDef()
    for layer, above in layers_with_parents(model):
        kind = getattr(getattr(layer, "row", None), "known_as", type(layer).__name__)
        node = graph.node.add(name=str(layer.name), op=kind)
        node.input.extend(dict.fromkeys(str(each.name) for each in above))
    writer.file_writer.add_event(Event(graph_def=graph.SerializeToString()))
