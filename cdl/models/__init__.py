"""Models: layers connected, trained and used."""

from cdl._common.public_names import publish
from cdl.models.cloning import clone_model
from cdl.models.functional import Functional
from cdl.models.model import Model
from cdl.models.replicas import Replicas, replicate
from cdl.models.sequential import Sequential
from cdl.models.serialization import model_from_json
from cdl.saving import load_model, save_model
from cdl.trainers.many.train_many import train_many

__all__ = [
    "Functional",
    "Model",
    "Replicas",
    "Sequential",
    "clone_model",
    "load_model",
    "model_from_json",
    "replicate",
    "save_model",
    "train_many",
]

publish(globals())
