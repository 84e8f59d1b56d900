"""A clone whose core is not built imports the installed package, whatever comes first.

A copy of the tree's Python files is the clone; the tree itself is what is installed.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import cdl

INSTALLED = Path(cdl.__file__).parent


@pytest.fixture
def clone(root, tmp_path) -> Path:
    """Sources without a core, as `git clone` gives them."""
    ignored = shutil.ignore_patterns("*.so", "__pycache__")
    shutil.copytree(root / "cdl", tmp_path / "clone/cdl", ignore=ignored)
    shutil.copy(root / "pyproject.toml", tmp_path / "clone")
    return tmp_path / "clone"


@pytest.fixture
def run(clone) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run Python in the folder of the clone; what is installed is found behind it."""

    def run(
        *arguments: str, installed: str | None = str(INSTALLED.parent), **variables: str
    ) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **variables}
        environment.pop("PYTHONSAFEPATH", None)
        environment.pop("PYTHONPATH", None)
        if installed is not None:
            environment["PYTHONPATH"] = installed
        return subprocess.run(
            [sys.executable, *([] if installed else ["-S"]), *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=clone,
            env=environment,
            stdin=subprocess.DEVNULL,
        )

    return run


FILES = """if True:
    import sys
    import cdl, cdl._core, cdl._common, cdl.layers, cdl.models
    files = {each.__file__ for name, each in sys.modules.items() if name.split(".")[0] == "cdl"}
    import json
    print(json.dumps([cdl.__spec__.origin, *cdl.__path__, *sorted(files - {None})]))
"""


def test_each_module_is_the_installed_one(run):
    done = run("-W", "error", "-c", FILES)
    assert not done.stderr
    files = json.loads(done.stdout)
    assert len(files) > 100
    assert all(Path(each).is_relative_to(INSTALLED) for each in files)


def first_commands() -> dict[str, tuple[str, ...]]:
    fit = "import cdl; m = cdl.Sequential([cdl.layers.Dense(1)]); m.compile('sgd', 'mse')"
    return {
        "-m info": ("-m", "cdl", "info"),
        "-m help": ("-m", "cdl"),
        "-m script": ("-m", "cdl", "train.py"),
        "script": ("train.py",),
        "-c": ("-c", fit),
        "-c from": ("-c", "from cdl.layers import Dense; from cdl import _core; _core.info()"),
        "-c deep first": ("-c", "import cdl.layers.dense"),
        "-c threads": (
            "-c",
            "import threading as t; f = []\n"
            "def go():\n  import cdl; f.append(cdl.Sequential)\n"
            "ts = [t.Thread(target=go) for _ in range(8)]\n"
            "[x.start() for x in ts]; [x.join() for x in ts]\nassert len(f) == 8",
        ),
        "-m module": ("-m", "train"),
        "-m timeit": ("-m", "timeit", "-n1", "-r1", "import cdl; cdl.layers"),
        "spawn": (
            "-c",
            "import multiprocessing as m, cdl\n"
            "print(m.get_context('spawn').Pool(1).apply(cdl.version))",
        ),
    }


@pytest.mark.parametrize("command", first_commands())
def test_any_first_command_works_in_the_folder_of_a_clone(run, clone, command):
    (clone / "train.py").write_text("import cdl\nassert cdl.ops.add(1.0, 2.0) == 3\n")
    done = run("-W", "error", *first_commands()[command])
    assert done.returncode == 0, done.stderr


def test_without_an_installed_cdl_the_import_says_what_to_do(run, clone):
    for arguments in (("-c", "import cdl"), ("-m", "cdl", "info"), ("-c", "import cdl.layers")):
        done = run(*arguments, installed=None)
        assert done.returncode == 1
        last = done.stderr.splitlines()[-1]
        assert last.startswith(f"ImportError: {clone / 'cdl'} holds the sources of cdl without its")
        assert f"run `pip install .` in {clone}" in last and "make dev" in last


def test_an_installed_cdl_without_its_core_says_so(run, clone):
    (clone / "cdl/_core.pyx").unlink()
    done = run("-c", "import cdl", installed=None)
    assert "lacks the compiled core of cdl for this Python: install cdl-nn again" in done.stderr


def test_another_version_is_told(run, clone):
    path = clone / "pyproject.toml"
    path.write_text(path.read_text().replace('\nversion = "', '\nversion = "9.'))
    installed = clone.parent / "site"
    shutil.copytree(INSTALLED, installed / "cdl", ignore=shutil.ignore_patterns("__pycache__"))
    (installed / "cdl_nn-0.1.0.dist-info").mkdir()
    (installed / "cdl_nn-0.1.0.dist-info/METADATA").write_text("Name: cdl-nn\nVersion: 0.1.0\n")
    done = run("-c", "import cdl; print(cdl.__file__)", installed=str(installed))
    assert done.stdout.startswith(str(installed))
    assert "what is installed is 0.1.0, and the clone 9.0.1.0: run `pip install .`" in done.stderr


def test_a_module_changed_since_the_install_is_told(run, clone):
    path = clone / "cdl/config.py"
    path.write_text(f"{path.read_text()}\nCHANGED = True\n")
    done = run("-c", "import cdl.config; print(hasattr(cdl.config, 'CHANGED'))")
    assert done.stdout == "False\n"
    assert "is older than 1 modules of the clone, such as config.py" in done.stderr


def test_comments_that_a_wheel_lacks_are_no_change(run, clone):
    path = clone / "cdl/config.py"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([f"{lines[0]}  # new", *lines[1:], ""]))
    assert run("-c", "import cdl.config").stderr == ""


def test_a_clone_with_a_core_is_imported_itself(run, clone):
    shutil.copy(INSTALLED / "_core.abi3.so", clone / "cdl")
    done = run("-c", "import cdl, cdl._core as c; print(cdl.__file__, c.__file__)")
    assert all(Path(each).is_relative_to(clone) for each in done.stdout.split())


def test_an_editable_install_elsewhere_is_taken_whole(run, clone):
    finder = f"""if True:
        import sys
        from importlib.util import spec_from_file_location
        class Finder:  # as setuptools installs one for `pip install -e`
            @classmethod
            def find_spec(cls, name, path=None, target=None):
                place = {str(INSTALLED)!r} + name[3:].replace(".", "/")
                if name == "cdl":
                    return spec_from_file_location(name, place + "/__init__.py")
                if name == "cdl._core":
                    return spec_from_file_location(name, place + ".abi3.so")
        sys.meta_path.insert(3, Finder)  # behind Python's own
    """
    done = run("-c", f"{finder}\n{FILES}", installed=str(clone.parent / "nothing"))
    files = json.loads(done.stdout)
    assert all(Path(each).is_relative_to(INSTALLED) for each in files), files
