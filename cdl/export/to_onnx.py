"""to_onnx.py - a program as an ONNX model."""

from typing import Any


def model_of(program: Any, model: Any, **kwargs: Any) -> bytes:
    """Not there yet.

    Raises:
        NotImplementedError: always.
    """
    raise NotImplementedError("export: format 'onnx' is not supported yet")
