"""Models: layers connected, trained and used."""

from cdl._common.public_names import publish as _publish
from cdl.models.cloning import clone_model as clone_model
from cdl.models.functional import Functional as Functional
from cdl.models.model import Model as Model
from cdl.models.replicas import Replicas as Replicas
from cdl.models.replicas import replicate as replicate
from cdl.models.sequential import Sequential as Sequential
from cdl.models.serialization import model_from_json as model_from_json
from cdl.saving import load_model as load_model
from cdl.saving import save_model as save_model
from cdl.trainers.many.train_many import train_many as train_many

_publish(globals())
