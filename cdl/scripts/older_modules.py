"""Import hook for modules that moved after Keras 2 (`cdl.layers.core`) and for ones cdl lacks.

Only scripts import these, so `import cdl` does not load this file. `install` appends the hook to
`sys.meta_path`.
"""

from __future__ import annotations

import importlib
import sys
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from cdl._common.missing_names import explained

# New module of each old one. The old module has all names of the new one.
MOVED = {
    **{
        f"cdl.layers.{old}": "cdl.layers"
        for old in (
            "core",
            "convolutional",
            "pooling",
            "recurrent",
            "embeddings",
            "noise",
            "advanced_activations",
            "merge",
            "local",
            "wrappers",
        )
    },
    "cdl.utils.np_utils": "cdl.utils",
    "cdl.utils.data_utils": "cdl.utils",
    "cdl.utils.generic_utils": "cdl.utils",
    "cdl.utils.vis_utils": "cdl.utils",
    "cdl.utils.layer_utils": "cdl.utils",
    "cdl.optimizers.experimental": "cdl.optimizers",
    "cdl.engine": "cdl.models",
    "cdl.engine.training": "cdl.models",
    "cdl.engine.sequential": "cdl.models",
    "cdl.engine.topology": "cdl.layers",
    "cdl.engine.base_layer": "cdl.layers",
}


class Moved(Loader):
    """Finder and loader of modules that have moved."""

    @staticmethod
    def find_spec(name: str) -> ModuleSpec | None:
        """The spec of a module that has moved; None for any other name."""
        if name not in MOVED:
            return None
        return ModuleSpec(name, Moved(), is_package=name == "cdl.engine")

    @staticmethod
    def create_module(spec: ModuleSpec) -> ModuleType:
        """A module that takes its names from the new module on access."""
        now = MOVED[spec.name]
        module = ModuleType(spec.name, f"{spec.name}: the older place of {now}")

        def find(name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(f"module {spec.name!r} has no attribute {name!r}")
            return getattr(importlib.import_module(now), name)

        vars(module)["__getattr__"] = find
        return module

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        """Execute nothing: names are resolved on access."""


class _Finder:
    """Finder of moved modules; names alternatives to modules of Keras that cdl lacks."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """The spec of a moved module; None for a name outside Keras.

        Raises:
            ModuleNotFoundError: a module that Keras has and cdl lacks.
        """
        if not name.startswith("cdl."):
            return None
        spec = Moved.find_spec(name)
        if spec is None and (text := explained(name.partition(".")[2])):
            raise ModuleNotFoundError(text, name=name)
        return spec


def install() -> None:
    """Install the import hook for the rest of the process."""
    if _Finder not in sys.meta_path:
        sys.meta_path.append(_Finder)
