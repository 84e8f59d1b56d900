"""keras_names.py - records which public names real Keras has, by module: `make golden` runs it."""

import importlib
import json
from pathlib import Path

FILE = Path(__file__).with_suffix(".json")
MODULES = (
    "", "activations", "applications", "backend", "callbacks", "config", "constraints", "datasets",
    "distillation", "distribution", "dtype_policies", "export", "initializers", "layers", "legacy",
    "losses", "metrics", "mixed_precision", "models", "ops", "ops.image", "ops.linalg", "ops.nn",
    "ops.numpy", "optimizers", "optimizers.schedules", "preprocessing", "preprocessing.image",
    "preprocessing.sequence", "quantizers", "random", "regularizers", "saving", "tree", "utils",
    "visualization", "wrappers",
)  # fmt: skip
HIDDEN = {"src"}  # public by its letters only
# Modules of which cdl has nothing.
NO_MODULES = {
    "applications", "distillation", "distribution", "legacy", "ops.image", "preprocessing.image",
    "quantizers", "visualization",
}  # fmt: skip


def whole(module, name):
    """A name below `keras`."""
    return f"{module}.{name}".lstrip(".")


def divided():
    """(module, name) pairs: those that cdl has, and those that it has not."""
    there, missing = [], []
    for module, names in json.loads(FILE.read_text()).items():
        known = module not in NO_MODULES
        home = importlib.import_module(f"cdl.{module}".rstrip(".")) if known else None
        for name in names:
            (there if known and hasattr(home, name) else missing).append((module, name))
    return there, missing


def main():
    import keras

    names = {}
    for module in MODULES:
        home = keras
        for part in filter(None, module.split(".")):
            home = getattr(home, part)
        names[module] = [n for n in dir(home) if not n.startswith("_") and n not in HIDDEN]
    FILE.write_text(json.dumps(names, indent=0).replace('",\n"', '", "') + "\n")


if __name__ == "__main__":
    main()
