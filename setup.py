"""How the compiled core is built; everything that is only data is in pyproject.toml.

One extension holds the whole core. Its C files are compiled with strict warnings, Cython's
generated file with none, all of them in parallel and only where a source or a header is newer.

The environment can ask for another build of the same sources:

    CDL_SANITIZE=address,undefined   with these sanitizers and with asserts
    CDL_COVERAGE=1                   counts lines for gcov
    CDL_WERROR=1                     a warning in our C is an error
    CDL_NO_OPENMP=1                  on one thread, as if the compiler had no OpenMP
"""

import fcntl
import hashlib
import os
import re
import shlex
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent
HEADERS = sorted(
    str(path.relative_to(ROOT))
    for kind in ("*.h", "*.def")
    for path in ROOT.glob(f"csrc/**/{kind}")
)
SOURCES = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("csrc/**/*.c"))

# -std=c11 turns contraction off, and without it a product-sum is two instructions, not one FMA.
# The errno and trap flags let the compiler vectorize sqrtf and selects; they change no result.
FLAGS = ["-std=c11", "-O3", "-g0", "-fvisibility=hidden"]
FLAGS += ["-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"]
WARNINGS = ["-Wall", "-Wextra", "-Wshadow", "-Wconversion"]
WARNINGS += ["-Wstrict-prototypes", "-Wmissing-prototypes"]
# Generated C is not held to style, but a declaration that does not fit cdl.h is an error there too.
CYTHON_WARNINGS = ["-Werror=incompatible-pointer-types"]
# Of the flags that Python itself was built with these are ours to choose.
NOT_PYTHONS = re.compile(
    r"-(O\w*|g\d?|W(?!l,|p,|a,)\S*|fwrapv|fno-strict-overflow|flto\S*|ffat-lto-objects|std=\S*)$"
)
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
        compiling = [*linking, "-O1", "-g", "-fno-omit-frame-pointer", "-UNDEBUG"]
        if "undefined" in sanitizers:
            compiling.append("-fno-sanitize-recover=undefined")
    if switched_on("CDL_COVERAGE"):
        linking = [*linking, "--coverage"]
        compiling += ["--coverage", "-fprofile-update=atomic", "-O1"]
    return compiling, linking


def has_openmp(compiler: list[str]) -> bool:
    """Whether a program with OpenMP compiles and links."""
    if switched_on("CDL_NO_OPENMP"):
        return False
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "openmp.c")
        source.write_text(OPENMP_PROGRAM)
        command = [*compiler, "-fopenmp", str(source), "-o", str(Path(folder, "openmp"))]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


class BuildCore(build_ext):
    """Compiles our C and Cython's C each by its own rules."""

    def build_extension(self, ext: Extension) -> None:
        from Cython.Build import cythonize

        compiler = self.compiler
        command = [word for word in compiler.compiler_so if not NOT_PYTHONS.match(word)]
        compiler.set_executables(compiler_so=command)
        compiling, linking = mode_flags()
        if has_openmp(command):
            compiling.append("-fopenmp")
            linking.append("-fopenmp")
        else:
            print(
                "cdl: this compiler has no OpenMP, the core will run on one thread", file=sys.stderr
            )
        compiling += shlex.split(os.environ.get("CFLAGS", ""))
        warnings = [*WARNINGS, "-Werror"] if switched_on("CDL_WERROR") else WARNINGS

        # Objects of one set of flags live in one folder: changing a switch never mixes two builds.
        words = [*command, *FLAGS, *compiling, *warnings, *self.include_dirs, str(ROOT.resolve())]
        name = hashlib.sha256(" ".join(words).encode()).hexdigest()[:10]
        folder = Path("build", f"objects-{name}")
        folder.mkdir(parents=True, exist_ok=True)
        self.build_temp = str(folder)
        self.force = True  # what is fresh is decided file by file, in compile_stale
        ext.extra_link_args = linking
        compiler.compile = partial(
            compile_stale,
            compiler,
            [*FLAGS, *warnings, *compiling],
            [*FLAGS, *CYTHON_WARNINGS, *compiling],
        )
        with (folder / "lock").open("w") as lock:  # two builds at once take turns
            fcntl.flock(lock, fcntl.LOCK_EX)
            made = cythonize(ext, build_dir=folder, language_level=3, quiet=not self.verbose)
            ext.sources = made[0].sources
            super().build_extension(ext)


def compile_stale(
    compiler, our_flags, cython_flags, sources, output_dir=None, macros=None, include_dirs=None, **_
) -> list[str]:
    """What `compiler.compile` does, but on all cores and only where something changed."""
    _, objects, _, defines, build = compiler._setup_compile(
        output_dir, macros, include_dirs, sources, None, None
    )
    newest = max(Path(path).stat().st_mtime for path in [*HEADERS, __file__])

    def compile_one(item: str) -> None:
        source, suffix = build[item]
        made = Path(item).stat().st_mtime if Path(item).exists() else 0.0
        if made <= max(newest, Path(source).stat().st_mtime):
            flags = our_flags if source in SOURCES else cython_flags
            compiler._compile(item, source, suffix, ["-c", *defines], flags, [])

    # Cython's file takes longest, so it starts first.
    ours_last = sorted(build, key=lambda item: build[item][0] in SOURCES)
    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(compile_one, ours_last))
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
    cmdclass={"build_ext": BuildCore},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
