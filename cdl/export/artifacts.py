"""Formats of `Model.export` and their files."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from cdl import data
from cdl._common.errors import warn
from cdl._ir.program import Program
from cdl._tracing.joining import SAMPLES
from cdl._tracing.keras_tensor import knowing_samples
from cdl.distribution import ranks
from cdl.export import numbers, to_c, to_onnx
from cdl.saving.atomic import checked_path, replacing
from cdl.saving.keras_file import EXPORTED
from cdl.trainers.custom.coupled import batch_of
from cdl.trainers.lowering import lower_inference
from cdl.trainers.signature import TrainableModel
from cdl.trainers.sizes import Rows

_log = logging.getLogger("cdl")


def export_model(
    model: TrainableModel,
    filepath: Any,
    format: str | None = None,
    verbose: bool | None = None,
    input_signature: Any = None,
    **kwargs: Any,
) -> None:
    """Export the computation of `predict` for programs without cdl: C99 or ONNX.

    Args:
        model: a built model.
        filepath: the file; for "c" it ends in `.c`, and the header is written beside it.
        format: "c": one file of C99 with the weights and a function `NAME_predict`, without
            dependencies and allocations, and its header; NAME is that of the file. "onnx": an ONNX
            model for batches of any size, by the package of the extra `onnx`. None tells it by the
            suffix.
        verbose: whether to log what was written, as None also does.
        input_signature: the sizes of open axes: for each input its shape or an InputSpec, such as
            `[InputSpec(shape=(None, 100))]`, nested as the inputs or flat. "c" needs them; "onnx"
            is else for all sizes, each with a name, unless an op of the model needs one.
        kwargs: "onnx" takes `opset_version`, of ONNX's operators.

    Raises:
        ValueError: another format, a model that is not built, one with a part that the format
            cannot express, which is named, or an axis whose size is not known.
        OSError: a file cannot be written.
    """
    path = checked_path(filepath, "export")
    if not ranks.is_first():
        return
    if format is None:
        format = EXPORTED.get(path.suffix.lower())
    if format not in EXPORTED.values():
        raise ValueError(
            f"export: format must be 'c' or 'onnx', got {format!r} for {path.name!r}; save(...) "
            "writes .keras files"
        )
    if format != EXPORTED.get(path.suffix.lower(), format):
        raise ValueError(
            f"export: filepath must end in .{format} for format {format!r}, got {path.name!r}"
        )
    if not model.built:
        raise ValueError(f"export: {model.name!r} must be built first: call build(input_shape)")
    if model._graph_of_model.has_host_part():
        names = [info.name for info in model._graph_of_model.input_infos()]
        warn(
            f"export: layers of texts and keys run in Python: what is written begins behind them, "
            f"with what {names} give"
        )
    shapes = _shapes(model, input_signature)
    if format == "c":
        rows = _known(model, shapes)
        program = _lowered(model, rows)
        if path.suffix != ".c":
            raise ValueError(f"export: filepath must end in .c for format 'c', got {path.name!r}")
        if kwargs:
            raise ValueError(f"export: arguments not recognized for format 'c': {kwargs}")
        source, header = to_c.source_of(program, path.stem, model, rows)
        with replacing(path.with_suffix(".h")) as beside, replacing(path) as file:
            beside.write(header.encode())
            file.write(source.encode())
    else:
        if any(None in shape[1:] for shape in shapes):
            open_rows = [shape[1:] for shape in shapes]
            lowered = partial(_lowered, model)
            data = to_onnx.model_of_open(lowered, model, open_rows, **kwargs)
        else:
            rows = _known(model, shapes)
            data = to_onnx.model_of(_lowered(model, rows), model, rows=rows, **kwargs)
        with replacing(path) as file:
            file.write(data)
    if verbose is None or verbose:
        _log.info("%s written to %s", model.name, path)


def _lowered(model: TrainableModel, rows: Rows) -> Program:
    lower = partial(lower_inference, model, rows=rows, merged=[], unrolls=True)
    try:
        return numbers.unfolded(lower())
    except (TypeError, ValueError) as error:
        if not _compares_samples(lower, model):
            raise
        raise ValueError(
            f"export: {model.name!r} must compute each sample by itself, as files do, but it "
            f"compares those of a batch: {error}"
        ) from error


def _compares_samples(lower: Callable[[], Program], model: TrainableModel) -> bool:
    """Whether a model can be lowered for batches of a known size."""
    try:
        with knowing_samples(batch_of(model, SAMPLES)):
            lower()
    except (TypeError, ValueError):
        return False
    return True


def _shapes(model: TrainableModel, signature: Any) -> list[tuple[int | None, ...]]:
    """Shape of each input, by the model and the `input_signature`; ValueError."""
    given = [tuple(info.shape) for info in model._graph_of_model.input_infos()]
    if signature is not None:
        wanted, given = given, _shapes_in(signature)
        pairs = zip(given, wanted, strict=False)
        if len(given) != len(wanted) or not all(data.fits(a[1:], b[1:]) for a, b in pairs):
            raise ValueError(
                f"export: input_signature must have shapes that fit the inputs, {wanted}, got "
                f"{given}"
            )
    return given


def _known(model: TrainableModel, shapes: list[tuple[int | None, ...]]) -> Rows:
    """Sample shape of each input; ValueError for one with an open axis."""
    for info, shape in zip(model._graph_of_model.input_infos(), shapes, strict=True):
        for axis, n in enumerate(shape[1:], 1):
            if n is None:
                sizes = ", ".join("None" if not i else str(n or 100) for i, n in enumerate(shape))
                raise ValueError(
                    f"export: axis {axis} of input {info.name!r} must have a size that is known, "
                    f"got shape {shape}: give the size, as by "
                    f"input_signature=[InputSpec(shape=({sizes}))]"
                )
    return tuple(tuple(n for n in shape[1:] if n is not None) for shape in shapes)


def _shapes_in(signature: Any) -> list[tuple[int | None, ...]]:
    """Shapes in a structure of shapes, or of objects with one, in the order of its leaves."""
    if isinstance(signature, dict):
        signature = [signature[key] for key in sorted(signature)]
    if isinstance(signature, (list, tuple)):
        if all(n is None or isinstance(n, int) for n in signature):
            return [tuple(signature)]
        return [shape for part in signature for shape in _shapes_in(part)]
    return [tuple(getattr(signature, "shape", None) or ())]
