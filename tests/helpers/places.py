"""Folders outside a test's own in which it could leave files, or find those of an earlier run.

The tests run with a HOME, a TMPDIR and a KERAS_HOME that are new and empty; `Places.left` lists
what has come to be there, or among the sources.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

# Files of tools that run beside the tests: builds, caches, version control.
BESIDE = {"build", "dist", "__pycache__", "docs/api", "demo.png"}
# Prefixes of files of other libraries, which look at no test's folder: scikit-learn, joblib, Dask,
# multiprocessing, Hugging Face, PyTorch and ONNX Runtime for as long as the process lasts; settings
# of Dask, and those that real Keras writes when it is imported.
OTHERS = (
    *("sklearn_testing_", "joblib_memmapping_folder_", "dask-", "pymp-", "hf_datasets-"),
    *("torchinductor_", ".ses", ".config", "keras.json"),
    *("org.chromium.", ".org.chromium.", "playwright", ".cache", ".pki", ".local"),
    *(".rustup", ".cargo"),
)


class Places:
    """New folders for HOME, TMPDIR and KERAS_HOME, watched together with the sources.

    Args:
        sources: the folder of the sources.

    Attributes:
        variables: by name of a variable of the environment its value.
    """

    def __init__(self, sources: Path) -> None:
        home, shared = Path.home(), Path(tempfile.gettempdir())
        self.folder = Path(tempfile.mkdtemp(prefix="cdl-tests-"))
        self._watched = [self.folder / name for name in ("home", "tmp", "keras")]
        for each in (*self._watched, self.folder / "caches"):
            each.mkdir()
        self.variables = {
            "HOME": str(self._watched[0]),
            "TMPDIR": str(self._watched[1]),
            "KERAS_HOME": str(self._watched[2]),
            # Lists of fonts and downloads of other libraries are not the tests'.
            **dict.fromkeys(("XDG_CACHE_HOME", "XDG_CONFIG_HOME"), str(self.folder / "caches")),
            "MPLCONFIGDIR": str(self.folder / "caches"),
            # pytest's own folder, which shows what failed, stays where it is.
            "PYTEST_DEBUG_TEMPROOT": os.environ.get("PYTEST_DEBUG_TEMPROOT", str(shared)),
        }
        for name, file in (
            ("PIP_CONFIG_FILE", home / ".config" / "pip" / "pip.conf"),
            ("GIT_CONFIG_GLOBAL", home / ".gitconfig"),
            # pip asks `rustc` for its version, and rustup's would make these folders.
            ("RUSTUP_HOME", home / ".rustup"),
            ("CARGO_HOME", home / ".cargo"),
        ):
            if name not in os.environ and file.exists():
                self.variables[name] = str(file)
        self._sources = sources
        self._known = self._top()
        self._known_sources = self.sources()

    def use(self) -> None:
        """Have this process, and those that it starts, use the new folders."""
        os.environ.update(self.variables)
        tempfile.tempdir = None  # found again by TMPDIR

    def left(self) -> list[str]:
        """The entries that came since the last call; it takes some 50 microseconds."""
        found, known = self._top(), self._known
        self._known = found
        return sorted(found - known)

    def left_in_sources(self) -> list[str]:
        """The files that came among the sources since the last call; that takes milliseconds."""
        found, known = self.sources(), self._known_sources
        self._known_sources = found
        new = found - known
        return sorted(new - self._tracked()) if new else []

    def _tracked(self) -> set[str]:
        """The files that git knows: a branch that was changed meanwhile leaves such."""
        command = ["git", "-C", str(self._sources), "ls-files"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError:  # there is no git
            return set()
        return set(done.stdout.split("\n"))

    def remove(self) -> None:
        """Remove the new folders."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _top(self) -> set[str]:
        there = {
            f"{each}/{name}"
            for each in self._watched
            for name in os.listdir(each)
            if not name.startswith(OTHERS)
        }
        return there | {name for name in os.listdir(self._sources) if not _is_beside(name)}

    def sources(self) -> set[str]:
        """The files of the sources, but for those of tools."""
        found: set[str] = set()
        for folder, inner, files in os.walk(self._sources):
            under = os.path.relpath(folder, self._sources)
            under = "" if under == os.curdir else f"{under}/"
            inner[:] = [name for name in inner if not _is_beside(under + name)]
            found |= {under + name for name in files if not _is_beside(under + name)}
        return found


def _is_beside(path: str) -> bool:
    name = path.rpartition("/")[2]
    return (
        name.startswith(".")
        or name.endswith((".egg-info", ".so", ".pyc", ".o", ".gcda", ".gcno"))
        or not BESIDE.isdisjoint((path, name))
    )
