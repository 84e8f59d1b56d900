"""BackupAndRestore: resume an interrupted training."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cdl._common.validation import flag
from cdl.callbacks.callback import Callback, Logs
from cdl.callbacks.counting import BatchCounter, frequency
from cdl.callbacks.rates import steps_of
from cdl.callbacks.swap_ema_weights import raw_weights
from cdl.random import set_state
from cdl.random import state as random_state


class BackupAndRestore(Callback):
    """Back up weights, optimizer and epoch number, and resume an interrupted `fit` from there.

    A `fit` that was interrupted, by an error or with its process, goes on with the epoch that was
    running when the last backup was made. The random generators go on too: after a backup of an
    epoch the weights get the very bits that they would have had, if the script makes the same model
    (with the same seeds of its layers: see `set_random_seed`). When a `fit` comes to its end the
    backup is removed.

    Other callbacks begin anew, as in Keras: `EarlyStopping` and `ModelCheckpoint` know no best
    value, and `ReduceLROnPlateau` waits from the start with the learning rate of the backup.

    Args:
        backup_dir: a folder for this purpose only.
        save_freq: "epoch", or after how many batches.
        double_checkpoint: whether to keep the backup before the last one too, and to use it if the
            last one cannot be read.
        delete_checkpoint: whether to remove the folder when a `fit` has ended.

    Raises:
        ValueError: no folder, or another `save_freq`.
        OSError: in `fit`, if a backup can be neither read nor written.
    """

    writes = True
    _writes_to = "backup_dir"
    _of_one_fit = True

    def __init__(
        self,
        backup_dir: str | os.PathLike[str],
        save_freq: str | int = "epoch",
        double_checkpoint: bool = False,
        delete_checkpoint: bool = True,
    ) -> None:
        super().__init__()
        if not backup_dir or not isinstance(backup_dir, (str, os.PathLike)):
            raise ValueError(
                f"BackupAndRestore: Empty `backup_dir` argument passed: it must be a path, "
                f"got {backup_dir!r}"
            )
        self.backup_dir = os.fspath(backup_dir)
        self.save_freq = frequency("BackupAndRestore", "save_freq", save_freq)
        self.double_checkpoint = flag("BackupAndRestore", "double_checkpoint", double_checkpoint)
        self.delete_checkpoint = flag("BackupAndRestore", "delete_checkpoint", delete_checkpoint)
        self._place_files()
        self._counter = BatchCounter(self.save_freq)
        self._current_epoch = 0
        self._last_batch_seen = 0

    def _place_files(self) -> None:
        """Set the paths of the files."""
        self._folder = self._placed(self.backup_dir)
        self._weights_path = str(Path(self._folder, "latest.weights.h5"))
        self._training_metadata_path = str(Path(self._folder, "training_metadata.json"))
        self._prev_weights_path = f"{self._weights_path}.bkp"
        self._prev_training_metadata_path = f"{self._training_metadata_path}.bkp"

    def set_params(self, params: dict[str, Any]) -> None:
        """Set the parameters of a run; the folder's path may contain the job's number."""
        super().set_params(params)
        self._place_files()

    def idle_hooks(self) -> set[Callable[..., Any]]:
        """Batch hooks, which are idle if epochs are backed up."""
        return {BackupAndRestore.on_train_batch_end} if self.save_freq == "epoch" else set()

    def on_train_begin(self, logs: Logs = None) -> None:
        """Restore the backup, if there is one."""
        self._counter = BatchCounter(self.save_freq)
        self._last_batch_seen = 0
        try:
            self._restore()
        except OSError:
            if not os.path.exists(self._prev_weights_path):
                raise
            import shutil

            for kept, path in self._pairs():
                if os.path.exists(kept):
                    shutil.copy(kept, path)
                elif os.path.exists(path):
                    os.remove(path)
            self._restore()

    def _pairs(self) -> tuple[tuple[str, str], ...]:
        """Paths of the last file but one and the last, of weights and of metadata."""
        return (
            (self._prev_weights_path, self._weights_path),
            (self._prev_training_metadata_path, self._training_metadata_path),
        )

    def _restore(self) -> None:
        model = self.model
        if not model.built:
            raise ValueError(
                "BackupAndRestore: the model must be built before fit: call build(input_shape)"
            )
        notes = (f"{self._training_metadata_path}.new", self._training_metadata_path)
        if not os.path.exists(self._weights_path) or not any(map(os.path.exists, notes)):
            return  # nothing, or what is left of a backup that was being removed
        if model.optimizer is not None:
            model.optimizer.build(model.trainable_variables)
        model.load_weights(self._weights_path)
        # A process that died between its weights and their epoch has left the epoch under `.new`.
        for path in notes:
            state = _read(path)
            newer = path.endswith(".new")
            if state is None or (newer and state.get("step") != steps_of(model.optimizer)):
                continue
            model._initial_epoch = state["epoch"]
            if state.get("random") is not None:
                set_state(state["random"])
            return

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Store the number of the epoch."""
        self._current_epoch = epoch

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Back up, if epochs are backed up."""
        self._current_epoch = epoch + 1
        self._last_batch_seen = 0
        if self.save_freq == "epoch":
            self._back_up()

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Back up after every `save_freq` batches."""
        due = self._counter.is_due(batch)
        self._last_batch_seen = batch
        if due:
            self._back_up()

    def _back_up(self) -> None:
        import shutil

        os.makedirs(self._folder, exist_ok=True)
        for kept, path in self._pairs():
            if self.double_checkpoint and os.path.exists(path):
                shutil.copy(path, kept)
        state = {
            "epoch": self._current_epoch,
            "batch": self._last_batch_seen,
            "step": steps_of(self.model.optimizer),
            # Within an epoch it would be that of an order which is not drawn again.
            "random": random_state() if self.save_freq == "epoch" else None,
        }
        temporary = f"{self._training_metadata_path}.new"
        with open(f"{temporary}.part", "w") as file:
            json.dump(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(f"{temporary}.part", temporary)
        with raw_weights(self.model):
            self.model.save_weights(self._weights_path, overwrite=True)
        os.replace(temporary, self._training_metadata_path)

    def on_train_end(self, logs: Logs = None) -> None:
        import shutil

        if self.delete_checkpoint and os.path.exists(self._folder):
            shutil.rmtree(self._folder)


def _read(path: str) -> dict[str, Any] | None:
    """Contents of a backup's metadata file; None if it does not exist, OSError if it is not one."""
    try:
        with open(path) as file:
            state = json.load(file)
        if int(state["epoch"]) >= 0:
            return dict(state, epoch=int(state["epoch"]))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise OSError(f"{path} cannot be read as the state of a training: {error}") from error
    raise OSError(f"{path} cannot be read as the state of a training: its epoch is negative")
