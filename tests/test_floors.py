"""Imports and includes point down, and each thing is done in its room only."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CDL, CSRC = ROOT / "cdl", ROOT / "csrc"
PYTHON = sorted(CDL.rglob("*.py"))
C = sorted(path for path in CSRC.rglob("*") if path.suffix in {".c", ".h", ".def"})
CYTHON = sorted([CDL / "_core.pyx", *CDL.rglob("*.pxi")])
LINED = [*PYTHON, *C, *CYTHON, CDL / "_core.pyi", *sorted(ROOT.glob("tests/**/*.py"))]
LINED += sorted(ROOT.glob("benchmarks/**/*.py")) + sorted(ROOT.glob("examples/**/*.py"))

# Lowest first. A room may import from those before its own `|`, and from itself. A new name needs a
# place here first, and a line in the tree of CONTRIBUTING.md.
PYTHON_FLOORS = """
    _core | _common | _configs _ir tree
    | _variables distribution dtype_policies | config
    | _tracing | constraints random regularizers | data initializers
    | activations compat optimizers utils variables scopes
    | backend callbacks datasets legacy losses mixed_precision ops visualization
    | metrics quantizers | layers
    | saving trainers | explain export | models
    | applications distillation preprocessing serving sklearn taping | _cli wrappers
    | __init__
    | scripts
    | __main__
"""
FLOOR_OF = {
    name: floor for floor, names in enumerate(PYTHON_FLOORS.split("|")) for name in names.split()
}
# Files that look modules up by a name which a text or a file gives them, and why.
LOOKS_UP = {
    "cdl/__init__.py": "public names are loaded when they are first used",
    "cdl/sklearn/__init__.py": "the same",
    "cdl/applications/__init__.py": "the same",
    "cdl/utils/__init__.py": "the same, from floors above",
    "cdl/ops/__init__.py": "a function from a floor above",
    "cdl/_common/optional_imports.py": "packages that need not be there",
    "cdl/_common/public_names.py": "an error says where else a missing name is",
    "cdl/_configs/serialization.py": "a config names the module of its class",
    "cdl/_tracing/symbolic.py": "Python's operators are functions of cdl.ops",
    "cdl/_tracing/operation.py": "a pickled row names its module",
    "cdl/compat.py": "a module hands its own name in",
    "cdl/scripts/imports.py": "scripts name modules of Keras",
    "cdl/scripts/older_modules.py": "modules of Keras 2 have moved",
    "cdl/scripts/keras_src.py": "Keras's inside is looked up among public modules",
    "cdl/scripts/legacy/__init__.py": "a place of Keras 2 names its module",
}
C_FLOORS = ["base", "kernels", "isa", "learn", "products", "ops", "program", "roof"]
# Files that may be longer than 500 lines, how long, and why.
LONGER: dict[str, tuple[int, str]] = {
    "cdl/trainers/trainer.py": (527, "the methods that users call most, with an example each"),
}


def in_tree(path: Path) -> str:
    return str(path.relative_to(ROOT))


# --- Python ---


def room(path: Path) -> str:
    """The name directly below cdl/ that a file belongs to."""
    return path.relative_to(CDL).parts[0].removesuffix(".py")


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def run_time_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that only a type checker reads."""
    for child in ast.iter_child_nodes(node):
        if not is_type_checking(child):
            yield child
            yield from run_time_nodes(child)


