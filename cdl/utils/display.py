"""Display of progress: the text of a line, and its place on the screen.

A terminal gets a bar that rich keeps up to date, a notebook the same as HTML that is replaced, and
anything else (a file, a pipe, CI) one plain line when the work is done.
"""

import sys
from collections.abc import Mapping
from html import escape
from itertools import accumulate
from typing import Any, Protocol

import numpy as np

from cdl import config
from cdl._common import clock as common_clock
from cdl.utils.job import job

WIDTH = 20  # of the bar, in characters
INTERVAL = 0.05  # seconds between two drawings: an eye sees no more
_CSS = {"bold": "font-weight:bold", "green": "color:green", "dim": "opacity:0.3"}
_SHOWN = 20  # lines in a notebook while a run goes on
_MORE = " …"  # in the place of values that a line has no room for

Pieces = list[tuple[str, str]]  # (text, rich style)


class Display(Protocol):
    """Base of displays, which show one line at a time."""

    def draw(self, pieces: Pieces) -> None:
        """Show the current state of the line."""

    def finish(self, pieces: Pieces) -> None:
        """Show the final state of the line."""

    def say(self, text: str) -> None:
        """Show a line that stays."""

    def close(self) -> None:
        """Restore the screen, whatever happened."""


def say(text: str) -> None:
    """Print a message, or hand it to the logger "cdl" where `config` says that output is a log."""
    if job.number is not None:
        text = job.front + text.strip()
    if config.is_interactive_logging_enabled():
        print(f"{text}\n", end="")  # in one piece, since others may print meanwhile
    else:
        import logging

        logging.getLogger("cdl").info(text.strip())


def is_notebook() -> bool:
    """Whether output goes to a Jupyter cell; such a kernel has loaded IPython."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return type(shell).__name__ == "ZMQInteractiveShell"


def is_terminal() -> bool:
    """Whether stdout is a terminal."""
    out = sys.stdout
    return out is not None and hasattr(out, "isatty") and bool(out.isatty())


unwatched: Any = None  # the stdout of which `is_watched` has last said that nobody looks at it


def is_watched() -> bool:
    """Whether stdout can show a line that changes."""
    global unwatched  # noqa: PLW0603 - for predict, which has no time to ask
    if is_terminal() or is_notebook():
        return True
    unwatched = sys.stdout
    return False


class PlainDisplay:
    """Display for files: one line when the work is done."""

    def draw(self, pieces: Pieces) -> None:
        """Do nothing: a line in a file cannot change."""

    def finish(self, pieces: Pieces) -> None:
        """Print the line, in one piece."""
        print(f"{_text(pieces)}\n", end="", flush=True)

    def say(self, text: str) -> None:
        """Print the line on its own."""
        print(text)

    def close(self) -> None:
        """Do nothing: no screen to restore."""


class OverwritingDisplay(PlainDisplay):
    """Display that overwrites its line, after a carriage return."""

    def __init__(self) -> None:
        self._length = 0

    def draw(self, pieces: Pieces) -> None:
        """Write the line over the last one."""
        text = _text(pieces)
        print("\r" + text.ljust(self._length), end="", flush=True)
        self._length = len(text)

    def finish(self, pieces: Pieces) -> None:
        """Write the line over the last one, and end it."""
        self.draw(pieces)
        print()
        self._length = 0


class NotebookDisplay:
    """Display for notebooks: all lines of a run in one output of the cell.

    A saved notebook has each line once, as it was last. While a run goes on its last lines are
    shown: the page is sent again each time.
    """

    def __init__(self) -> None:
        self._lines: list[Pieces] = []
        self._handle: Any = None
        self._sent = float("-inf")

    def draw(self, pieces: Pieces) -> None:
        """Show the line below the finished ones."""
        self._send([*self._lines[1 - _SHOWN :], pieces])

    def finish(self, pieces: Pieces) -> None:
        """Keep the line, shown with the next one if little time has passed."""
        self._lines.append(pieces)
        if common_clock.now() - self._sent >= INTERVAL:
            self._send(self._lines[-_SHOWN:])

    def say(self, text: str) -> None:
        """Keep a line of text."""
        self.finish([(text, "")])

    def close(self) -> None:
        """Show all lines kept so far."""
        if self._lines:
            self._send(self._lines)
        self._lines, self._handle = [], None

    def _send(self, lines: list[Pieces]) -> None:
        from IPython.display import display as show

        self._sent = common_clock.now()
        made = "\n".join("".join(self._html(*piece) for piece in pieces) for pieces in lines)
        html = f'<pre style="white-space:pre-wrap">{made}</pre>'
        data = {"text/html": html, "text/plain": "\n".join(map(_text, lines))}
        if self._handle is None:
            self._handle = show(data, raw=True, display_id=True)
        else:
            self._handle.update(data, raw=True)

    def _html(self, text: str, style: str) -> str:
        css = _CSS.get(style)
        return f'<span style="{css}">{escape(text)}</span>' if css else escape(text)


class TerminalDisplay:
    """Display for terminals: a live line by rich; other output appears above it."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(file=sys.stdout, highlight=False)
        self._live: Any = None

    def draw(self, pieces: Pieces) -> None:
        """Update the live line; the first call opens it."""
        from rich.text import Text

        shown = _that_fit(pieces, self._console.width)
        line = Text.assemble(*shown, no_wrap=True, overflow="ellipsis")
        if self._live is None:
            from rich.live import Live

            self._live = Live(line, console=self._console, auto_refresh=False)
            self._live.start(refresh=True)
        else:
            self._live.update(line, refresh=True)

    def finish(self, pieces: Pieces) -> None:
        """Replace the live line by a permanent one."""
        from rich.text import Text

        line = Text.assemble(*_wrapped(pieces, self._console.width))
        if self._live is None:
            self._console.print(line)
        else:
            self._live.update(line, refresh=True)
            self.close()

    def say(self, text: str) -> None:
        """Print a line above the live one."""
        self._console.print(text, markup=False)

    def close(self) -> None:
        """Release the cursor and stdout."""
        if self._live is not None:
            live, self._live = self._live, None
            live.stop()


