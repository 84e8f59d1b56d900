"""__init__.py - models that leave: one C99 file without dependencies, or ONNX."""

from cdl._public import publish
from cdl.export.artifacts import export_model

__all__ = ["export_model"]

publish(globals())
