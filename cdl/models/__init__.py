"""__init__.py - models: layers put together, trained and used."""

from cdl.models.model import Model
from cdl.models.sequential import Sequential

__all__ = ["Model", "Sequential"]
