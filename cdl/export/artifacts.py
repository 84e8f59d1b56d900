"""What `Model.export` writes: which formats there are, and their files."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from cdl.export import to_c, to_onnx
from cdl.saving.atomic import checked_path, replacing
from cdl.saving.keras_file import EXPORTED

if TYPE_CHECKING:
    from cdl.trainers.signature import TrainableModel

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
        input_signature: None; the model says what it takes.
        kwargs: "onnx" takes `opset_version`, of ONNX's operators.

    Raises:
        ValueError: another format, a model that is not built, or one with a part that the format
            cannot express: it is named.
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
    if input_signature is not None:
        raise ValueError("export: input_signature must be None: the model says what it takes")
    if not model.built:
        raise ValueError(f"export: {model.name!r} must be built first: call build(input_shape)")
    program = model.program()
    if format == "c":
        if path.suffix != ".c":
            raise ValueError(f"export: filepath must end in .c for format 'c', got {path.name!r}")
        if kwargs:
            raise ValueError(f"export: arguments not recognized for format 'c': {kwargs}")
        source, header = to_c.source_of(program, path.stem, model)
        with replacing(path.with_suffix(".h")) as beside, replacing(path) as file:
            beside.write(header.encode())
            file.write(source.encode())
    else:
        data = to_onnx.model_of(program, model, **kwargs)
        with replacing(path) as file:
            file.write(data)
    if verbose is None or verbose:
        _log.info("%s written to %s", model.name, path)
