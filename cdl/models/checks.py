"""checks.py - from what the user handed in to plain arguments, checked Arrays, a built model.

All that can be wrong with a call is found here, before a layer is built, a weight is changed or the
core is called; so a call that fails leaves the model as it was.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl import _core, config, data, losses
from cdl.data import brief
from cdl.models.compiled import Compiled, Settled
from cdl.models.engine import Arrays

# --- arguments: counts, switches, splits ---


def whole(value: Any, name: str, at_least: int) -> int:
    """An int of Python or NumPy, no less than `at_least`."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be an int, got {_shown(value)}")
    if value < at_least:
        what = "a positive int" if at_least == 1 else f"an int of at least {at_least}"
        raise ValueError(f"{name} must be {what}, got {value}")
    return int(value)


def optional_whole(value: Any, name: str) -> int | None:
    """A positive int, or None."""
    return None if value is None else whole(value, name, 1)


def steps(value: Any, name: str) -> int | None:
    """A positive int, or None; 0 means None, as in Keras. Limited by `config`'s setting."""
    given = whole(value, name, 0) or None if value is not None else None
    return _limited(given, config.max_steps_per_epoch(), "steps_per_epoch")


def epochs(value: Any, name: str) -> int:
    """An int of at least 0, limited by `config`'s setting."""
    limited = _limited(whole(value, name, 0), config.max_epochs(), "epochs")
    assert limited is not None
    return limited


def _limited(value: int | None, most: int | None, name: str) -> int | None:
    if most is None or (value is not None and value <= most):
        return value
    warnings.warn(f"Limiting {name} to {most}", stacklevel=5)
    return most


def verbosity(value: Any, name: str) -> int | str:
    """'auto', 0, 1 or 2; 'auto' is 2 if `config` says that output is a log."""
    if isinstance(value, (bool, np.bool_)):
        return int(value)
    if isinstance(value, str) and value == "auto":
        return value if config.is_interactive_logging_enabled() else 2
    if not isinstance(value, (int, np.integer)) or value not in (0, 1, 2):
        raise ValueError(f"{name} must be 'auto', 0, 1 or 2, got {_shown(value)}")
    return int(value)


def shuffling(value: Any, name: str) -> bool | str:
    """True, False or 'batch'."""
    if isinstance(value, str) and value == "batch":
        return value
    if isinstance(value, (bool, np.bool_, int)) and value in (0, 1):
        return bool(value)
    raise ValueError(f"{name} must be True, False or 'batch', got {_shown(value)}")


def switch(value: Any, name: str) -> bool:
    """True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {_shown(value)}")
    return bool(value)


def split_point(split: Any, rows: int, name: str) -> int:
    """Rows that are left for training; `rows` itself if nothing is split off."""
    if isinstance(split, bool) or not isinstance(split, (int, float, np.floating, np.integer)):
        raise TypeError(f"{name} must be a number from 0 to 1, got {_shown(split)}")
    if not 0 <= split < 1:
        raise ValueError(f"{name} must be at least 0 and less than 1, got {split}")
    if not split:
        return rows
    kept = int(np.floor(rows * (1.0 - split)))
    if kept in (0, rows):
        raise ValueError(
            f"{name} must leave rows for training and for validation, got {split} of {rows} rows"
        )
    return kept


def validation_epochs(frequency: Any, name: str) -> int | frozenset[int]:
    """Every how many epochs to validate, or the set of epochs, counted from 1."""
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


def no_steps_of_its_own(cls: type) -> None:
    """Refuse a class with a step or a loss of its own, which `fit` would never call."""
    for name in ("train_step", "test_step", "predict_step", "compute_loss", "compute_metrics"):
        if hasattr(cls, name):
            raise NotImplementedError(
                f"{cls.__name__}: {name} cannot be overridden yet; give compile() a loss, metrics "
                "or an optimizer of your own"
            )


# --- data ---


def inputs(model: Any, x: Any, call: str, batch: int = 32) -> NDArray[Any]:
    """x alone, for predict; builds the model if it is not."""
    array = data.as_numeric(_single(x), f"{call}: x")
    rows = data.same_rows({"x": array}, call)
    model._check_has_layers()
    if model.built:
        return data.fit_input(array, model.input_shape[1:], f"{call}: x")
    model.build((min(rows, batch), *array.shape[1:]))
    return array


def training_data(
    model: Any,
    compiled: Compiled,
    x: Any,
    y: Any,
    sample_weight: Any,
    class_weight: Any,
    call: str,
    batch: int | None = None,
) -> Arrays:
    """x, y and weights for training or evaluation; builds the model if it is not.

    Args:
        model: the model.
        compiled: what it was compiled with; loss and metrics are settled here.
        x: samples.
        y: targets.
        sample_weight: a weight for each row or each of its losses, or None.
        class_weight: {class: weight}, or None.
        call: how errors call the place, such as "fit".
        batch: rows of a batch, for the shape of a model that the data build.
    """
    if sample_weight is not None and class_weight is not None:
        raise ValueError(
            f"{call}: sample_weight and class_weight must not both be given: multiply them yourself"
        )
    x = data.as_numeric(_single(x), f"{call}: x")
    y = None if y is None else data.as_numeric(_single(y), f"{call}: y")
    rows = data.same_rows({"x": x, "y": y}, call)
    weight = None
    if sample_weight is not None:
        weight = data.of_samples(sample_weight, rows, f"{call}: sample_weight")

    model._check_has_layers()
    if model.built:
        x = data.fit_input(x, model.input_shape[1:], f"{call}: x")
        output_shape = model.output_shape
    else:
        output_shape = model.compute_output_shape(x.shape)
    settled = compiled.settle((None, *y.shape[1:]) if y is not None else (None,), output_shape)
    y = targets(y, settled, output_shape[1:], call)
    if weight is not None:
        weight = _fit_weights(weight, settled, output_shape[1:], f"{call}: sample_weight")
    if class_weight is not None:
        if y is None:
            raise ValueError(f"{call}: y must be given for class_weight")
        weight = data.of_classes(class_weight, y, f"{call}: class_weight")

    if not model.built:
        model.build((min(batch or rows, rows), *x.shape[1:]))
    compiled.settled = settled
    return Arrays(x, y, weight)


def _fit_weights(
    weight: NDArray[Any], settled: Settled, output: tuple[int, ...], name: str
) -> NDArray[Any]:
    """Sample weights in the shape that the core's loss and weighted metrics take; ValueError."""
    lines = [output[:-1] for each in settled.metrics if each.weighted]
    if settled.loss is not None and losses.is_compiled(settled.loss):
        lines.append(settled.loss.lines(output))
    for shape in lines:
        weight = data.of_lines(weight, shape, name)
    return weight


