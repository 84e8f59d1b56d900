"""The public names of cdl; each module is loaded when its first name is used."""

import importlib
import sys
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cdl import activations as activations
    from cdl import applications as applications
    from cdl import backend as backend
    from cdl import callbacks as callbacks
    from cdl import compat as compat
    from cdl import config as config
    from cdl import constraints as constraints
    from cdl import datasets as datasets
    from cdl import distillation as distillation
    from cdl import distribution as distribution
    from cdl import dtype_policies as dtype_policies
    from cdl import explain as explain
    from cdl import export as export
    from cdl import initializers as initializers
    from cdl import layers as layers
    from cdl import legacy as legacy
    from cdl import losses as losses
    from cdl import metrics as metrics
    from cdl import mixed_precision as mixed_precision
    from cdl import models as models
    from cdl import ops as ops
    from cdl import optimizers as optimizers
    from cdl import preprocessing as preprocessing
    from cdl import quantizers as quantizers
    from cdl import random as random
    from cdl import regularizers as regularizers
    from cdl import saving as saving
    from cdl import serving as serving
    from cdl import sklearn as sklearn
    from cdl import tree as tree
    from cdl import utils as utils
    from cdl import visualization as visualization
    from cdl import wrappers as wrappers
    from cdl._tracing.keras_tensor import KerasTensor as KerasTensor
    from cdl._tracing.untraced import UntracedWarning as UntracedWarning
    from cdl.config import device as device
    from cdl.dtype_policies import DTypePolicy as DTypePolicy
    from cdl.dtype_policies import FloatDTypePolicy as FloatDTypePolicy
    from cdl.initializers import Initializer as Initializer
    from cdl.layers import Input as Input
    from cdl.layers import InputSpec as InputSpec
    from cdl.layers import Layer as Layer
    from cdl.losses import Loss as Loss
    from cdl.metrics import Metric as Metric
    from cdl.models import Model as Model
    from cdl.models import Sequential as Sequential
    from cdl.models import replicate as replicate
    from cdl.models import train_many as train_many
    from cdl.optimizers import Optimizer as Optimizer
    from cdl.quantizers import Quantizer as Quantizer
    from cdl.regularizers import Regularizer as Regularizer
    from cdl.taping import GradientTape as GradientTape
    from cdl.trainers.chains.steps import Steps as Steps
    from cdl.trainers.derivatives import grad as grad
    from cdl.trainers.derivatives import value_and_grad as value_and_grad
    from cdl.trainers.jvp import hessian as hessian
    from cdl.trainers.jvp import jvp as jvp
    from cdl.variables import Variable as Variable

    __version__: str

# Where each public name lives. `import cdl` must cost nothing beyond NumPy, so nothing below is
# imported here: a module's `__getattr__` (PEP 562) does it at the first use.
_NAMES = {
    "Sequential": "cdl.models",
    "Model": "cdl.models",
    "train_many": "cdl.models",
    "replicate": "cdl.models",
    "GradientTape": "cdl.taping",
    "grad": "cdl.trainers.derivatives",
    "value_and_grad": "cdl.trainers.derivatives",
    "Steps": "cdl.trainers.chains.steps",
    "jvp": "cdl.trainers.jvp",
    "hessian": "cdl.trainers.jvp",
    "KerasTensor": "cdl._tracing.keras_tensor",
    "Input": "cdl.layers",
    "InputSpec": "cdl.layers",
    "Layer": "cdl.layers",
    "Loss": "cdl.losses",
    "Metric": "cdl.metrics",
    "Optimizer": "cdl.optimizers",
    "Initializer": "cdl.initializers",
    "Quantizer": "cdl.quantizers",
    "Regularizer": "cdl.regularizers",
    "Variable": "cdl.variables",
    "Function": "cdl.models.function",
    "Operation": "cdl.models.function",
    "RematScope": "cdl.scopes",
    "StatelessScope": "cdl.scopes",
    "name_scope": "cdl.scopes",
    "remat": "cdl.scopes",
    "DTypePolicy": "cdl.dtype_policies",
    "FloatDTypePolicy": "cdl.dtype_policies",
    "device": "cdl.config",
    "UntracedWarning": "cdl._tracing.untraced",
}
_MODULES = (
    "activations", "applications", "backend", "callbacks", "compat", "config", "constraints",
    "datasets", "distillation", "distribution", "dtype_policies", "explain", "export",
    "initializers", "layers", "legacy", "losses", "metrics", "mixed_precision", "models", "ops",
    "optimizers", "preprocessing", "quantizers", "random", "regularizers", "saving", "serving",
    "sklearn", "tree", "utils", "visualization", "wrappers",
)  # fmt: skip
_PUBLIC = [*_NAMES, *_MODULES, "version", "__version__"]
globals()["__all__"] = _PUBLIC  # linters ask for a literal, which would name all of them again


def version() -> str:
    """Version of cdl as a string."""
    return str(__getattr__("__version__"))


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        value = getattr(importlib.import_module(_NAMES[name]), name)
    elif name == "__version__":
        from importlib import metadata

        value = metadata.version("cdl-nn")
    elif name in _MODULES:
        value = importlib.import_module(f"cdl.{name}")
    else:
        from cdl._common.public_names import missing

        raise missing("cdl", name, __dir__, sys._getframe(1))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(_PUBLIC)


# In the folder of a clone this file hides the cdl that `pip install .` has made from it.
if PathFinder.find_spec("cdl._core", __path__) is None:
    from cdl._common import source_folder

    source_folder.give_way(sys.modules[__name__])
