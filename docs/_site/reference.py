"""The pages of the API, made from cdl itself: every public name, on the page of its family."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

# Modules in the order in which one looks for them. Of those with a star each folder or file has
# a page of its own; with a slash those within it are on its page. What several
# modules have is described where it comes first.
MODULES = (
    "layers*", "saving", "models", "ops*", "ops.image", "applications/", "activations",
    "losses", "metrics", "optimizers", "optimizers.schedules", "callbacks", "initializers",
    "regularizers", "constraints", "export", "explain", "serving", "sklearn", "wrappers",
    "distribution",
    "utils", "preprocessing/", "datasets/", "random", "config", "backend", "tree",
    "dtype_policies", "mixed_precision", "quantizers", "distillation",
    "visualization", "legacy/", "compat", "",
)  # fmt: skip
# Files and folders of a starred module that share a page, and its name.
PARTS = {
    "layers": {
        "dense": "core", "einsum_dense": "core", "embedding": "core", "identity": "core",
        "reversible_embedding": "core", "input": "core", "input_spec": "core",
        "lambda_layer": "core", "layer": "core", "masking": "core", "wrapper": "core",
        "activation": "activations", "identifiers": "core",
    },
    "ops": {"public_names": "core"},
}  # fmt: skip


@dataclass
class Entry:
    """A public thing: where it is described, and all names that lead to it."""

    thing: Any
    page: str
    module: str
    name: str
    names: list[str] = field(default_factory=list)

    @property
    def whole(self) -> str:
        """The name that its description has."""
        return f"{self.module}.{self.name}"


def loaded(module: str) -> Any:
    """A module below cdl, or cdl itself."""
    return importlib.import_module(f"cdl.{module.rstrip('*/')}".rstrip("."))


def homes(module: str) -> list[Any]:
    """The module, and those within it if they share its page."""
    home = loaded(module)
    inner = [getattr(home, name) for name in dir(home)] if module.endswith("/") else []
    names = [each.__name__ for each in inner if inspect.ismodule(each)]
    return [home, *(importlib.import_module(name) for name in names)]


def public(home: Any) -> Iterator[tuple[str, Any]]:
    """Classes and functions among the public names of a module, each under its own name first."""
    found = []
    for name in dir(home):
        thing = getattr(home, name)
        if not name.startswith("_") and callable(thing) and not inspect.ismodule(thing):
            found.append((name != getattr(thing, "__name__", name), name.lower(), name, thing))
    return ((name, thing) for _, _, name, thing in sorted(found, key=lambda each: each[:3]))


def part(module: str, thing: Any) -> str:
    """The page of a starred module that a thing is on."""
    path = thing.__module__.split(".")[2:] or [thing.__module__.rsplit(".", 1)[-1]]
    if path[0] == "numpy" and len(path) > 1:
        return f"numpy.{path[1]}"
    if path[:2] == ["preprocessing", "image"]:
        return "preprocessing.image"
    return PARTS[module].get(path[0], path[0])


@cache
def entries() -> list[Entry]:
    """All public things of cdl."""
    found: dict[int, Entry] = {}
    for module, home in ((each, home) for each in MODULES for home in homes(each)):
        for name, thing in public(home):
            page = loaded(module).__name__
            if module.endswith("*"):
                page += f"-{part(module[:-1], thing)}"
            new = Entry(thing, page, home.__name__, name)
            found.setdefault(id(thing), new).names.append(new.whole)
    return list(found.values())


@cache
def pages() -> dict[str, list[Entry]]:
    """The things of each page: those of cdl itself first, then in the order of the modules."""
    found: dict[str, list[Entry]] = {"cdl": []}
    for entry in entries():
        found.setdefault(entry.page, []).append(entry)
    for things in found.values():
        things.sort(key=lambda entry: entry.whole.lower())
    order = [loaded(module).__name__ for module in MODULES]

    def place(page: str) -> tuple[int, bool, str]:
        module, _, family = page.partition("-")
        return -1 if page == "cdl" else order.index(module), family != "core", family

    return {page: found[page] for page in sorted(found, key=place)}


def title(page: str) -> str:
    """The title of a page."""
    module, _, family = page.partition("-")
    return f"{module}: {family.replace('.', ' ').replace('_', ' ')}" if family else module


def methods(cls: type) -> list[str]:
    """Public methods that no base of it has which is described itself; of bases properties too.

    What completion hides, since it is for cdl itself, is none.
    """
    described = {id(entry.thing) for entry in entries()}
    bases = [base for base in cls.__mro__[1:] if id(base) in described]
    inherited = set(dir(object)).union(*map(dir, bases))
    for base in cls.__mro__[1:]:
        if not base.__module__.startswith("cdl"):
            inherited |= set(dir(base))
    hidden = {name for each in cls.__mro__ for name in vars(each).get("_inner", ())}
    found = []
    for name in sorted(set(dir(cls)) - inherited - hidden):
        if not getattr(getattr(cls, name), "__module__", "cdl").startswith("cdl"):
            continue  # made by a package, such as scikit-learn's set_score_request
        is_property = isinstance(inspect.getattr_static(cls, name), property)
        is_shown = inspect.isroutine(getattr(cls, name)) or (is_property and not bases)
        if is_shown and not name.startswith("_") and inspect.getdoc(getattr(cls, name)):
            found.append(name)
    return found


@cache
def targets() -> dict[str, str]:
    """Every name by which a page can be asked for, and the one that it is described under."""
    found = {}
    for entry in entries():
        members = methods(entry.thing) if inspect.isclass(entry.thing) else []
        for name in entry.names:
            found[name] = entry.whole
            found |= {f"{name}.{member}": f"{entry.whole}.{member}" for member in members}
    return found


@cache
def short_targets() -> dict[str, str | None]:
    """The targets by the last part of a name alone; None if it means several things."""
    found: dict[str, str | None] = {}
    for entry in entries():
        for name in {each.rpartition(".")[2] for each in entry.names}:
            found[name] = None if name in found else entry.whole
    return found


def target(text: str, within: str | None, module: str) -> str | None:
    """The full name that a text means, seen from a class and a module."""
    known = targets()
    for name in (text, f"cdl.{text}", f"{within}.{text}", f"{module}.{text}"):
        if name in known:
            return known[name]
    return short_targets().get(text)


def section(entry: Entry) -> list[str]:
    """The directive that shows one thing."""
    heading = entry.whole.removeprefix(entry.page.partition("-")[0] + ".")
    lines = [heading, "-" * len(heading), ""]
    if inspect.isclass(entry.thing):
        lines += [f".. autoclass:: {entry.whole}"]
        if names := methods(entry.thing):
            lines += [f"   :members: {', '.join(names)}"]
    else:
        lines += [f".. autofunction:: {entry.whole}"]
    others = ", ".join(f"``{name}``" for name in entry.names if name != entry.whole)
    return [*lines, "", *([f"Also {others}.", ""] if others else [])]


def text(page: str, things: list[Entry]) -> str:
    """A page in reStructuredText."""
    told = inspect.getdoc(importlib.import_module(page.partition("-")[0])) or ""
    lines = [title(page), "=" * len(title(page)), "", told, ""]
    for entry in things:
        lines += section(entry)
    return "\n".join(lines)


def write(folder: Path) -> None:
    """Write what has changed, so that Sphinx reads only that again."""
    files = {f"{page}.rst": text(page, things) for page, things in pages().items()}
    folder.mkdir(exist_ok=True)
    for path in folder.glob("*.rst"):
        if path.name not in files:
            path.unlink()
    for name, content in files.items():
        path = folder / name
        if not path.exists() or path.read_text() != content:
            path.write_text(content)
