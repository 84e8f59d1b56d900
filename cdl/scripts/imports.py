"""An import hook that serves `keras` and `tensorflow` from cdl in one process.

Each module of these packages looks its names up in cdl on access. A name that cdl lacks raises
ImportError or AttributeError with the name and the nearest ones.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from importlib.metadata import Distribution, DistributionFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from cdl._common.missing_names import explained
from cdl.scripts import keras_src, legacy, older_modules

# Versions that the packages report; scripts parse the parts as integers.
KERAS, TENSORFLOW = "3.15.1", "2.21.0"
# Packages whose modules are those of cdl.
_ROOTS = ("tensorflow.python.keras", "tensorflow.keras", "keras.api", "keras")
_SHORT = tuple(f"tensorflow.{n}" for n in ("initializers", "losses", "metrics", "optimizers"))
# Modules whose public members are modules.
_WITH_MODULES = ("cdl.datasets", "cdl.preprocessing", "cdl.applications")
_DEEPER = (
    "cdl.legacy.saving",
    "cdl.utils.bounding_boxes",
    "cdl.utils.legacy",
    "cdl.optimizers.legacy",
    "cdl.optimizers.schedules",
    "cdl.ops.image",
    "cdl.ops.nn",
    "cdl.ops.numpy",
    "cdl.ops.linalg",
    "cdl.wrappers.scikit_learn",
)

# Modules with functions that return a `tf.data.Dataset` in Keras.
_WITH_DATA_SETS = ("cdl.preprocessing", "cdl.utils")

# Advice for names that scripts often ask for and cdl lacks.
_INSTEAD = {
    "cluster_resolver": "one process is one device; keras.distribution.DataParallel is for several",
    "lite": "model.export('model.c') and model.export('model.onnx') are for other machines",
    "saved_model": "model.save('model.keras') and model.export('model.onnx') write files",
    "Session": "nothing is run in graphs: call models and functions on arrays",
    "placeholder": "nothing is run in graphs: keras.Input begins a model",
}


def install() -> None:
    """Install the import hook for the rest of the process."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    older_modules.install()


def _tensorflow() -> Any:
    """Import the modules of TensorFlow, which scripts that use Keras alone never load."""
    from cdl.scripts import tensorflow

    return tensorflow


def _tensors() -> Any:
    """Import the patches that turn arrays into tensors for a script."""
    from cdl.scripts import tf_tensors

    return tf_tensors


def _now(name: str) -> str:
    """Strip `tensorflow.compat.v1` or `.v2` from the name of a module."""
    for old in ("tensorflow.compat.v2", "tensorflow.compat.v1"):
        if name != old and not name.startswith(f"{old}."):
            continue
        if old.endswith("1") and (name == old or name in _tensorflow().MODULES):
            return name
        new = f"tensorflow{name[len(old) :]}"
        return new if new in _tensorflow().MODULES or _home(new) is not None else name
    return name


def _home(name: str) -> str | None:
    """The name in cdl of a module of Keras; None for other modules of TensorFlow."""
    for root in _ROOTS:
        if name == root or name.startswith(f"{root}."):
            return f"cdl{name[len(root) :]}"
    if name.startswith(_SHORT):
        return f"cdl{name[len('tensorflow') :]}"
    return None


class _Distribution(Distribution):
    """Metadata of a package that cdl stands in for."""

    def __init__(self, name: str, version: str) -> None:
        self._text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"

    def read_text(self, filename: str) -> str | None:
        """The text of METADATA; None for any other file."""
        return self._text if filename == "METADATA" else None

    def locate_file(self, path: Any) -> Any:
        """The path of a file in the folder of this module."""
        return Path(__file__).parent / path


class _Finder(DistributionFinder, Loader):
    """Finder and loader of the modules of Keras and TensorFlow."""

    @staticmethod
    def find_distributions(
        context: DistributionFinder.Context | None = None,
    ) -> Iterator[Distribution]:
        """Distributions of Keras and TensorFlow, for libraries that read their versions."""
        wanted = None if context is None else context.name
        for name, version in (("tensorflow", TENSORFLOW), ("keras", KERAS)):
            if wanted is None or wanted.lower() == name:
                yield _Distribution(name, version)

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """The spec of a module of these packages.

        Raises:
            ImportError: cdl has no such module.
        """
        if name.partition(".")[0] not in ("keras", "tensorflow", "tensorflow_probability"):
            return None
        if _now(name) != name:
            return ModuleSpec(name, _Finder(), is_package=True)
        if name == keras_src.PREFIX or name.startswith(f"{keras_src.PREFIX}."):
            if not keras_src.is_module(name):
                raise ImportError(f"cdl has no {name}", name=name)
            return ModuleSpec(name, _Finder(), is_package=True)
        home = _home(name)
        if home is None and name not in _tensorflow().MODULES:
            raise ImportError(_lacks(name), name=name)
        if home is not None and not _is_there(home):
            raise ImportError(_lacks(name), name=name)
        return ModuleSpec(name, _Finder(), is_package=True)

    @staticmethod
    def create_module(spec: ModuleSpec) -> ModuleType:
        """Create the module; for an older name, import the module by its present name."""
        if _now(spec.name) != spec.name:
            module = importlib.import_module(_now(spec.name))
            spec.loader_state = module.__spec__
            return module
        if spec.name.startswith(keras_src.PREFIX):
            return keras_src.Src(spec.name)
        home = _home(spec.name)
        if home is None:
            return _TensorFlow(spec.name)
        if home in _WITH_DATA_SETS:
            _tensors().have_data_sets()
        return _Keras(spec.name, importlib.import_module(legacy.module(home)), home)

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        """Restore the spec of a module that was imported by a second name; nothing is executed."""
        spec = module.__spec__
        if spec is not None and spec.loader_state is not None:
            module.__spec__ = spec.loader_state


