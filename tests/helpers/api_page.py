"""Generator of docs/api.md: every public name of cdl with the first sentence of its docstring.

python tests/helpers/api_page.py  # the tests fail where it is not what the code says
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "api.md"
if __name__ == "__main__":
    sys.path[:0] = [str(ROOT)]

import cdl

TEXT = """\
# API reference

Every public name, and what it is. On the site that `make docs` builds each name leads to its
arguments, what it returns and raises, and an example; `help(cdl.layers.Dense)` tells the same
without the example. Names of one row are the same thing. `get`, `serialize` and `deserialize`,
which most modules have for names and configs, are left out.

Examples go on from `import numpy as np` and `import cdl`; what they give is printed with four
digits.
"""
# Modules in the order of a reader's search; ops has too many names for rows.
MODULES = (
    "layers", "activations", "losses", "metrics", "optimizers", "optimizers.schedules", "callbacks",
    "distribution",
    "initializers", "regularizers", "constraints", "models", "saving", "export", "explain",
    "serving",
    "applications", "distillation", "visualization",
    "sklearn", "wrappers", "utils", "preprocessing",
    "preprocessing.image", "preprocessing.sequence", "utils.bounding_boxes", "random", "config",
    "backend", "tree", "dtype_policies", "mixed_precision", "quantizers", "ops.image",
)  # fmt: skip
LEFT_OUT = ("get", "serialize", "deserialize")
# Classes whose methods have rows, each with a base whose methods have none.
OBJECTS = (
    (cdl.Model, object),
    (cdl.callbacks.History, cdl.callbacks.Callback),
)


def sentence(thing):
    """The first sentence of a docstring, fit for a cell of a table."""
    first = (inspect.getdoc(thing) or "").split("\n\n")[0]
    first = re.match(r".*?\.(?=\s|$)|.*", " ".join(first.split())).group()
    return first.rstrip(":").replace("|", "\\|")


def rows(home):
    """The names and the first sentence of each class and function of a module."""
    found = {}
    for name in dir(home):
        thing = getattr(home, name)
        if callable(thing) and not inspect.ismodule(thing) and name not in LEFT_OUT:
            found.setdefault(id(thing), (thing, []))[1].append(name)
    for thing, names in found.values():
        names.sort(key=lambda name: name != getattr(thing, "__name__", ""))  # its own one first
    return sorted((names, sentence(thing)) for thing, names in found.values())


def methods(cls, base):
    """Rows of the methods that `dir` shows of objects of a class, and not of its base."""
    names = sorted(set(dir(cls())) - set(dir(base())))
    return [
        ([name], sentence(getattr(cls, name)))
        for name in names
        if inspect.isroutine(getattr(cls, name, None)) and not name.startswith("_")
    ]


def table(pairs):
    lines = ["| name | what it is |", "| --- | --- |"]
    return lines + [f"| {', '.join(f'`{n}`' for n in names)} | {text} |" for names, text in pairs]


def page():
    parts = [TEXT, "## cdl", "", *table(rows(cdl)), ""]
    for cls, base in OBJECTS:
        parts += [f"## Methods of {cls.__name__}", "", *table(methods(cls, base)), ""]
    for module in MODULES:
        home = importlib.import_module(f"cdl.{module}")
        parts += [f"## cdl.{module}", "", *table(rows(home)), ""]
    names = [f"`{name}`" for name in dir(cdl.ops) if not inspect.ismodule(getattr(cdl.ops, name))]
    functions = textwrap.fill(", ".join(names), 120, break_on_hyphens=False)
    parts += ["## cdl.ops", "", "What they become in a model: [ops.md](ops.md).", "", functions, ""]
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"wrote {PAGE}")
