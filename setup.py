"""How the compiled core is built; everything that is only data is in pyproject.toml.

One extension holds the whole core. Its C files are compiled with strict warnings, Cython's
generated file with none, all of them in parallel. What was compiled stays in build/ and is used
again by make, pip and every other way to build, until a byte of its sources or a flag changes.
stderr shows how far it is; under pip, `pip install -v .` does.

The environment can ask for another build of the same sources:

    CDL_SANITIZE=address,undefined   with these sanitizers and with asserts
    CDL_COVERAGE=1                   counts lines for gcov
    CDL_WERROR=1                     a warning in our C is an error
    CDL_NO_OPENMP=1                  as if the compiler had no OpenMP
"""

import ast
import fcntl
import hashlib
import os
import re
import shlex
import subprocess
import sys
import tempfile
import threading
import tokenize
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent


def found(*patterns: str) -> list[str]:
    """The files of the tree that fit a pattern."""
    return sorted(str(path.relative_to(ROOT)) for each in patterns for path in ROOT.glob(each))


HEADERS = found("csrc/**/*.h", "csrc/**/*.def")
SOURCES = found("csrc/**/*.c")
KERNELS = found("csrc/isa/*.c")
BINDING = found("cdl/*.pyx", "cdl/**/*.pxi")

# Fused multiply-adds are those that the source writes out (csrc/kernels/math.h): so each compiler
# and instruction set gives the same bits.
# The errno and trap flags let the compiler vectorize sqrtf and selects; they change no result.
FLAGS = ["-std=c11", "-O2", "-g0", "-fvisibility=hidden"]
FLAGS += ["-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
# By -O3 a wheel has 141 KB more of kernels, which come once for each ISA, and 40 KB more of the
# rest; nothing is faster. gcc's -O2 vectorizes no loop that has a rest unless told to, and
# nothing but kernels has loops where that counts. (clang's does, and knows no such flag.)
# Loops that begin at any address, as by -O2, are a few per cent slower or not as others change;
# aligned, they make a wheel 3 KB larger.
KERNEL_FLAGS = ["-fvect-cost-model=dynamic", "-falign-functions=64", "-falign-loops=32"]
# What is left of a loop, less than a register, goes by number: a second loop of vectors for it
# makes a wheel 79 KB larger. Most lines have no rest.
KERNEL_FLAGS += ["--param=vect-epilogues-nomask=0"]
# Few machines of today run the baseline of x86-64: by -Os it is 87 KB less of a wheel.
BASELINE, BASELINE_FLAGS = "csrc/isa/baseline.c", ["-Os"]
WARNINGS = ["-Wall", "-Wextra", "-Wshadow", "-Wconversion"]
# An op with one phase names its function without the braces of a list, and no other member of it.
WARNINGS += ["-Wno-missing-braces", "-Wno-missing-field-initializers"]
# Functions of a table take what some of its rows read.
WARNINGS += ["-Wno-unused-parameter"]
WARNINGS += ["-Wstrict-prototypes", "-Wmissing-prototypes"]
# Generated C is not held to style, but a declaration that does not fit cdl.h is an error there too.
# By -O1 it is 49 KB more of a wheel, and calls of one row take 4 % less time.
CYTHON_FLAGS = ["-Os", "-Werror=incompatible-pointer-types"]
# Of the flags that Python itself was built with these are ours to choose.
NOT_PYTHONS = re.compile(
    r"-(O\w*|g\d?|W(?!l,|p,|a,)\S*|fwrapv|fno-strict-overflow|flto\S*|ffat-lto-objects|std=\S*)$"
)
PROGRAM = "int main(void) { return 0; }\n"
OPENMP_PROGRAM = "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n"


def switched_on(name: str) -> bool:
    """Whether an environment switch asks for something."""
    return os.environ.get(name, "") not in ("", "0")


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def mode_flags() -> tuple[list[str], list[str]]:
    """Flags for compiling and for linking that the environment switches ask for."""
    compiling, linking = [], []
    if sanitizers := os.environ.get("CDL_SANITIZE"):
        linking = [f"-fsanitize={sanitizers}"]
        compiling = [*linking, "-O1", "-g1", "-fno-omit-frame-pointer", "-UNDEBUG"]
        if "undefined" in sanitizers:
            compiling.append("-fno-sanitize-recover=undefined")
    if switched_on("CDL_COVERAGE"):
        linking = [*linking, "--coverage"]
        compiling += ["--coverage", "-fprofile-update=atomic", "-O1"]
    return compiling, linking


def has_openmp(compiler: list[str]) -> bool:
    """Whether a program with OpenMP compiles and links."""
    return not switched_on("CDL_NO_OPENMP") and builds(compiler, OPENMP_PROGRAM, ["-fopenmp"])


def builds(compiler: list[str], program: str, flags: list[str]) -> bool:
    """Whether a program compiles and links with these flags."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "program.c")
        source.write_text(program)
        command = [*compiler, *flags, str(source), "-o", str(Path(folder, "program"))]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


# Rooms of whose modules users name nothing, and the modules there of which they do.
UNSEEN = {"_cli", "_common", "_configs", "_ir", "_tracing", "_variables", "scripts"}
UNSEEN |= {"data", "distribution", "export", "saving", "taping", "trainers"}
SEEN = {"errors", "html", "keras_tensor", "naming", "numpy_dispatch", "symbolic", "untraced"}
SEEN |= {"arguments", "custom_objects", "dtypes", "identifiers", "serialization", "state"}
SEEN |= {"api", "artifacts", "checking", "file_editor", "keras_file", "py_dataset", "weights"}
SEEN |= {"derivatives", "gradient_tape", "jvp", "steps", "train_many", "trainer"}
# Modules that users import, whose own docstrings `help` shows.
IMPORTED = {"image", "sequence", "bounding_boxes"}


def for_a_wheel(path: Path) -> str:
    """The text of a module without what only readers of the source see; lines keep their numbers.

    These are comments, docstrings of modules that users do not import, and those of functions whose
    names begin with one underscore; in rooms of which users name nothing, those of all classes and
    functions.
    """
    room = path.parts[len(path.parts) - path.parts[::-1].index("cdl") :]
    every = bool({*room} & UNSEEN) and path.stem not in SEEN
    inside = len(room) > 1 and path.stem not in {"__init__", *IMPORTED}
    with tokenize.open(path) as file:
        lines = file.readlines()
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type == tokenize.COMMENT:
                row, column = token.start
                lines[row - 1] = f"{lines[row - 1][:column].rstrip()}\n"
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Module):
            unseen = inside
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            private = isinstance(node, ast.FunctionDef) and re.match("_[^_]", node.name)
            unseen = every or bool(private)
        else:
            continue
        if not unseen or ast.get_docstring(node) is None:
            continue
        text = node.body[0]
        if isinstance(node, ast.Module) or text.lineno > node.lineno:
            lines[text.lineno - 1] = f"{lines[text.lineno - 1][: text.col_offset]}''\n"
            for row in range(text.lineno, text.end_lineno or 0):
                lines[row] = "\n"
    return "".join(lines)


class BuildPython(build_py):
    """Copies modules; those of a wheel lose what only readers of the source see."""

    def build_module(self, module, module_file, package):  # type: ignore[no-untyped-def]
        made, copied = super().build_module(module, module_file, package)
        if copied:
            Path(made).write_text(for_a_wheel(Path(made)), encoding="utf-8")
        return made, copied


class BuildWheel(bdist_wheel):
    """Makes a wheel, and packs it as tightly as zopfli can, in half a minute: 60 KB less."""

    def run(self) -> None:
        super().run()
        sys.path.append(str(ROOT / "tools" / "wheel"))
        from zopfli_zip import repack

        for _, _, path in self.distribution.dist_files:
            repack(path, path, rounds=1)


class BuildCore(build_ext):
    """Compiles our C and Cython's C each by its own rules."""

    def finalize_options(self) -> None:
        super().finalize_options()
        # Python's headers are never in a virtual environment. With its path among the flags,
        # objects would be used again in that environment only.
        if sys.prefix != sys.base_prefix:
            own = os.path.join(sys.exec_prefix, "include")
            self.include_dirs = [path for path in self.include_dirs if path != own]

    def run(self) -> None:
        # Asked now, since run() of setuptools unsets `inplace`.
        self.in_the_tree = self.inplace or self.editable_mode
        super().run()

    def build_extension(self, ext: Extension) -> None:
        compiler = self.compiler
        command = [word for word in compiler.compiler_so if not NOT_PYTHONS.match(word)]
        compiler.set_executables(compiler_so=command)
        compiling, linking = mode_flags()
        plain = not compiling
        if "-DNDEBUG" not in command:  # CFLAGS takes the place of Python's flags
            compiling.insert(0, "-DNDEBUG")
        if plain and not self.in_the_tree and sys.platform.startswith("linux"):
            # Only debuggers and benchmarks/phases.py read symbols (27 KB of a wheel) and the tables
            # for walking the stack (31 KB).
            linking.append("-Wl,--strip-all")
            compiling.append("-fno-asynchronous-unwind-tables")
        if has_openmp(command):
            compiling.append("-fopenmp")
            linking.append("-fopenmp")
        elif builds(command, PROGRAM, ["-fopenmp-simd"]):  # hints for loops, no runtime
            compiling.append("-fopenmp-simd")
        compiling += shlex.split(os.environ.get("CFLAGS", ""))
        warnings = [*WARNINGS, "-Werror"] if switched_on("CDL_WERROR") else WARNINGS

        # Objects of one set of flags live in one folder: changing a switch never mixes two builds.
        words = [*command, *FLAGS, *compiling, *warnings, *self.include_dirs, str(ROOT.resolve())]
        name = hashlib.sha256(" ".join(words).encode()).hexdigest()[:10]
        folder = Path("build", f"objects-{name}")
        folder.mkdir(parents=True, exist_ok=True)
        self.build_temp = str(folder)
        self.force = True  # what is to be made again is decided file by file, in compile_stale
        ext.extra_link_args = linking
        for_kernels = KERNEL_FLAGS if builds(command, PROGRAM, KERNEL_FLAGS) else []

        def flags(source: str) -> list[str]:
            if source not in SOURCES:
                return [*FLAGS, *CYTHON_FLAGS, *compiling]
            if source == BASELINE:
                return [*FLAGS, *BASELINE_FLAGS, *warnings, *compiling]
            return [*FLAGS, *(for_kernels if source in KERNELS else []), *warnings, *compiling]

        compiler.compile = partial(compile_stale, compiler, flags)
        with (folder / "lock").open("w") as lock:  # two builds at once take turns
            fcntl.flock(lock, fcntl.LOCK_EX)
            ext.sources = [binding_as_c(ext, folder), *SOURCES]
            super().build_extension(ext)


def digest(paths: Iterable[str], *words: str) -> str:
    """A text that is another one where a byte of a file or a word is."""
    total = hashlib.sha256("\n".join(words).encode())
    for path in paths:
        total.update(hashlib.sha256(Path(path).read_bytes()).digest())
    return total.hexdigest()


def note(made: str) -> Path:
    """The file beside what was made that has the digest of what it was made of.

    Times of files would not do: a checkout makes sources new, and each build under pip brings
    files of Cython that are new.
    """
    return Path(f"{made}.from")


def is_stale(made: str, parts: str) -> bool:
    """Whether a file is not there, not whole, or made of something else."""
    whole = Path(made).exists() and note(made).exists()
    return not whole or note(made).read_text() != parts


@contextmanager
def noted(made: str, parts: str) -> Iterator[None]:
    """Within it a file is made; only if that ends well it has a note."""
    note(made).unlink(missing_ok=True)
    yield
    note(made).write_text(parts)


def binding_as_c(ext: Extension, folder: Path) -> str:
    """The path of Cython's C of the binding."""
    from Cython import __version__
    from Cython.Build import cythonize

    made, parts = str(folder / "cdl/_core.c"), digest([*BINDING, __file__], __version__)
    if is_stale(made, parts):
        with noted(made, parts):
            cythonize(ext, build_dir=folder, language_level=3, quiet=True, force=True)
    return made


def read_by(source: str) -> list[str]:
    """A C file and all files of csrc/ that it includes, by way of others too."""
    read, unread = set(), {source}
    while unread:
        path = unread.pop()
        read.add(path)
        text = Path(path).read_text(encoding="utf-8")
        beside = Path(path).parent
        for name in re.findall(r'^\s*#\s*include\s+"([^"]+)"', text, re.MULTILINE):
            places = (os.path.normpath(each / name) for each in (beside, Path("csrc")))
            unread.update({place for place in places if os.path.exists(place)} - read)
    return sorted(read)


class Progress:
    """Shows on stderr how many files are compiled: in one line of a terminal, in ten of a log."""

    def __init__(self, total: int) -> None:
        self.done, self.total = 0, total
        self.lock = threading.Lock()
        self.show()

    def count(self) -> None:
        """One more file is compiled."""
        with self.lock:
            self.done += 1
            a_tenth = 10 * self.done // self.total > 10 * (self.done - 1) // self.total
            if a_tenth or sys.stderr.isatty():
                self.show()

    def show(self) -> None:
        """Write the line; in a terminal the next one, or a message of the compiler, covers it."""
        covered = sys.stderr.isatty() and self.done < self.total
        print(
            f"cdl: compiling the core: {self.done} of {self.total} files",
            end="\r" if covered else "\n",
            file=sys.stderr,
            flush=True,
        )


def compile_stale(
    compiler, flags, sources, output_dir=None, macros=None, include_dirs=None, **_
) -> list[str]:
    """What `compiler.compile` does, but on all cores and only what is stale."""
    _, objects, _, defines, build = compiler._setup_compile(
        output_dir, macros, include_dirs, sources, None, None
    )
    parts = {item: digest([*read_by(source), __file__]) for item, (source, _) in build.items()}
    stale = [item for item in build if is_stale(item, parts[item])]
    if not stale:
        return objects
    progress = Progress(len(stale))

    def compile_one(item: str) -> None:
        source, suffix = build[item]
        with noted(item, parts[item]):
            compiler._compile(item, source, suffix, ["-c", *defines], flags(source), [])
        progress.count()

    # Cython's file takes longest, so it starts first.
    stale.sort(key=lambda item: build[item][0] in SOURCES)
    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(compile_one, stale))
    return objects


setup(
    ext_modules=[
        Extension(
            "cdl._core",
            sources=["cdl/_core.pyx", *SOURCES],
            depends=HEADERS,
            include_dirs=["csrc"],
            libraries=["m"],
            define_macros=[("Py_LIMITED_API", "0x030B0000")],
            py_limited_api=True,
        )
    ],
    cmdclass={"build_ext": BuildCore, "build_py": BuildPython, "bdist_wheel": BuildWheel},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
