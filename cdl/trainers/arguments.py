"""Checks of plain arguments of fit, evaluate and predict: counts, switches, splits."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from cdl import config
from cdl._common.errors import warn
from cdl._common.validation import check_batches
from cdl._core import attributes_set
from cdl.data import brief
from cdl.trainers.signature import TrainableModel


def whole(value: Any, name: str, at_least: int) -> int:
    """Check an int of Python or NumPy, no less than `at_least`."""
    if type(value) is int and value >= at_least:  # as nearly always
        return value
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an int, got {_shown(value)}")
    if value < at_least:
        what = "a positive int" if at_least == 1 else f"an int >= {at_least}"
        raise ValueError(f"{name} must be {what}, got {value}")
    return int(value)


def optional_whole(value: Any, name: str) -> int | None:
    """Check a positive int, or None."""
    return None if value is None else whole(value, name, 1)


def steps(value: Any, name: str) -> int | None:
    """Check a positive int, or None, limited by `config`'s setting."""
    return _limited(optional_whole(value, name), config.max_steps_per_epoch(), "steps_per_epoch")


def epochs(value: Any, name: str) -> int:
    """Check an int >= 0, limited by `config`'s setting."""
    limited = _limited(whole(value, name, 0), config.max_epochs(), "epochs")
    assert limited is not None
    return limited


def _limited(value: int | None, most: int | None, name: str) -> int | None:
    if most is None or (value is not None and value <= most):
        return value
    warn(f"Limiting {name} to {most}")
    return most


def verbosity(value: Any, name: str) -> int | str:
    """Check 'auto', 0, 1 or 2; 'auto' is 2 if `config` says that output is a log."""
    if type(value) is int and 0 <= value <= 2:
        return value
    if isinstance(value, (bool, np.bool_)):
        return int(value)
    if isinstance(value, str) and value == "auto":
        return value if config.is_interactive_logging_enabled() else 2
    if not isinstance(value, (int, np.integer)) or value not in (0, 1, 2):
        raise ValueError(f"{name} must be 'auto', 0, 1 or 2, got {_shown(value)}")
    return int(value)


def shuffling(value: Any, name: str, whole_batch: bool = False) -> bool | str:
    """Check True, False or 'batch'; False where all rows are one batch."""
    if value is True or value is False or (isinstance(value, str) and value == "batch"):
        return value if not whole_batch else False
    if isinstance(value, (bool, np.bool_, int)) and value in (0, 1):
        return bool(value) and not whole_batch
    raise ValueError(f"{name} must be True, False or 'batch', got {_shown(value)}")


def switch(value: Any, name: str) -> bool:
    """Check a bool, of Python or NumPy."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {_shown(value)}")
    return bool(value)


def split_point(split: Any, rows: int, name: str) -> int:
    """Number of rows left for training; `rows` itself if nothing is split off."""
    if type(split) is float and split == 0.0:
        return rows
    if isinstance(split, bool) or not isinstance(split, (int, float, np.floating, np.integer)):
        raise TypeError(f"{name} must be a number between 0 and 1, got {_shown(split)}")
    if not 0 <= split < 1:
        percent = f": {split:g} % is {split / 100:g}" if 1 < split < 100 else ""
        raise ValueError(f"{name} must be at least 0 and less than 1, got {split}{percent}")
    if not split:
        return rows
    kept = int(np.floor(rows * (1.0 - split)))
    if kept in (0, rows):
        raise ValueError(
            f"{name} must leave rows for training and for validation, got {split} of {rows} rows"
        )
    return kept


def validation_epochs(frequency: Any, name: str) -> int | frozenset[int]:
    """Check a period of validation, or a set of epochs, counted from 1."""
    if type(frequency) is int and frequency >= 1:
        return frequency
    if isinstance(frequency, (Sequence, set, frozenset)) and not isinstance(frequency, str):
        return frozenset(whole(epoch, f"each of {name}", 1) for epoch in frequency)
    if isinstance(frequency, (bool, np.bool_)) or not isinstance(frequency, (int, np.integer)):
        raise ValueError(f"{name} must be an int or a list of epochs, got {_shown(frequency)}")
    return whole(frequency, name, 1)


def is_due(frequency: int | frozenset[int], epoch: int) -> bool:
    """Whether `epoch`, counted from 0, is one of validation."""
    if isinstance(frequency, int):
        return (epoch + 1) % frequency == 0
    return epoch + 1 in frequency


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, (bool, float)) else brief(value)


def one_batch(optimizer: Any, batches: int | None) -> None:
    """ValueError for an optimizer that wants all samples at once, and several batches an epoch."""
    if optimizer.whole_batch and batches != 1:
        raise ValueError(
            f"fit: {type(optimizer).__name__} must have all samples in one batch an epoch, got "
            f"{batches or 'an unknown number of'} batches: leave batch_size out, and hand in arrays"
        )


def batch_of_states(
    model: TrainableModel, batch_size: int | None, samples: int, call: str
) -> int | None:
    """Batch size, also if layers that keep states or an optimizer on whole batches fix it.

    Args:
        batch_size: as the user gave it.
        samples: how many there are.
        call: for errors.

    Raises:
        ValueError: batches would have another number of samples than the states are of.
    """
    now, wanted = attributes_set(), model._states_of[1]
    if model._states_of[0] != now:
        found = (getattr(each, "_expected_batch_size", None) for each in model._flatten_layers())
        wanted = next((n for n in found if n), None)
        model._states_of = now, wanted
    if wanted is None:
        whole = call == "fit" and batch_size is None and model.optimizer is not None
        return samples if whole and model.optimizer.whole_batch else batch_size
    check_batches(call, wanted, min(batch_size or wanted, samples), samples)
    return wanted
