"""Docstrings describe every public name, its arguments and its errors."""

import ast
import importlib
import inspect
import re
import sys
import textwrap
from pathlib import Path
from types import FunctionType

import pytest
from keras_names import divided

import cdl

# References to a base or another function in place of arguments that it shares with it.
SHARED = re.compile(
    r"[Ff]urther arguments are those of|[Aa]rguments as in|[Ss]ee `|as in `|same as"
)


def public_things():
    """The public names of Keras in cdl, and those at the top of cdl, each once."""
    pairs = [("", name) for name in cdl.__all__ if name != "__version__"]
    found = {}
    pairs += [
        pair for pair in divided()[0] if not pair[0].startswith("ops")
    ]  # docs/ops.md has those
    for module, name in sorted(set(pairs)):
        home = f"cdl.{module}".rstrip(".")
        thing = getattr(importlib.import_module(home), name)
        if inspect.isclass(thing) or isinstance(thing, FunctionType):
            found.setdefault(thing, f"{home}.{name}")
    return {name: thing for thing, name in found.items()}


THINGS = public_things()

HOME = Path(cdl.__file__).parent
ROOT = Path(__file__).parent.parent
# All parts of cdl/, and the other folders of Python: their docstrings, private ones too, and
# comments begin with their subject.
OTHERS = ("benchmarks", "docs", "examples", "tests", "tools")
ROOMS = sorted({path.relative_to(HOME).parts[0] for path in HOME.rglob("*.py")})
FOLDERS = [*(HOME / room for room in ROOMS), *(ROOT / name for name in OTHERS)]
CLAUSE = re.compile(
    r"(What|Whatever|The same|As|Likewise|See|Of|By|Those|It|Its|So|Such|Also|And|But|That|How"
    r"|Which|Who)\b"
)


def maker(thing):
    """The function whose signature a call of the thing has, if the thing itself defines it."""
    if not inspect.isclass(thing):
        return thing
    return next((vars(thing)[n] for n in ("__new__", "__init__") if n in vars(thing)), None)


def arguments(thing):
    function = maker(thing)
    if function is None:
        return []
    skipped = ("self", "cls", "args", "kwargs")
    return [name for name in inspect.signature(function).parameters if name not in skipped]


def section(text, title):
    """The lines of a section of a docstring in Google's style."""
    match = re.search(rf"^{title}:\n((?:[ ]{{4}}.*\n?|\n)*)", text + "\n", re.M)
    return match.group(1) if match else ""


