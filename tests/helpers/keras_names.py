"""Records which public names real Keras and its objects have, by module.

`make golden` runs it.
"""

import importlib
import inspect
import json
from pathlib import Path
from types import SimpleNamespace

FILE = Path(__file__).with_suffix(".json")
OF_OBJECTS = FILE.with_name("keras_attributes.json")
MODULES = (
    "", "activations", "applications", "backend", "callbacks", "config", "constraints", "datasets",
    "distillation", "distribution", "dtype_policies", "export", "initializers", "layers", "legacy",
    "losses", "metrics", "mixed_precision", "models", "ops", "ops.image", "ops.linalg", "ops.nn",
    "ops.numpy", "optimizers", "optimizers.schedules", "preprocessing", "preprocessing.image",
    "preprocessing.sequence", "quantizers", "random", "regularizers", "saving", "tree", "utils",
    "visualization", "wrappers",
)  # fmt: skip
HIDDEN = {"src"}  # public by its letters only


def whole(module, name):
    """A name below `keras`."""
    return f"{module}.{name}".lstrip(".")


def divided():
    """(module, name) pairs: those that cdl has, and those that it has not."""
    there, missing = [], []
    for module, names in json.loads(FILE.read_text()).items():
        home = importlib.import_module(f"cdl.{module}".rstrip("."))
        for name in names:
            (there if hasattr(home, name) else missing).append((module, name))
    return there, missing


# Modules of classes, and values for the arguments that these do not have by default.
FAMILIES = (
    "callbacks", "constraints", "initializers", "layers", "losses", "metrics", "optimizers",
    "optimizers.schedules", "random", "regularizers",
)  # fmt: skip
ARGUMENTS = {
    "activation": "relu", "axes": 1, "backup_dir": "there", "boundaries": [1], "dims": (1,),
    "equation": "ab,bc->ac", "filename": "log", "filepath": "a.keras", "function": abs, "fn": max,
    "num_classes": 2, "output_shape": 3, "precision": 0.5, "rate": 0.5, "recall": 0.5,
    "schedule": abs, "sensitivity": 0.5, "specificity": 0.5, "stddev": 0.5,
    "target_class_ids": [0], "target_shape": (3,), "values": [0.1, 0.2],
}  # fmt: skip
MORE = {
    "CategoryEncoding": {"num_tokens": 3},
    "Discretization": {"num_bins": 3},
    "InputLayer": {"shape": (3,)},
    "Optimizer": {"learning_rate": 0.1},
    "OptunaPruning": {"trial": SimpleNamespace(report=abs)},
}


def made(cls, library):
    """An object of a public class of either library."""
    given = dict(MORE.get(cls.__name__, {}))
    for name, each in list(inspect.signature(cls.__init__).parameters.items())[1:]:
        if each.default is each.empty and each.kind in (
            each.POSITIONAL_OR_KEYWORD,
            each.KEYWORD_ONLY,
        ):
            given.setdefault(name, ARGUMENTS.get(name, 1))
    for name in given.keys() & {"inner_optimizer", "default_optimizer"}:
        given[name] = library.optimizers.SGD()
    if cls.__name__ in ("Wrapper", "TimeDistributed", "SpectralNormalization"):
        given["layer"] = library.layers.Dense(3)
    if cls.__name__ == "Bidirectional":
        given["layer"] = library.layers.GRU(3)
    if cls.__name__ == "Pipeline":
        given["layers"] = [library.layers.Dense(3)]
    if cls.__name__ in ("RNN", "StackedRNNCells"):
        given |= {"cell": library.layers.GRUCell(3), "cells": [library.layers.GRUCell(3)]}
        del given["cells" if cls.__name__ == "RNN" else "cell"]
    return cls(**given)


def classes(library, family):
    """The public classes of a module."""
    home = inside(library, family)
    return [each for name in dir(home) if inspect.isclass(each := getattr(home, name))]


def inside(library, module):
    """A module of a library, by its name below it."""
    for part in filter(None, module.split(".")):
        library = getattr(library, part)
    return library


def public(thing):
    """The names in `dir` of a thing without an underscore in front."""
    return {name for name in dir(thing) if not name.startswith("_")}


def of_objects(library, family):
    """The public names of all objects of a family that can be made."""
    found = set()
    for cls in classes(library, family):
        try:
            found |= public(made(cls, library))
        except Exception as error:
            print(f"not made: {cls.__name__}: {error!r:.100}")
    return sorted(found)


def write(file, names):
    """Write a table of names by module as JSON."""
    file.write_text(json.dumps(names, indent=0).replace('",\n"', '", "') + "\n")


def main():
    import keras

    modules = {module: public(inside(keras, module)) - HIDDEN for module in MODULES}
    write(FILE, {module: sorted(names) for module, names in modules.items()})
    write(OF_OBJECTS, {family: of_objects(keras, family) for family in FAMILIES})


if __name__ == "__main__":
    main()
