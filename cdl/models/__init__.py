"""__init__.py - models: layers put together, trained and used."""

from cdl.models.many import train_many
from cdl.models.model import Model
from cdl.models.sequential import Sequential

__all__ = ["Model", "Sequential", "train_many"]
