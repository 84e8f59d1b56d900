"""The installed cdl in place of a clone whose core was not built.

In the folder of a clone Python finds the clone's own `cdl/` before the one that `pip install .` put
among its packages, and the clone's has no compiled core unless `make dev` or `pip install -e .`
built it there.
"""

import sys
import tomllib
import warnings
from collections.abc import Iterator
from importlib import metadata
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

HERE = Path(__file__).parent.parent


def has_core(folders: list[str]) -> bool:
    """Whether one of these folders holds a core for this Python."""
    return PathFinder.find_spec("cdl._core", folders) is not None


def installed() -> ModuleSpec | None:
    """The first cdl with a core that this Python finds, be it a package or an editable install."""
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", lambda name, path: None)
        for place in [[entry] for entry in sys.path] if finder is PathFinder else [None]:
            spec: ModuleSpec | None = find("cdl", place)
            folders = spec and spec.loader and spec.submodule_search_locations
            if folders and has_core(folders):
                return spec
    return None


def changed(there: Path) -> Iterator[str]:
    """Modules of the clone that are newer than their installed copies and hold other code.

    A wheel's modules lack comments and docstrings of private functions, line by line.
    """
    for source in sorted(HERE.rglob("*.py")):
        name = source.relative_to(HERE)
        copy = there / name
        if not copy.exists():
            yield str(name)
        elif source.stat().st_mtime > copy.stat().st_mtime:
            ours = source.read_text(encoding="utf-8").splitlines()
            theirs = copy.read_text(encoding="utf-8").splitlines()
            if len(ours) != len(theirs) or not all(
                own.startswith(line.rstrip()) or line.strip() == "''"
                for own, line in zip(ours, theirs, strict=True)
            ):
                yield str(name)


def difference(there: Path) -> str | None:
    """Difference between the installed cdl and the clone, as a text; None without one."""
    with (HERE.parent / "pyproject.toml").open("rb") as file:
        own = tomllib.load(file)["project"]["version"]
    found = {
        each.version for each in metadata.distributions(name="cdl-nn", path=[str(there.parent)])
    }
    if found and found != {own}:
        return f"is {', '.join(found)}, and the clone {own}"
    names = list(changed(there))
    if names:
        return f"is older than {len(names)} modules of the clone, such as {names[0]}"
    return None


def give_way(module: ModuleType) -> None:
    """Run the installed cdl as `module`, so that each later import reads the installed files.

    Raises:
        ImportError: if there is none.
    """
    root = HERE.parent
    remedy = f"run `pip install .` in {root}"
    is_clone = (HERE / "_core.pyx").exists()
    spec = installed()
    if spec is None or spec.loader is None or spec.origin is None:
        raise ImportError(
            f"{HERE} holds the sources of cdl without its compiled core, and {sys.executable} has "
            f"no cdl installed: {remedy}, after which cdl works from this folder too, or `make "
            "dev` to work on cdl itself"
            if is_clone
            else f"{HERE} lacks the compiled core of cdl for this Python: install cdl-nn again",
            name="cdl._core",
            path=str(HERE),
        )
    there = Path(spec.origin).parent
    how = difference(there) if is_clone else None
    if how is not None:
        warnings.warn(
            f"cdl is imported from {there}, since the core of the clone {root} is not built; what "
            f"is installed {how}: {remedy} again, or `make dev` to work on cdl itself",
            stacklevel=2,
        )
    for name in [each for each in sys.modules if each.startswith("cdl.")]:
        del sys.modules[name]
    for name in [each for each in vars(module) if not each.startswith("__")]:
        delattr(module, name)
    # The spec stays, and with it the lock of the import that goes on: other threads wait.
    own = module.__spec__ or spec
    own.loader, own.origin, own.cached = spec.loader, spec.origin, spec.cached
    own.submodule_search_locations = spec.submodule_search_locations
    vars(module).update(__loader__=spec.loader, __file__=spec.origin, __cached__=spec.cached)
    module.__path__ = spec.submodule_search_locations or []
    spec.loader.exec_module(module)
