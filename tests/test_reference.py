"""Every public name is on a page of the reference, with its description and arguments."""

import importlib
import inspect
import pkgutil
import re
import sys
from pathlib import Path

import pytest
from keras_names import divided

pytest.importorskip("sklearn")
sys.path.insert(0, str(Path(__file__).parents[1] / "docs" / "_site"))

import arguments
import reference

import cdl

# Names that are public by spelling only: users import these elsewhere, or they are commands.
NOT_SHOWN = {"scripts", "taping", "data", "trainers", "variables", "scopes", "__main__"}
ENTRIES = {entry.whole: entry for entry in reference.entries()}
METHODS = {
    f"{name}.{method}": getattr(entry.thing, method)
    for name, entry in ENTRIES.items()
    if inspect.isclass(entry.thing)
    for method in reference.methods(entry.thing)
}
CODE = re.compile(r"(?<!`)`([A-Za-z_][\w.]*)`(?!`)")


def test_every_module_has_a_page():
    found = {m.name for m in pkgutil.iter_modules(cdl.__path__) if not m.name.startswith("_")}
    shown = {module.rstrip("*/").partition(".")[0] for module in reference.MODULES}
    assert found - NOT_SHOWN == shown - {""}, "name it in MODULES of docs/_site/reference.py"


def test_what_keras_has_too_is_on_a_page():
    known = reference.targets()
    for module, name in divided()[0]:
        home = importlib.import_module(f"cdl.{module}".rstrip("."))
        thing = getattr(home, name)
        if callable(thing) and not inspect.ismodule(thing):
            # ops.nn, ops.numpy and ops.linalg are Keras's second names of what ops has
            assert f"cdl.{module}.{name}".replace("..", ".") in known or hasattr(cdl.ops, name)


@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_a_name_says_what_it_is_and_takes(name):
    thing = ENTRIES[name].thing
    text = inspect.getdoc(thing) or ""
    assert text.split("\n\n", 1)[0].strip()
    if inspect.isclass(thing) and not {"__init__", "__new__"} & set(vars(thing)):
        return  # made as its base is
    assert not arguments.missing(thing, arguments.completed(thing, text))


def test_shared_lines_are_used():
    used = {
        name
        for entry in ENTRIES.values()
        for name in arguments.missing(entry.thing, inspect.getdoc(entry.thing) or "")
    }
    assert set(arguments.COMMON) <= used


@pytest.mark.parametrize("name", sorted({**ENTRIES, **METHODS}))
def test_what_a_docstring_names_is_there(name):
    thing = METHODS.get(name) or ENTRIES[name].thing
    module = name.rpartition(".")[0]
    for text in CODE.findall(inspect.getdoc(thing) or ""):
        if text.startswith("cdl."):
            assert reference.target(text, None, module) or importlib.import_module(text)