def targets(
    y: NDArray[Any] | None, settled: Settled, output: tuple[int, ...], call: str
) -> NDArray[Any] | None:
    """y checked against all that reads it."""
    if y is None:
        if settled.readers:
            raise ValueError(f"{call}: y must be given for the {settled.readers[0][0]}, got None")
        return None
    checked = False
    ignored = getattr(settled.loss, "ignore_class", None)
    for why, wants in settled.readers:
        if wants == "values":
            y = data.fit_values(y, output, f"{call}: y", why)
        elif wants == "classes":
            y = data.fit_classes(y, output, f"{call}: y", why)
            if not checked:
                check_classes(y, output[-1], f"{call}: y", why, ignored)
                checked = True
        elif wants == "labels":
            if y.ndim != 2:
                raise ValueError(
                    f"{call}: y must have shape (n, labels), class numbers padded by 0, "
                    f"for the {why}, got {y.shape}"
                )
            check_classes(y, output[-1], f"{call}: y", why)
    return y


def check_classes(
    y: NDArray[Any], classes: int, name: str, why: str, ignored: int | None = None
) -> None:
    """Raise ValueError for the first label that is no class number, nor the one to be ignored."""
    bad = _core.check_classes(y, classes)
    if bad >= 0 and ignored is not None:
        bad = _core.check_classes(np.where(y == ignored, 0, y), classes)
    if bad >= 0:
        row = bad // max(1, y[:1].size)
        label = y.flat[bad]
        raise ValueError(
            f"{name} must hold class numbers from 0 to {classes - 1} for the {why}, "
            f"got {label} in row {row}"
        )


def split(arrays: Arrays, point: int) -> tuple[Arrays, Arrays | None]:
    """The rows before `point` for training, and the others, if any, for validation."""
    rows = len(arrays.x)
    if point == rows:
        return arrays, None
    return arrays.rows(0, point), arrays.rows(point, rows)


def _single(value: Any) -> Any:
    """The one array out of a list of one array, as Keras takes a list for several inputs."""
    if isinstance(value, (list, tuple)) and len(value) == 1 and hasattr(value[0], "shape"):
        inner = value[0]
        if len(inner.shape) > 1:
            return inner
    return value


def like_first(arrays: Arrays, first: Arrays, name: str, number: int) -> Arrays:
    """A batch of a stream, checked to have the same parts as the first one had."""
    for part in ("y", "weight"):
        here, there = getattr(arrays, part), getattr(first, part)
        if (here is None) != (there is None):
            raise ValueError(
                f"{name} must yield batches of the same parts, got batch {number} "
                f"{'without' if here is None else 'with'} {part}, unlike the first"
            )
    if arrays.y is not None and first.y is not None and arrays.y.shape[1:] != first.y.shape[1:]:
        raise ValueError(
            f"{name} must yield batches of one shape, got y of shape {arrays.y.shape} in batch "
            f"{number} and {first.y.shape} in the first"
        )
    return arrays
