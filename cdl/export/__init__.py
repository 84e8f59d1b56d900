"""Export of models: one C99 file without dependencies, or ONNX."""

from cdl._common.public_names import publish
from cdl.export.artifacts import export_model

__all__ = ["export_model"]

publish(globals())