def display() -> Display:
    """Display for the kind of stdout."""
    if is_notebook():
        return NotebookDisplay()
    return TerminalDisplay() if is_terminal() and not _has_live_line() else PlainDisplay()


def _has_live_line() -> bool:
    """Whether stdout belongs to rich, which prints above the live line of another run."""
    rich = sys.modules.get("rich.file_proxy")
    return rich is not None and isinstance(sys.stdout, rich.FileProxy)


def line(
    done: int,
    target: int | None,
    start: float,
    logs: Mapping[str, Any],
    bar: bool,
    width: int = WIDTH,
    unit: str = "step",
) -> Pieces:
    """Pieces of a line: `3/3 ━━━━━━━━━━━━━━━━━━━━ 0s 7ms/step - accuracy: 0.26 - loss: 1.47`.

    Args:
        done: batches done.
        target: batches in all, None if unknown.
        start: `_clock.now()` when the work began.
        logs: the values to show.
        bar: whether to draw the bar, or join all by " - " as a line of a log.
        width: of the bar, in characters.
        unit: what a batch is called.
    """
    elapsed = common_clock.now() - start
    each = elapsed / max(done, 1)
    count = f"{done}/{target if target is not None else 'Unknown'}"
    values = [(f" - {name}: {number(value)}", "") for name, value in logs.items()]
    if not bar:
        return [(f"{count} - {elapsed:.0f}s - {per_step(each, unit)}", ""), *values]

    if target is not None:
        count = f"{done:>{len(str(target))}}/{target}"
        full = width * done // max(target, 1)
        left = elapsed if done >= target else each * (target - done)
    else:
        full, left = 0, elapsed
    return [
        (count, "bold"),
        (" ", ""),
        ("━" * full, "green"),
        ("━" * (width - full), "dim"),
        (f" {clock(left)} ", "bold"),
        (per_step(each, unit), ""),
        *values,
    ]


def number(value: Any) -> str:
    """A value as Keras shows it: four decimals, or four digits and an exponent if it is small.

    Of several numbers their mean is shown.
    """
    try:
        value = float(np.mean(value))
    except (TypeError, ValueError):
        return str(value)
    return f"{value:.4f}" if abs(value) > 1e-3 else f"{value:.4e}"


def per_step(seconds: float, unit: str = "step") -> str:
    """Time per batch: `2s/step`, `7ms/step`, `413us/step`."""
    if seconds >= 1:
        return f"{seconds:.0f}s/{unit}"
    if seconds >= 1e-3:
        return f"{seconds * 1e3:.0f}ms/{unit}"
    return f"{seconds * 1e6:.0f}us/{unit}"


def clock(seconds: float) -> str:
    """Time as `5s`, `1:05` or `1:02:03`."""
    whole = int(seconds)
    if whole >= 3600:
        return f"{whole // 3600}:{whole % 3600 // 60:02}:{whole % 60:02}"
    return f"{whole // 60}:{whole % 60:02}" if whole >= 60 else f"{whole}s"


def _that_fit(pieces: Pieces, width: int) -> Pieces:
    """Leading pieces that fit into a line; the last ones are left out."""
    if len(_text(pieces)) <= width:
        return pieces
    fit = list(accumulate(len(text) for text, _ in pieces))
    return [*pieces[: sum(end <= width - len(_MORE) for end in fit)], (_MORE, "dim")]


def _wrapped(pieces: Pieces, width: int) -> Pieces:
    """Pieces with a line break before each that does not fit into its line."""
    wrapped: Pieces = []
    column = 0
    for text, style in pieces:
        if column and column + len(text) > width:
            wrapped.append(("\n", ""))
            column = 0
        wrapped.append((text, style))
        column += len(text)
    return wrapped


def _text(pieces: Pieces) -> str:
    return "".join(text for text, _ in pieces)
