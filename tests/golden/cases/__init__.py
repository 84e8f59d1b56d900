"""The cases, one module an area."""

import importlib
from pathlib import Path


def load_all() -> None:
    """Import each module of cases, which enters its cases."""
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if path.stem != "__init__":
            importlib.import_module(f"cases.{path.stem}")