def raises(function):
    """Whether the function's own lines raise something, apart from what is to be overridden."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    return any(
        isinstance(node, ast.Raise) and "NotImplementedError" not in ast.unparse(node)
        for node in ast.walk(tree)
    )


def sources(folder):
    """The files of Python in a folder, or the file itself."""
    return [folder] if folder.is_file() else sorted(folder.rglob("*.py"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_docstrings_begin_with_their_subject_in_four_words_or_more(folder):
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    wrong, seen = [], 0
    for path in sources(folder):
        for node in ast.walk(ast.parse(path.read_text())):
            text = ast.get_docstring(node) if isinstance(node, documented) else None
            seen += text is not None
            if text is not None and (CLAUSE.match(text) or len(text.split()) < 4):
                wrong.append(f"{path.name}:{node.body[0].lineno}: {text.splitlines()[0]}")
    assert seen > 0
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("folder", FOLDERS[: len(ROOMS)], ids=lambda path: path.name)
def test_docstrings_name_files_that_exist(folder):
    users = {"script.py", "train.py"}  # of whoever runs `python -m cdl.scripts`
    there = {path.name for path in HOME.rglob("*.py")} | users
    text = "".join(path.read_text() for path in sources(folder))
    docstrings = re.findall(r'""".*?"""', text, re.S)
    named = {name for each in docstrings for name in re.findall(r"\b\w+\.py\b", each)}
    assert not (gone := named - there), gone


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_comments_begin_with_their_subject(folder):
    wrong = []
    for path in sources(folder):
        lines = path.read_text().splitlines()
        for number, line in enumerate(lines):
            text = line.strip()
            begins = not lines[number - 1].strip().startswith("#")
            if text.startswith("#") and begins and CLAUSE.match(text.lstrip("#: ")):
                wrong.append(f"{path.name}:{number + 1}: {text}")
    assert not wrong, "\n".join(wrong)


def test_every_public_method_has_a_docstring_or_overrides_one_that_has():
    def classes(module, members):
        for each in members.values():
            private = getattr(each, "__name__", "_").startswith("_")
            if inspect.isclass(each) and each.__module__ == module and not private:
                yield each
                yield from classes(module, vars(each))

    wrong, seen = [], 0
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] != "cdl" or "._" in name:
            continue
        for each in classes(name, vars(module)):
            for method, value in vars(each).items():
                wrapped = getattr(value, "fget", None) or getattr(value, "__func__", value)
                if method.startswith("_") or not isinstance(wrapped, FunctionType):
                    continue
                seen += 1
                if not inspect.getdoc(getattr(each, method)):
                    wrong.append(f"{name}.{each.__qualname__}.{method}")
    assert seen > 1000
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", sorted(THINGS))
def test_it_says_what_it_is(name):
    text = inspect.getdoc(THINGS[name]) or ""
    first = text.split("\n\n", 1)[0]
    assert len(first) > 10 and first.rstrip().endswith((".", ":", "``")), first


@pytest.mark.parametrize("name", sorted(THINGS))
def test_it_is_in_the_words_of_the_field(name):
    text = inspect.getdoc(THINGS[name]) or ""
    assert not re.search(r"\b(of at least \d|of at most \d|first values of|what else)\b", text)


@pytest.mark.parametrize("name", sorted(THINGS))
def test_it_says_what_each_argument_is(name):
    thing = THINGS[name]
    text = inspect.getdoc(thing) or ""
    described = re.findall(r"^    (\w+)(?:, \w+)*:", section(text, "Args"), re.M)
    described += re.findall(r"`(\w+)`", text)
    if SHARED.search(text):
        return
    missing = [each for each in arguments(thing) if each not in described]
    assert not missing, f"Args lacks {missing}"


def test_arguments_that_a_base_describes_are_shown_by_those_below_it_in_their_order():
    lines = section(inspect.getdoc(cdl.losses.Huber), "Args").splitlines()
    names = [line.split(":")[0].strip() for line in lines if re.match(r"    \w+:", line)]
    assert names == ["delta", "reduction", "name", "dtype"]
    assert all(line in inspect.getdoc(cdl.losses.Loss) for line in lines if "delta" not in line)


def test_arguments_are_described_once_in_a_family():
    def described(cls):
        text = section(inspect.cleandoc(vars(cls).get("__doc__") or ""), "Args")
        return set(re.split(r"\n(?=    \w)", text.rstrip("\n"))) - {""}

    classes = [thing for thing in THINGS.values() if inspect.isclass(thing)]
    pairs = [(cls, base) for cls in classes for base in cls.__mro__[1:]]
    found = [(cls, line) for cls, base in pairs for line in described(cls) & described(base)]
    again = [
        f"{cls.__name__}: {line}"
        for cls, line in found
        if re.match(r" *(\w*)", line)[1] in inspect.signature(cls).parameters
    ]
    assert not again, "\n".join(again)


def test_a_class_of_a_user_keeps_its_docstring():
    class Mine(cdl.layers.Dense):
        """Dense layer of my own.

        Args:
            units: mine.
        """

    assert inspect.getdoc(Mine) == "Dense layer of my own.\n\nArgs:\n    units: mine."
    assert Mine.__doc__.count("units") == 1


@pytest.mark.parametrize("name", sorted(THINGS))
def test_it_says_what_it_raises(name):
    thing = THINGS[name]
    function = maker(thing)
    if function is not None and raises(function):
        text = inspect.getdoc(thing) or ""
        assert section(text, "Raises") or re.search(r"\w+Error", text)
