"""keras_names.py - records which public names real Keras has, by module: `make golden` runs it."""

import inspect
import json
from pathlib import Path

FILE = Path(__file__).with_suffix(".json")
MODULES = (
    "activations", "backend", "callbacks", "config", "constraints", "initializers", "layers",
    "losses", "metrics", "models", "optimizers", "optimizers.schedules", "random", "regularizers",
    "saving", "tree", "utils",
)  # fmt: skip


def main():
    import keras

    names = {}
    for module in MODULES:
        home = keras
        for part in module.split("."):
            home = getattr(home, part)
        public = [name for name in dir(home) if not name.startswith("_")]
        names[module] = [name for name in public if not inspect.ismodule(getattr(home, name))]
    FILE.write_text(json.dumps(names, indent=0).replace('",\n"', '", "') + "\n")


if __name__ == "__main__":
    main()
