"""Progress bar over all jobs: the number of ended ones, and the best value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from cdl._common import clock
from cdl.utils import display

if TYPE_CHECKING:
    from cdl.callbacks import History

_LINES = 20  # in a file, at most


class Progress:
    """Bar of jobs: `37/200 ━━━━━━━━━━━━━━━━━━━━ 12s 80ms/job - best val_loss: 0.1200`.

    In a terminal or a notebook a bar; in a file a line for each twentieth of the jobs.

    Args:
        jobs: how many there are.
        shown: whether to show anything.
        unit: what each is called.
    """

    def __init__(self, jobs: int, shown: bool, unit: str = "job") -> None:
        self._jobs = jobs
        self._unit = unit
        self._done = 0
        self._start = clock.now()
        self._best: dict[str, float] = {}
        self._as_bar = shown and display.is_watched()
        self._display: display.Display | None = None
        if shown and jobs:
            self._display = display.display() if self._as_bar else display.PlainDisplay()
            self._draw()

    @property
    def shown(self) -> bool:
        """Whether the bar is shown."""
        return self._display is not None

    def ended(self, history: History | None) -> None:
        """Count an ended job; None for one that has failed."""
        before, self._done = self._done, self._done + 1
        if self._display is None:
            return
        values = {} if history is None else history.history
        name = "val_loss" if "val_loss" in values else "loss"
        found = np.asarray(values.get(name, ()), float)
        found = found[np.isfinite(found)]
        if len(found):
            key = f"best {name}"
            self._best[key] = min(float(found.min()), self._best.get(key, np.inf))
        if self._done == self._jobs or (
            not self._as_bar and self._done * _LINES // self._jobs > before * _LINES // self._jobs
        ):
            self._display.finish(self._line())
        else:
            self._draw()

    def close(self) -> None:
        """Restore the screen at the end."""
        if self._display is not None:
            self._display.close()

    def _draw(self) -> None:
        assert self._display is not None
        self._display.draw(self._line())

    def _line(self) -> Any:
        return display.line(
            self._done, self._jobs, self._start, self._best, bar=self._as_bar, unit=self._unit
        )