def imported_rooms(path: Path) -> Iterator[tuple[int, str]]:
    """Line and room of each import of cdl's own, also of those inside functions."""
    package = ("cdl", *path.relative_to(CDL).parts[:-1])
    for node in run_time_nodes(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            modules = [f"{module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            name = node.args[0]
            if not (isinstance(name, ast.Constant) and isinstance(name.value, str)):
                assert in_tree(path) in LOOKS_UP, f"line {node.lineno} looks a module up"
                continue
            modules = [] if in_tree(path) in LOOKS_UP else [name.value]
        else:
            continue
        for module in modules:
            parts = module.split(".")
            if parts[0] == "cdl":
                found = parts[1] if len(parts) > 1 else "__init__"
                yield node.lineno, found if found in FLOOR_OF else "__init__"


@pytest.mark.parametrize("path", PYTHON, ids=in_tree)
def test_python_file_has_a_floor(path):
    assert room(path) in FLOOR_OF, "give this module a floor in PYTHON_FLOORS"


@pytest.mark.parametrize("path", PYTHON, ids=in_tree)
def test_python_imports_point_down(path):
    own, floor = room(path), FLOOR_OF[room(path)]
    upward = [
        f"line {line}: {name} is on floor {FLOOR_OF[name]}, this file on floor {floor}"
        for line, name in imported_rooms(path)
        if name != own and FLOOR_OF[name] >= floor
    ]
    assert not upward, "\n".join(upward)


def tree_of_contributing() -> str:
    """The lines of CONTRIBUTING.md between `cdl/` and `csrc/`."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    return text[text.index("    cdl/ ") : text.index("    csrc/ ")]


def entries() -> dict[str, str]:
    """The text of the tree for each room of cdl/."""
    found: dict[str, str] = {}
    names: list[str] = []
    for line in tree_of_contributing().splitlines()[1:]:
        if line.startswith("      ") and not line.startswith("       "):
            names = re.findall(r"[\w*]+(?=/|\.py)", line.split("  ")[3])
        for name in names:
            found[name] = found.get(name, "") + line + "\n"
    return found


@pytest.mark.parametrize("name", sorted({room(path) for path in PYTHON} - {"_core"}))
def test_the_map_of_contributing_is_the_tree(name):
    text = entries().get(name)
    assert text is not None, f"CONTRIBUTING.md does not name {name}"
    assert re.search(rf" {FLOOR_OF[name]}  ", text), f"{name} is on floor {FLOOR_OF[name]}"
    paths = {path for path in (CDL / name).rglob("*.py") if path.name != "__init__.py"}
    modules = {path.name for path in paths}
    if re.search(r"one [\w ]+ a file", text):
        return
    assert not (missing := {each for each in modules if each not in text}), missing
    named = set(re.findall(r"\b\w+\.py\b", text)) - {path.name for path in CDL.glob("*.py")}
    assert not modules or named <= modules, f"not there: {named - modules}"
    for folder, count in Counter(path.parent for path in paths).items():
        more = {
            "trainers": 27,
            "_ir": 19,
            "_tracing": 19,
            "saving": 16,
            "_common": 20,
            "export": 15,
            "models": 16,
            "sklearn": 15,
        }
        assert count <= more.get(name, 14), f"{folder} has {count} modules"


def test_the_tree_of_contributing_names_each_folder_of_tests():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    text = text[text.index("    tests/ ") : text.index("    examples/ ")]
    folders = {path.parent.name for path in (ROOT / "tests").glob("*/*.py")}
    assert not (missing := {each for each in folders if f" {each}/" not in text}), missing


def test_what_contributing_says_where_to_find_is_there():
    """Each path, and each function that a row says is `in` one."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    text = text[text.index("## To find") : text.index("## To add")]
    names = {path.name for folder in (CDL, CSRC) for path in folder.rglob("*")}
    for path in re.findall(r"`([\w/]+(?:/|\.(?:py|c|h|md)))`", text):
        path = path.replace("NAME", "dense")
        assert (ROOT / path).exists() or path in names or (CDL / path).exists(), path
    for function, path in re.findall(r"`(?:\w+\.)?(\w+)` in `([\w/]+\.(?:py|c))`", text):
        found = next((p for p in (ROOT / path, CDL / path) if p.exists()), None)
        found = found or next(p for p in CDL.rglob(path))
        assert re.search(rf"\b{function}\(", found.read_text()), f"{function} in {path}"


def map_of_the_core(folder: str) -> dict[str, set[str]]:
    """The files that CONTRIBUTING.md names in each row of the table of a folder of csrc/."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    table = text[text.index(f"| `csrc/{folder}/` |") :].split("\n\n")[0]
    rows = [line.split("|")[1:3] for line in table.splitlines()[2:]]
    return {
        cells[0].strip(): set(re.findall(r"`(\w+\.(?:c|h|def))`", " ".join(cells)))
        for cells in rows
    }


@pytest.mark.parametrize("folder", ["ops", "products", "program"])
def test_the_map_of_the_core_names_each_file(folder):
    named = set().union(*map_of_the_core(folder).values())
    there = {path.name for path in (CSRC / folder).iterdir()}
    assert not (gone := named - there), gone
    named |= {name.replace(".c", ".h") for name in named}  # a name stands for both
    assert not (missing := there - named), missing


def test_the_map_of_the_core_has_each_op_in_its_family():
    ops = (CSRC / "ops" / "ops.def").read_text()
    _, *sections = re.split(r"/\* ---- ([\w, ]+).*? ---- \*/", ops)
    files = {path: code_of(path) for path in (CSRC / "ops").glob("*.c")}
    families = map_of_the_core("ops")
    for family, rows in zip(sections[::2], sections[1::2], strict=True):
        for op in re.findall(r"OP\((\w+)", rows):
            homes = {
                p.name for p, code in files.items() if f"const struct cdl_op cdl_op_{op} " in code
            }
            assert homes and homes <= families[family.strip()], f"{op} of {family}"


def test_the_binding_includes_only_the_roof_and_imports_nothing_of_cdl():
    text = "".join(path.read_text() for path in CYTHON)
    headers = set(re.findall(r'cdef extern from "([^"<]+)"', text))
    assert headers == {"cdl.h"}
    assert not re.findall(r"^\s*(?:from|import|cimport)\s+cdl\b.*$", text, re.MULTILINE)


def test_import_loads_nothing_but_numpy_and_prints_nothing(run_python):
    done = run_python(
        """if True:
        import sys, numpy
        before = set(sys.modules)
        import cdl, cdl.layers, cdl.models, cdl.optimizers, cdl.callbacks
        new = {name.split(".")[0] for name in set(sys.modules) - before}
        new = {name for name in new if "cython" not in name}  # not modules: Cython's shared types
        assert not (new - set(sys.stdlib_module_names) - {"cdl", "numpy"}), new
        """
    )
    assert (done.stdout, done.stderr) == ("", "")


def test_decisions_go_by_one_clock():
    asking = r"\btime\.(?:perf_counter|monotonic|time)\b|from time import"
    # The clock, commands, and times of day: when a model was loaded, and those of TensorBoard.
    measuring = {"clock.py", "bench.py", "peers.py", "demo.py", "model_holder.py", "tf_summary.py"}
    found = {path.name for path in PYTHON if re.search(asking, path.read_text())}
    assert found <= measuring, "ask cdl._common.clock, which tests can set"


@pytest.mark.measures
def test_import_takes_under_60_ms_beyond_numpy(run_python):
    # CPU time of the process: a busy machine makes it wait, too.
    code = """if True:
        import time, numpy
        start = time.process_time()
        import cdl
        print(time.process_time() - start)
        """
    assert min(float(run_python(code).stdout) for _ in range(5)) < 0.060


# --- C ---


def c_floor(path: Path) -> int:
    parts = path.relative_to(CSRC).parts
    return C_FLOORS.index(parts[0] if len(parts) > 1 else "roof")


def code_of(path: Path) -> str:
    """The text without comments and strings; line numbers stay."""

    def blank(match: re.Match[str]) -> str:
        return "\n" * match.group().count("\n")

    return re.sub(
        r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', blank, path.read_text(), flags=re.DOTALL
    )


def hits(pattern: str, outside: tuple[str, ...]) -> list[str]:
    """Lines of csrc/ with `pattern`, but for the files and folders in `outside`."""
    found = []
    for path in C:
        name = path.relative_to(CSRC).as_posix()
        if not name.startswith(outside):
            lines = enumerate(code_of(path).splitlines(), 1)
            found += [
                f"csrc/{name}:{i}: {line.strip()}" for i, line in lines if re.search(pattern, line)
            ]
    return found


@pytest.mark.parametrize("path", C, ids=in_tree)
def test_c_includes_point_down(path):
    upward = []
    for include in re.findall(r'^\s*#\s*include\s+"([^"]+)"', path.read_text(), re.MULTILINE):
        target = path.parent / include if (path.parent / include).exists() else CSRC / include
        assert target.exists(), f"{include} is in no folder of csrc/"
        if c_floor(target.resolve()) > c_floor(path):
            upward.append(include)
    assert not upward


def test_c_prints_exits_and_allocates_only_in_base_and_program():
    calls = r"\b(printf|fprintf|puts|putchar|perror|exit|abort|malloc|calloc|realloc|free)\s*\("
    assert not hits(calls, outside=("base/", "program/"))


def test_c_never_prints_or_exits():
    assert not hits(r"\b(printf|fprintf|puts|putchar|perror|exit|abort)\s*\(", outside=("none",))


def test_threads_start_only_in_the_gate():
    assert not hits(r"#\s*pragma\s+omp\s+(?!simd\b)", outside=("base/threads.c",))
    assert not hits(
        r"\b(omp_\w+|pthread_create)\s*\(", outside=("base/threads.c", "base/thread_pool.c")
    )


def test_the_environment_is_read_only_where_things_are_chosen_once():
    assert not hits(r"\bgetenv\s*\(", outside=("base/threads.c", "isa/select.c"))


def test_c_has_no_intrinsics():
    """Exceptions are tiles and the fused multiply-add, which vector extensions cannot express."""
    intrinsics = r"\b_mm\d*_\w+|\bv\w+q_f32\b|immintrin|arm_neon"
    assert not hits(intrinsics, outside=("base/", "isa/amx.c", "kernels/vec.h"))
    fused = hits(r"\b_mm\d*_\w+\(|\bv\w+q_f32\(", outside=("base/", "isa/amx.c"))
    assert len(fused) == 3
    assert all("vf_fma(" in line for line in fused)


def within_brackets(code: str, start: int) -> list[str]:
    """Parts of the text between a bracket at `start` and its end, cut at its own commas."""
    parts, depth = [""], 0
    for char in code[start:]:
        depth += (char in "([{") - (char in ")]}")
        if depth == 0:
            break
        if char == "," and depth == 1:
            parts.append("")
        else:
            parts[-1] += char
    return [parts[0][1:], *parts[1:]]


@pytest.mark.parametrize("path", C, ids=in_tree)
def test_a_function_has_at_most_eight_parameters(path):
    """Definitions, declarations, types of functions and rows of kernels.def; not calls."""
    typed = re.compile(
        r"\s*(?:const\s+)?(?:struct\s+|enum\s+)?\w+(?:\s+|\s*\*)(?:const\s+|\*)*\w+.*", re.DOTALL
    )
    code, many = code_of(path).replace("\\\n", "  "), []
    for bracket in re.finditer(r"\(", code):
        parts = within_brackets(code, bracket.start())
        if len(parts) > 8 and all(typed.fullmatch(part) for part in parts):
            line = code[: bracket.start()].rsplit("\n", 1)[-1]
            many.append(f"{line.strip()}: {len(parts)} parameters")
    assert not many, "\n".join(many)


def words_of_c() -> set[str]:
    """Parts of all names of csrc/, lower case."""
    names = {name for path in C for name in re.findall(r"[A-Za-z]\w*", code_of(path))}
    return {word for name in names for word in name.lower().split("_")}


def test_the_core_keeps_to_the_words_of_the_design():
    """Each word stands in one row; the core has those of its own, and none that they replace."""
    text = (ROOT / "docs" / "design.md").read_text().split("## Words")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| ")]
    words = [row[0].strip() for row in rows if row[0].strip() != "word"]
    of_core = [row for row in rows if len(row) == 3 and row[0].strip() != "word"]
    used = words_of_c()
    assert len(of_core) > 30
    assert len(words) == len(set(words))
    assert not {word for row in of_core for word in row[0].split()} - used
    assert not set(re.findall(r"\w+", " ".join(row[2] for row in of_core))) & used


def test_a_type_of_c_is_declared_in_one_file():
    """Names of structs, unions and enums each mean one thing."""
    files: dict[str, set[str]] = {}
    for path in C:
        for name in re.findall(r"\b(?:struct|union|enum) (\w+) \{", code_of(path)):
            files.setdefault(name, set()).add(in_tree(path))
    assert len(files) > 100
    assert not {name: found for name, found in files.items() if len(found) > 1}


@pytest.mark.parametrize("room", ["base", "isa", "kernels", "learn", "ops", "products", "program"])
def test_c_comments_begin_with_their_subject(room):
    """A comment has its noun in its first words."""
    clause = r"/\*\s*(?:\w+\.[ch] - )?(What|The same|As|Likewise|Whether|Where|Who|Of|From)\b[^\n]*"
    files = [path for path in C if path.relative_to(CSRC).as_posix().startswith(room)]
    found = [m.group() for path in files for m in re.finditer(clause, path.read_text())]
    assert files
    assert not found, "\n".join(found)


# --- both ---


@pytest.mark.parametrize("path", LINED, ids=in_tree)
def test_first_line_says_what_the_file_is_for(path):
    first = re.sub(r"\A(# cython:.*\n)*", "", path.read_text()).split("\n", 1)[0]
    if path.suffix == ".py":  # whose name help() shows already
        assert re.match(r'r?"""[\w`.]', first), f"line 1 is {first!r}"
        own = rf'r?"""({re.escape(path.name)}|{path.parent.name}) - '
        assert not re.match(own, first), "help() says the name already"
    else:
        match = re.match(r'(?:"""|/\*\s*|//\s*|#\s*)(\S+) - \S', first)
        assert match and match.group(1) == path.name, f"line 1 is {first!r}"


@pytest.mark.parametrize("path", LINED, ids=in_tree)
def test_file_fits_a_sitting(path):
    longest, _ = LONGER.get(in_tree(path), (500, ""))
    assert len(path.read_text().splitlines()) <= longest
