"""CSVLogger: logs of each epoch as rows of a CSV file."""

import csv
import os
from collections.abc import Iterable
from typing import IO, Any

import numpy as np

from cdl._common.errors import warn
from cdl.callbacks.callback import Callback, Logs


class CSVLogger(Callback):
    """Write the logs of each epoch as a row of a CSV file, flushed after each epoch.

    Columns are `epoch` and the names of the first epoch's values, sorted. If it had no `val_...`
    ones, empty columns for them are added, for validations to come; what is missing is `NA`.

    Args:
        filename: the file.
        separator: what stands between two values: one character.
        append: whether to go on with a file that is there, and its header.

    Raises:
        TypeError: in the constructor, for what is no path or no character.
        OSError: in `fit`, if the file cannot be written.
    """

    writes = True
    _writes_to = "filename"
    _of_one_fit = True

    def __init__(
        self, filename: str | os.PathLike[str], separator: str = ",", append: bool = False
    ) -> None:
        super().__init__()
        if not isinstance(filename, (str, os.PathLike)):
            raise TypeError(f"CSVLogger: filename must be a path, got {filename!r}")
        if not isinstance(separator, str) or len(separator) != 1:
            raise TypeError(f"CSVLogger: separator must be one character, got {separator!r}")
        self.filename = os.fspath(filename)
        self.sep = separator
        self.append = append
        self.keys: list[str] | None = None
        self.append_header = True
        self.csv_file: IO[str] | None = None
        self._told = False  # that a value has no column

    def on_train_begin(self, logs: Logs = None) -> None:
        path = self._placed(self.filename)
        self._close()
        self.keys, self.append_header = None, True
        if self.append and os.path.exists(path):
            with open(path, newline="") as file:
                header = next(csv.reader(file, delimiter=self.sep), [])
            self.append_header = not header
            self.keys = header[1:] or None
        mode = "a" if self.append else "w"
        self.csv_file = open(path, mode, newline="")  # noqa: SIM115 - until the run ends

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        logs = logs or {}
        if self.csv_file is None:
            raise ValueError("CSVLogger: on_train_begin must be called before on_epoch_end")
        writer = csv.writer(self.csv_file, delimiter=self.sep)
        if self.keys is None:
            self.keys = sorted(logs)
            if not any(name.startswith("val_") for name in self.keys):
                self.keys += [f"val_{name}" for name in self.keys]
            if self.append_header:
                writer.writerow(["epoch", *self.keys])
        elif (new := sorted(set(logs) - set(self.keys))) and not self._told:
            self._told = True
            warn(f"CSVLogger: {self.filename!r} has no column for {', '.join(new)}: left out")
        writer.writerow([epoch, *(_text(logs.get(name, "NA")) for name in self.keys)])
        self.csv_file.flush()

    def on_train_end(self, logs: Logs = None) -> None:
        self._close()

    def _let_go(self, trained: bool) -> None:
        """Close the file after an error, too."""
        if trained:
            self._close()

    def _close(self) -> None:
        if self.csv_file is not None:
            self.csv_file.close()
            self.csv_file = None


def _text(value: Any) -> Any:
    """Text of a cell: one text for a value of several numbers."""
    if isinstance(value, str) or np.ndim(value) == 0 or not isinstance(value, Iterable):
        return value
    return f'"[{", ".join(map(str, value))}]"'
