"""The sdist builds, and what comes out is one small wheel for every Python.

What a build tells and what it leaves as it is are tried on a core of three files.
"""

import ast
import json
import os
import pty
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

pytestmark = [pytest.mark.builds, pytest.mark.timeout(2000)]  # compiles all of the core, twice
NOT_SOURCES = (".*", "build", "dist", "*.so", "*.egg-info", "__pycache__", "demo.png")


def build(command: str, source: Path, output: Path, **switches: str) -> Path:
    """Call setup.py in `source`; returns the one file that it made."""
    subprocess.run(
        [sys.executable, "setup.py", "-q", command, "--dist-dir", str(output)],
        cwd=source,
        env={**os.environ, **switches},
        check=True,
        capture_output=True,
    )
    (made,) = output.iterdir()
    return made


@pytest.fixture(scope="module")
def sdist(root, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    shutil.copytree(root, folder / "tree", ignore=shutil.ignore_patterns(*NOT_SOURCES))
    return build("sdist", folder / "tree", folder / "dist")


@pytest.fixture(scope="module")
def unpacked(sdist, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (tree,) = folder.iterdir()
    return tree


@pytest.fixture(scope="module")
def wheel(unpacked, tmp_path_factory) -> Path:
    return build("bdist_wheel", unpacked, tmp_path_factory.mktemp("wheel"), CC="gcc")


def test_wheel_is_for_every_python_from_3_11(wheel):
    assert "-cp311-abi3-" in wheel.name


def test_wheel_is_not_too_large(wheel, root, monkeypatch):
    monkeypatch.syspath_prepend(root / "tools" / "wheel")
    from zopfli_zip import LARGEST

    assert wheel.stat().st_size < LARGEST


def test_wheel_holds_the_packages_the_core_and_its_types_only(wheel, root):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    python = {path.relative_to(root).as_posix() for path in root.glob("cdl/**/*.py")}
    assert names == python | {"cdl/_core.abi3.so", "cdl/_core.pyi", "cdl/py.typed"}


def test_modules_of_the_wheel_are_those_of_the_tree_without_comments_and_docstrings(wheel, root):
    with zipfile.ZipFile(wheel) as archive:
        for name in (
            "cdl/__init__.py",
            "cdl/layers/layer.py",
            "cdl/config.py",
            "cdl/_ir/fusion.py",
        ):
            found, own = archive.read(name).decode(), (root / name).read_text()
            assert len(found) < len(own) or "#" not in own
            trees = [ast.parse(text) for text in (found, own)]
            for node in (each for tree in trees for each in ast.walk(tree)):
                described = isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
                if described and ast.get_docstring(node) is not None:
                    node.body[0] = ast.Pass()
            assert len({ast.dump(tree) for tree in trees}) == 1
            assert found.count("\n") == own.count("\n")


DOCSTRINGS = """
import importlib, inspect, json
import cdl

found, modules = {}, [cdl]
for module in modules:
    for name in dir(module):
        thing = getattr(module, name, None)
        if name.startswith("_"):
            continue
        if inspect.ismodule(thing):
            if thing.__name__.startswith("cdl.") and thing not in modules:
                modules.append(thing)
        elif callable(thing):
            path = f"{module.__name__}.{name}"
            found[path] = inspect.getdoc(thing)
            for method in dir(thing) if inspect.isclass(thing) else ():
                if not method.startswith("_"):
                    found[f"{path}.{method}"] = inspect.getdoc(getattr(thing, method))
print(json.dumps(found))
"""


def test_wheel_has_the_docstrings_of_all_that_users_name(wheel, run_python, root, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    found, own = (
        json.loads(
            run_python(
                DOCSTRINGS,
                env={**os.environ, "PYTHONPATH": str(path), "PYTHONSAFEPATH": "1"},
            ).stdout
        )
        for path in (tmp_path, root)
    )
    assert len(own) > 5000
    assert [name for name in own if found[name] != own[name]] == []


def test_wheel_works_where_it_is_unpacked(wheel, run_python, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    done = run_python(
        "import cdl; from cdl import _core; print(_core.__file__); assert _core.info()",
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site"), "PYTHONSAFEPATH": "1"},
    )
    assert done.stdout.startswith(str(tmp_path / "site"))


def test_core_exports_one_symbol(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    listing = subprocess.run(
        ["nm", "-D", "--defined-only", str(tmp_path / "cdl/_core.abi3.so")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    symbols = {line.split()[-1] for line in listing.splitlines()} - {"_init", "_fini"}
    assert symbols == {"PyInit__core"}


def needed(*names: str) -> Iterator[Path]:
    """Files and folders of installed packages, and of all that these need."""
    found, left = set(), list(names)
    while left:
        name = re.match(r"[\w.-]+", left.pop())[0].lower().replace("_", "-")
        if name not in found:
            found.add(name)
            package = metadata.distribution(name)
            left += [each for each in package.requires or () if "extra ==" not in each]
            roots = {file.parts[0] for file in package.files} - {"..", "__pycache__"}
            yield from (Path(package.locate_file(root)) for root in roots)


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> Path:
    """A new environment with the packages that cdl asks an index for, and without cdl."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    for path in needed("setuptools", "cython", "zopfli", "numpy", "rich", "h5py", "scikit-learn"):
        if not (packages / path.name).exists():
            (packages / path.name).symlink_to(path)
    return folder


def test_what_readme_and_the_start_pages_say_works_in_a_clone_and_outside(
    root, environment, tmp_path
):
    clone = tmp_path / "clone"
    shutil.copytree(root, clone, ignore=shutil.ignore_patterns(*NOT_SOURCES))
    (clone / "train.py").write_text("import keras\nprint(keras.layers.Dense(2).units)\n")
    (tmp_path / "outside").mkdir()
    shutil.copy(clone / "train.py", tmp_path / "outside")
    pip = f"{sys.executable} -m pip --python {environment}/bin/python install -q "
    variables = {**os.environ, "CFLAGS": "-O0", "PATH": f"{environment}/bin:{os.environ['PATH']}"}
    for name in ("PYTHONPATH", "PYTHONSAFEPATH"):
        variables.pop(name, None)

    def run(command: str, folder: Path) -> str:
        command = command.replace("pip install ", f"{pip} --no-index --no-build-isolation ")
        done = subprocess.run(
            command,
            shell=True,
            cwd=folder,
            env=variables,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command} in {folder}:\n{done.stdout}{done.stderr}"
        assert "warn" not in done.stderr.lower(), done.stderr
        return done.stdout

    for page in ("README.md", "docs/get-started/keras.md", "docs/get-started/scikit-learn.md"):
        text = (clone / page).read_text()
        said = re.findall(r"^(?:    |\$ )((?:pip install|python -m cdl) .*)", text, re.MULTILINE)
        assert [each.split()[0] for each in said[:2]] == ["pip", "python"], page
        for command in said:
            run(command, clone)
            if command.startswith("python"):
                run(command, tmp_path / "outside")
        run("pip uninstall -y cdl-nn".replace("pip", f"{pip.removesuffix('install -q ')}"), clone)
    run("pip install .", clone)
    first = re.search(r"```python\n(.*?)```", (clone / "README.md").read_text(), re.DOTALL)[1]
    for folder in (clone, tmp_path / "outside"):
        (folder / "first.py").write_text(first)
        assert "accuracy on data it has not seen: 0.9" in run("python first.py", folder)
        assert "site-packages" in run("python -c 'import cdl; print(cdl.__file__)'", folder)


SMALL_TREE = {
    "cdl/_core.pyx": 'include "_binding/part.pxi"\n',
    "cdl/_binding/part.pxi": "cdef extern int one()\ndef value():\n    return one()\n",
    "csrc/one.c": '#include "one.h"\nint one(void);\nint one(void) { return ONE; }\n',
    "csrc/two.c": '#include "one.h"\nint two(void);\nint two(void) { return 2 * ONE; }\n',
    "csrc/one.h": '#include "inner.h"\n',
    "csrc/inner.h": "#define ONE 1\n",
}


@pytest.fixture
def small_tree(root, tmp_path, monkeypatch) -> Path:
    """The real setup.py above a core that is compiled in a second."""
    monkeypatch.setenv("CFLAGS", "-O0")
    for name, text in SMALL_TREE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    shutil.copy(root / "setup.py", tmp_path)
    return tmp_path


IN_PLACE = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]


def build_in_place(tree: Path) -> str:
    """Build as `make` does; the output of the build."""
    return subprocess.run(IN_PLACE, cwd=tree, capture_output=True, text=True, check=True).stderr


def test_flags_of_the_users_leave_asserts_out(small_tree):
    (small_tree / "csrc/two.c").write_text("#ifndef NDEBUG\n#error asserts\n#endif\n")
    build_in_place(small_tree)  # with CFLAGS=-O0


def test_a_build_tells_how_far_it_is(small_tree):
    lines = [f"cdl: compiling the core: {k} of 3 files\n" for k in range(4)]
    assert build_in_place(small_tree) == "".join(lines)


def test_in_a_terminal_it_tells_that_in_one_line(small_tree):
    ours, theirs = pty.openpty()
    subprocess.run(IN_PLACE, cwd=small_tree, stderr=theirs, check=True)
    os.close(theirs)
    text = os.read(ours, 10_000).decode()
    os.close(ours)
    texts = [f"cdl: compiling the core: {k} of 3 files" for k in range(4)]
    assert text == "\r".join(texts) + "\r\n"


@pytest.mark.parametrize(
    "changed, old, new, compiled",
    [
        ("csrc/one.c", "", "", 0),
        ("csrc/one.c", "ONE", "ONE + 1", 1),
        ("csrc/inner.h", "1", "3", 2),
        ("cdl/_binding/part.pxi", "value", "number", 1),
    ],
)
def test_what_was_compiled_is_used_again_until_a_source_changes(
    small_tree, changed, old, new, compiled
):
    build_in_place(small_tree)
    objects = {path: path.stat().st_mtime_ns for path in small_tree.glob("build/**/*.o")}
    assert len(objects) == 3
    for path in small_tree.glob("c*/**/*"):  # as a checkout does, and pip with files of Cython's
        path.touch()
    path = small_tree / changed
    path.write_text(path.read_text().replace(old, new))
    build_in_place(small_tree)
    assert sum(path.stat().st_mtime_ns != made for path, made in objects.items()) == compiled


def test_objects_of_other_flags_are_not_used(small_tree, monkeypatch):
    build_in_place(small_tree)
    monkeypatch.setenv("CFLAGS", "-O0 -DOTHER")
    assert build_in_place(small_tree).endswith("3 of 3 files\n")


def test_an_object_that_was_left_in_the_middle_is_made_again(small_tree):
    source = small_tree / "csrc/one.c"
    build_in_place(small_tree)
    text = source.read_text()
    source.write_text("int one(void) { return }\n")
    with pytest.raises(subprocess.CalledProcessError):
        build_in_place(small_tree)
    for made in small_tree.glob("build/**/one.o"):
        made.write_text("")
    source.write_text(text)
    assert build_in_place(small_tree).endswith("1 of 1 files\n")


def test_without_openmp_it_builds_and_trains_on_all_threads(unpacked, run_python, tmp_path):
    wheel = build(
        "bdist_wheel", unpacked, tmp_path / "wheel", CC="gcc", CDL_NO_OPENMP="1", CFLAGS="-O0"
    )
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "PYTHONSAFEPATH": "1"}
    environment.pop("OMP_NUM_THREADS", None)
    report = run_python("-m", "cdl", "info", env=environment).stdout
    assert "openmp:   no\n" in report
    run_python(
        """if True:
        import os, threading, time
        import numpy as np
        from cdl import _core
        from cdl.layers import Dense, Input
        from cdl.models import Sequential
        from cdl.utils import set_random_seed

        def fit():
            set_random_seed(0)
            model = Sequential([Input((256,)), Dense(512, "relu"), Dense(1)])
            model.compile("sgd", "mean_squared_error")
            x = np.ones((512, 256), np.float32)
            model.fit(x, x[:, :1], batch_size=128, epochs=2, verbose=0)

        def tasks():
            return len(os.listdir("/proc/self/task"))

        before = tasks()
        fit()
        of_one = tasks() - before
        assert (of_one > 0) == (_core.info()["threads"] > 1), "the core has threads to use"
        fit()
        assert tasks() - before == of_one, "threads are kept"
        other = threading.Thread(target=fit)  # has a pool of its own, which ends with it
        other.start()
        other.join()
        for _ in range(6000):  # Python's part of a thread ends before its pool does
            if tasks() - before == of_one:
                break
            time.sleep(0.01)
        assert tasks() - before == of_one
        child = os.fork()
        if child == 0:
            fit()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        """,
        env=environment,
    )
