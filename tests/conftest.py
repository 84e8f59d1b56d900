"""Fixtures of all tests: a fresh interpreter, the root folder, checks of settings and files."""

import os
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from places import Places

import cdl
from cdl import _core, config, distribution
from cdl._common import clock as common_clock

# rich, which prints what tests compare, would heed them; services of CI set some.
for _name in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
    os.environ.pop(_name, None)

# A shell lets jobs in its background ignore Ctrl-C, which tests of interrupts send.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

PLACES = Places(Path(__file__).parent.parent)
PLACES.use()

HANGS = 500  # seconds after which a process is not slow, whatever else the machine does


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--slow` runs the tests marked `slow`, and only those; `--every 4` a quarter of each file."""
    parser.addoption("--slow", action="store_true", help="run the slow tests, and only those")
    parser.addoption("--every", type=int, default=1, help="run each N-th test of a file only")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the slow tests to `--slow`, and with `--every` most others to other runs."""
    wanted, every = config.getoption("--slow"), config.getoption("--every")
    count: Counter[Path] = Counter()
    chosen, left = [], []
    for item in items:
        is_chosen = ("slow" in item.keywords) is wanted and count[item.path] % every == 0
        count[item.path] += 1
        (chosen if is_chosen else left).append(item)
    config.hook.pytest_deselected(items=left)
    items[:] = chosen


_states: dict[int, Any] = {}  # of the modules' generators, as they were once all was imported


@pytest.fixture(autouse=True)
def seeded(request: pytest.FixtureRequest) -> None:
    """Start each test from the same random numbers, whichever tests ran before it.

    Those of cdl and of NumPy, and the generator `RNG` of the test's module.
    """
    cdl.utils.set_random_seed(7)
    generator = getattr(request.module, "RNG", None)
    if generator is not None:
        bits = generator.bit_generator
        bits.state = _states.setdefault(id(generator), bits.state)


# Variables that cdl and processes of tests read; imports set others, in whichever test comes first.
VARIABLES = (
    *(b"OMP_NUM_THREADS", b"OPENBLAS_NUM_THREADS", b"MKL_NUM_THREADS", b"LOKY_MAX_CPU_COUNT"),
    *(b"CDL_ISA", b"CDL_CACHE", b"CDL_DISTRIBUTION_TIMEOUT", b"KERAS_HOME", b"HOME", b"TMPDIR"),
    *(b"PATH", b"PYTHONPATH", b"PYTHONSAFEPATH", b"COLUMNS", b"TERM", b"LANG", b"MPLBACKEND"),
)


def process_settings() -> dict[str, Any]:
    """The settings of the process that later tests, and processes that they start, inherit."""
    variables = os.environ._data  # type: ignore[attr-defined] # os.environ takes 20 times as long
    threads = _core.limit_threads(0)
    _core.limit_threads(threads)
    return {
        **dict(zip(VARIABLES, map(variables.get, VARIABLES), strict=True)),
        "the working directory": os.getcwd(),
        "the handler of SIGINT": signal.getsignal(signal.SIGINT),
        "numpy.geterr": np.geterr(),
        "floatx": config.floatx(),
        "image_data_format": config.image_data_format(),
        "dtype_policy": config.dtype_policy(),
        "interactive logging": config.is_interactive_logging_enabled(),
        "traceback filtering": config.is_traceback_filtering_enabled(),
        "max_epochs": config.max_epochs(),
        "max_steps_per_epoch": config.max_steps_per_epoch(),
        "the distribution": distribution.distribution(),
        "the limit of threads": threads,
    }


@pytest.fixture(autouse=True)
def leaves_settings() -> Iterator[None]:
    """A test that leaves a setting of the process to the tests after it fails, by its own name."""
    before = process_settings()
    yield
    after = process_settings()
    left = {name: (was, after[name]) for name, was in before.items() if after[name] != was}
    assert not left, f"left to later tests, as (before, after): {left}"


@pytest.fixture(autouse=True)
def leaves_no_file() -> Iterator[None]:
    """A test that leaves a file outside its own folder fails, by its own name."""
    yield
    left = PLACES.left()
    assert not left, f"left outside tmp_path: {left}"


@pytest.fixture(autouse=True, scope="module")
def leaves_no_file_in_sources() -> Iterator[None]:
    """The last test of a module fails if one of them left a file among the sources."""
    yield
    left = PLACES.left_in_sources()
    assert not left, f"left among the sources: {left}"


def pytest_unconfigure() -> None:
    """Remove the folders of the run; a process that a test forked never comes here."""
    PLACES.remove()


class SetClock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    """The time by which cdl's Python decides, for claims that no busy machine may change."""
    clock = SetClock()
    monkeypatch.setattr(common_clock, "now", clock)
    return clock


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder that holds the sources."""
    return Path(__file__).parent.parent


@pytest.fixture
def run_python(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run code or arguments (`-m cdl info`) in a fresh interpreter, in an empty folder.

    Warnings are errors there too. It must succeed unless `check=False`.
    """

    def run(
        *arguments: str, check: bool = True, **kwargs: object
    ) -> subprocess.CompletedProcess[str]:
        if len(arguments) == 1:
            arguments = ("-c", *arguments)
        kwargs.setdefault("cwd", tmp_path)
        kwargs.setdefault("timeout", HANGS)
        done = subprocess.run(
            [sys.executable, "-W", "error", *arguments],
            capture_output=True,
            text=True,
            check=False,
            **kwargs,
        )
        if check and done.returncode:
            pytest.fail(f"exit status {done.returncode} from {arguments}:\n{done.stderr}")
        return done

    return run


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Write a script, `a folder/train.py`, and run it by Python with options before its name."""
    folder = tmp_path / "a folder"
    folder.mkdir()
    (folder / "helper.py").write_text("def fail():\n    raise OSError('from helper')\n")

    def run(
        text: str | None,
        *how: str,
        arguments: tuple[str, ...] = ("--units", "3", "x y"),
        cwd: Path = tmp_path,
        name: str = "a folder/train.py",
    ) -> subprocess.CompletedProcess[str]:
        if text is not None:
            (tmp_path / "a folder" / "train.py").write_text(textwrap.dedent(text).lstrip("\n"))
        return subprocess.run(
            [sys.executable, *how, name, *arguments],
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=HANGS,
            check=False,
        )

    return run


REFUSED = """

def refused(error, call, *words):
    try:
        call()
    except error as found:
        assert all(word in str(found) for word in words), found
    else:
        raise AssertionError("nothing was raised")

"""


@pytest.fixture
def claims(script: Callable[..., Any], request: pytest.FixtureRequest) -> Callable[..., None]:
    """Run lines by `python -m cdl`, after BEGIN of the test's module, and expect each to hold."""

    def run(*lines: str) -> None:
        text = request.module.BEGIN + REFUSED + "\n".join(lines) + "\nprint('all')"
        done = script(text, "-W", "error", "-m", "cdl")
        assert done.stdout.endswith("all\n"), done.stderr

    return run
