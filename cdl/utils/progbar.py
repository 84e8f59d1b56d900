"""Progbar: a progress bar for custom loops, as `fit` shows it."""

import sys
from collections.abc import Iterable
from typing import Any

import numpy as np

from cdl._common import clock
from cdl._common.validation import count
from cdl.utils import display


class Progbar:
    """Progress bar of a loop, with values.

    Args:
        target: number of steps, None if unknown.
        width: of the bar, in characters.
        verbose: 0 silent, 1 a bar, 2 one line at the end.
        interval: seconds between two drawings, at least.
        stateful_metrics: names of values that are shown as they are; all others are averaged over
            the steps.
        stateless_metrics: the other way round: names of values that are averaged. Only one of the
            two may be given.
        unit_name: what a step is called.

    Raises:
        ValueError: both sets of names are given.
    """

    def __init__(
        self,
        target: int | None,
        width: int = display.WIDTH,
        verbose: int = 1,
        interval: float = 0.05,
        stateful_metrics: Iterable[str] | None = None,
        stateless_metrics: Iterable[str] | None = None,
        unit_name: str = "step",
    ) -> None:
        if stateful_metrics is not None and stateless_metrics is not None:
            raise ValueError(
                "Progbar: Only one of stateful_metrics and stateless_metrics can be given: "
                f"got {stateful_metrics!r} and {stateless_metrics!r}"
            )
        if target is not None:
            count("Progbar", "target", target)
        self.target = target
        self.width = width
        self.verbose = verbose
        self.interval = interval
        self.unit_name = unit_name
        self._as_they_are = set(stateful_metrics or ())
        self._averaged = None if stateless_metrics is None else set(stateless_metrics)
        self._values: dict[str, list[Any]] = {}  # name -> [sum, number of steps]
        self._seen_so_far = 0
        self._start = clock.now()
        self._drawn = float("-inf")
        self._display: display.Display | None = None

    def update(
        self,
        current: int,
        values: Iterable[tuple[str, Any]] | None = None,
        finalize: bool | None = None,
    ) -> None:
        """Set the number of finished steps.

        Args:
            current: the number of steps.
            values: (name, value of the last step) pairs.
            finalize: whether this is the last update; by default if the target is reached.
        """
        if finalize is None:
            finalize = self.target is not None and current >= self.target
        steps = max(current - self._seen_so_far, 1)
        for name, value in values or ():
            value = np.mean(value)
            if finalize or not self._is_averaged(name):
                self._values[name] = [value, 1]
            else:
                entry = self._values.setdefault(name, [0.0, 0])
                entry[0] += value * steps
                entry[1] += steps
        self._seen_so_far = current
        if self.verbose == 1 or (self.verbose == 2 and finalize):
            self._show(finalize)

    def add(self, n: int, values: Iterable[tuple[str, Any]] | None = None) -> None:
        """Add to the number of finished steps."""
        self.update(self._seen_so_far + n, values)

    def _is_averaged(self, name: str) -> bool:
        if self._averaged is not None:
            return name in self._averaged
        return name not in self._as_they_are

    def _show(self, finalize: bool) -> None:
        now = clock.now()
        if not finalize and now - self._drawn < self.interval:
            return
        self._drawn = now
        if self._display is None:
            self._display = self._choose_display()
        logs = {name: total / count for name, (total, count) in self._values.items()}
        target = self.target if self.target or not finalize else None
        pieces = display.line(
            self._seen_so_far,
            target,
            self._start,
            logs,
            bar=self.verbose == 1,
            width=self.width,
            unit=self.unit_name,
        )
        if finalize:
            self._display.finish(pieces)
            self._display.close()
            self._display = None
        else:
            self._display.draw(pieces)

    def _choose_display(self) -> display.Display:
        if self.verbose == 2:
            return display.PlainDisplay()
        if display.is_notebook():
            return display.NotebookDisplay()
        on_terminal = display.is_terminal() and sys.stdout is sys.__stdout__
        return display.TerminalDisplay() if on_terminal else display.OverwritingDisplay()
