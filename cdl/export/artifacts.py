"""What `Model.export` writes: which formats there are, and their files."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from cdl import data
from cdl._common.errors import warn
from cdl.export import to_c, to_onnx
from cdl.saving.atomic import checked_path, replacing
from cdl.saving.keras_file import EXPORTED
from cdl.trainers.lowering import lower_inference

if TYPE_CHECKING:
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
    """Write what a model computes in `predict` for programs without cdl.

    Args:
        model: a built model.
        filepath: the file; for "c" it ends in `.c`, and the header is written beside it.
        format: "c": one file of C99 with the weights and a function `NAME_predict`, without
            dependencies and allocations, and its header; NAME is that of the file. "onnx": an ONNX
            model for batches of any size, by the package of the extra `onnx`. None tells it by the
            suffix.
        verbose: whether to log what was written, as None also does.
        input_signature: the sizes of open axes, which an artifact needs: for each input its shape
            or an InputSpec, such as `[InputSpec(shape=(None, 100))]`, nested as the inputs or flat.
            None for a model without open axes, which says what it takes.
        kwargs: "onnx" takes `opset_version`, of ONNX's operators.

    Raises:
        ValueError: another format, a model that is not built, one with a part that the format
            cannot express, which is named, or an axis whose size is not known.
        OSError: a file cannot be written.
    """
    path = checked_path(filepath, "export")
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
    if model._has_host_part():
        names = [info.name for info in model._input_infos()]
        warn(
            f"export: layers of texts and keys run in Python: what is written begins behind them, "
            f"with what {names} give"
        )
    rows = _rows(model, input_signature)
    program = lower_inference(model, rows=rows)
    if format == "c":
        if path.suffix != ".c":
            raise ValueError(f"export: filepath must end in .c for format 'c', got {path.name!r}")
        if kwargs:
            raise ValueError(f"export: arguments not recognized for format 'c': {kwargs}")
        source, header = to_c.source_of(program, path.stem, model, rows)
        with replacing(path.with_suffix(".h")) as beside, replacing(path) as file:
            beside.write(header.encode())
            file.write(source.encode())
    else:
        data = to_onnx.model_of(program, model, rows=rows, **kwargs)
        with replacing(path) as file:
            file.write(data)
    if verbose is None or verbose:
        _log.info("%s written to %s", model.name, path)


def _rows(model: TrainableModel, signature: Any) -> Rows:
    """The shape of a sample of each input, by the model and the `input_signature`; ValueError."""
    infos = model._input_infos()
    given = [info.shape for info in infos]
    if signature is not None:
        wanted, given = given, _shapes_in(signature)
        pairs = zip(given, wanted, strict=False)
        if len(given) != len(wanted) or not all(data.fits(a[1:], b[1:]) for a, b in pairs):
            raise ValueError(
                f"export: input_signature must have shapes that fit the inputs, {wanted}, got "
                f"{given}"
            )
    for info, shape in zip(infos, given, strict=True):
        for axis, n in enumerate(shape[1:], 1):
            if n is None:
                sizes = ", ".join("None" if not i else str(n or 100) for i, n in enumerate(shape))
                raise ValueError(
                    f"export: axis {axis} of input {info.name!r} must have a size that is known, "
                    f"got shape {shape}: give the size, as by "
                    f"input_signature=[InputSpec(shape=({sizes}))]"
                )
    return tuple(tuple(n for n in shape[1:] if n is not None) for shape in given)


def _shapes_in(signature: Any) -> list[tuple[int | None, ...]]:
    """The shapes in a structure of shapes, or of what has one, in the order of its leaves."""
    if isinstance(signature, dict):
        signature = [signature[key] for key in sorted(signature)]
    if isinstance(signature, (list, tuple)):
        if all(n is None or isinstance(n, int) for n in signature):
            return [tuple(signature)]
        return [shape for part in signature for shape in _shapes_in(part)]
    return [tuple(getattr(signature, "shape", None) or ())]
