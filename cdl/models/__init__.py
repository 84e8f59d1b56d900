"""__init__.py - models: layers put together, trained and used."""

from cdl._public import publish
from cdl.models.cloning import clone_model
from cdl.models.configured import model_from_json
from cdl.models.functional import Functional
from cdl.models.many import train_many
from cdl.models.model import Model
from cdl.models.sequential import Sequential
from cdl.saving import load_model, save_model

__all__ = [
    "Functional",
    "Model",
    "Sequential",
    "clone_model",
    "load_model",
    "model_from_json",
    "save_model",
    "train_many",
]

publish(globals())
