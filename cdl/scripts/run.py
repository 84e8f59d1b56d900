"""`python -m cdl train.py`: run a script that imports Keras on cdl.

The script sees `sys.argv`, `sys.path[0]`, `__main__` and `__file__` of `python train.py`, and
exit status and tracebacks match too.
"""

import atexit
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType, TracebackType

from cdl._common import dtypes
from cdl.scripts import imports

_CANNOT_OPEN = 2  # Python's own exit status for a script that it cannot open


def run(script: str, arguments: Sequence[str]) -> int:
    """Run a script with arguments and return the exit status for the process."""
    path = os.path.join(os.getcwd(), script)  # not normalized, since Python does not normalize it
    try:
        source = Path(path).read_bytes()
    except OSError as error:
        reason = f"[Errno {error.errno}] {os.strerror(error.errno or 0)}"
        print(f"{sys.executable}: can't open file {path!r}: {reason}", file=sys.stderr)
        return _CANNOT_OPEN
    imports.install()
    dtypes.narrow_float64()
    atexit.register(_end_by_signal)  # registered first, so called after the handlers of the script
    sys.argv = [script, *arguments]
    if not sys.flags.safe_path:
        sys.path[0] = os.path.dirname(os.path.realpath(path))
    main = _main_module(path)
    before = sys.modules["__main__"]
    sys.modules["__main__"] = main
    try:
        exec(compile(source, path, "exec", dont_inherit=True), vars(main))
    except SystemExit:
        raise
    except BaseException as error:
        return _ended_by(error)
    finally:
        # A reference keeps the runner's module alive, whose globals the script may still use.
        main.__dict__["__cdl__"] = before
    return 0


def _main_module(path: str) -> ModuleType:
    """The `__main__` module of the script."""
    from importlib.machinery import SourceFileLoader

    main = ModuleType("__main__")
    main.__dict__.update(
        __file__=path,
        __cached__=None,
        __loader__=SourceFileLoader("__main__", path),
        __package__=None,
        __spec__=None,
        __builtins__=sys.modules["builtins"],
    )
    if sys.version_info < (3, 14):
        main.__annotations__ = {}
    return main


def _ended_by(error: BaseException) -> int:
    """Print an exception without the frames of the runner, and return the exit status."""
    traceback = _of_script(error.__traceback__)
    kind = type(error)
    sys.last_type, sys.last_value, sys.last_traceback = kind, error, traceback
    if sys.version_info >= (3, 12):
        sys.last_exc = error
    sys.stdout.flush()
    sys.excepthook(kind, error.with_traceback(traceback), traceback)
    _Interrupted.is_so = isinstance(error, KeyboardInterrupt)
    return 1


def _of_script(traceback: TracebackType | None) -> TracebackType | None:
    """The traceback without frames of this file and of the import hook."""
    lines = []
    while traceback is not None:
        lines.append(traceback)
        traceback = traceback.tb_next
    found: TracebackType | None = None
    for each in reversed(lines):
        if each.tb_frame.f_code.co_filename not in (__file__, imports.__file__):
            found = TracebackType(found, each.tb_frame, each.tb_lasti, each.tb_lineno)
    return found


class _Interrupted:
    """Flag: Ctrl-C has ended the script."""

    is_so = False


def _end_by_signal() -> None:
    """Die by SIGINT after Ctrl-C, as Python does, once exit handlers have run."""
    if _Interrupted.is_so:
        sys.stdout.flush()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
