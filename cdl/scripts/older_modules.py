"""Modules of Keras 2 that have moved, `cdl.layers.core`, and modules that cdl lacks.

Scripts alone import them, so `import cdl` knows nothing of them: `install` makes Python ask here
last.
"""

from __future__ import annotations

import importlib
import sys
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from cdl._common.missing_names import explained

# Where the names of an older module are now. All names of the new one are names of the old.
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
    """A finder and loader of the modules that have moved."""

    @staticmethod
    def find_spec(name: str) -> ModuleSpec | None:
        """The spec of an older module, None for any other name."""
        if name not in MOVED:
            return None
        return ModuleSpec(name, Moved(), is_package=name == "cdl.engine")

    @staticmethod
    def create_module(spec: ModuleSpec) -> ModuleType:
        """A module that looks its names up where they are now."""
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
        """All is there already."""


class _Finder:
    """Finds older modules, and says what is near where a module of Keras is not in cdl."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """The spec of an older module; None for a name that is not Keras's.

        Raises:
            ModuleNotFoundError: Keras has such a module and cdl has not.
        """
        if not name.startswith("cdl."):
            return None
        spec = Moved.find_spec(name)
        if spec is None and (text := explained(name.partition(".")[2])):
            raise ModuleNotFoundError(text, name=name)
        return spec


def install() -> None:
    """Let this process import older modules by their names."""
    if _Finder not in sys.meta_path:
        sys.meta_path.append(_Finder)