def _is_public(home: str) -> bool:
    """Whether Keras has a public module of this name."""
    from cdl import __all__

    parent, _, name = home.rpartition(".")
    if parent in ("", "cdl"):
        return home == "cdl" or name in __all__ or home in older_modules.MOVED
    return parent in _WITH_MODULES or home in (*_DEEPER, *older_modules.MOVED)


def _is_there(home: str) -> bool:
    """Whether cdl has a public module of that name; imports it."""
    if home == legacy.TEXT:
        return True
    if not _is_public(home):
        return False
    try:
        importlib.import_module(home)
    except ModuleNotFoundError as error:
        if error.name is not None and (home == error.name or home.startswith(f"{error.name}.")):
            return False
        raise
    return True


class _Keras(ModuleType):
    """A module of Keras: the names of the module of cdl, and those of Keras 2."""

    def __init__(self, name: str, home: ModuleType, place: str) -> None:
        super().__init__(name, home.__doc__)
        self.__dict__.update(_home=home, _place=place)
        self.__dict__["__file__"] = getattr(home, "__file__", None)
        if home.__name__ == "cdl":
            self.__dict__.update(__version__=KERAS, version=lambda: KERAS)

    def __getattr__(self, name: str) -> Any:
        home: ModuleType = self.__dict__["_home"]
        place: str = self.__dict__["_place"]
        if name == "__all__":
            return [*_public(home), *legacy.names(place)]
        if (found := legacy.find(place, name)) is not None:
            return found
        if not name.startswith("_"):
            try:
                found = getattr(home, name)
            except AttributeError:
                if self.__name__ == "keras" and name == "src":
                    return importlib.import_module(keras_src.PREFIX)
                if not _is_there(f"{home.__name__}.{name}"):
                    raise AttributeError(_lacks(f"{self.__name__}.{name}")) from None
                found = None
            if found is None or isinstance(found, ModuleType):
                if not _is_there(f"{home.__name__}.{name}"):
                    raise AttributeError(_lacks(f"{self.__name__}.{name}"))
                found = importlib.import_module(f"{self.__name__}.{name}")
            return found
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")

    def __dir__(self) -> list[str]:
        names = {*self.__dict__, *self.__getattr__("__all__")}
        return sorted(names - {"_home", "_place"})


def _public(home: ModuleType) -> list[str]:
    """The public names of a module of cdl."""
    return [name for name in dir(home) if not name.startswith("_")]


def _lacks(name: str) -> str:
    """The message of the error for a module, class or function that cdl lacks."""
    import difflib

    parent, _, last = name.rpartition(".")
    if last in _INSTEAD:
        return f"cdl has no {name}: {_INSTEAD[last]}"
    home = _home(parent) if parent else None
    text = explained(f"{home}.{last}".partition(".")[2]) if home else None
    if text is not None:
        return text
    there = home is not None and _is_there(home)
    known = _public(importlib.import_module(legacy.module(str(home)))) if there else []
    if home is None:
        within = f"{parent}." if parent else "tensorflow."
        modules = _tensorflow().MODULES
        known = [n[len(within) :] for n in ("tensorflow.keras", *modules) if within in n]
        known += _tensorflow().names(parent) if parent in modules else []
    lower = {each.lower(): each for each in sorted(known, reverse=True)}
    near = [lower[each] for each in difflib.get_close_matches(last.lower(), lower, 5, 0.5)]
    hint = f"; near: {', '.join(near)}" if near else ""
    if not near and known:
        hint = f"; there: {', '.join(sorted(known)[:40])}"
    return f"cdl has no {name}{hint}"


class _TensorFlow(ModuleType):
    """A module of TensorFlow outside Keras."""

    def __init__(self, name: str) -> None:
        super().__init__(name, "The part of TensorFlow that cdl stands for.")
        self.__dict__.update(_tensorflow().names(name))

    def __getattr__(self, name: str) -> Any:
        whole = f"{self.__name__}.{name}"
        if whole in _tensorflow().LATER:
            module, now = _tensorflow().LATER[whole]
            return getattr(importlib.import_module(module), now)
        there = (*_tensorflow().MODULES, *_ROOTS, *_SHORT)
        if not name.startswith("_") and (whole in there or _now(whole) != whole):
            return importlib.import_module(whole)
        if self.__name__ == "tensorflow.compat.v1" and hasattr(
            importlib.import_module("tensorflow"), name
        ):
            return getattr(importlib.import_module("tensorflow"), name)
        if name.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        raise AttributeError(_lacks(whole))
