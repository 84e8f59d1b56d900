"""EndedRun: results of a run whose train function trains another model now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cdl.trainers.compile_utils import Resolved
from cdl.trainers.train_function import TrainFunction


class EndedRun:
    """Results of the last epoch of a run.

    Args:
        logs: losses and metrics by name.
        states: the core's sums, by the keys of the reports.
        resolved: losses and metrics of the model.
    """

    def __init__(
        self,
        logs: dict[str, Any],
        states: Mapping[int | str, tuple[float, ...]],
        resolved: Resolved,
    ) -> None:
        self._logs, self._states, self.resolved = logs, states, resolved

    def results(self) -> dict[str, Any]:
        """Losses and metrics by name."""
        return dict(self._logs)

    def reset(self) -> None:
        """Set all of them to 0."""
        self._logs = dict.fromkeys(self._logs, 0.0)
        self._states = {key: (0.0,) * len(state) for key, state in self._states.items()}

    def share_totals(self, only_held: bool = False) -> None:
        """Copy the sums to the Metric objects."""
        for each in self.resolved.metrics:
            if each.key in self._states and (each.held or not only_held):
                each.runs.load(self._states[each.key])


RUNS = (TrainFunction, EndedRun)  # which have results of losses and metrics that the core counts
