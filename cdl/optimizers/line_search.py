"""Line search: a step along a direction that satisfies the Wolfe conditions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

_DECREASE = 1e-4  # how much of the first slope the loss must fall by
_CURVATURE = 0.9  # how much of the first slope may be left
_NOISE = 2.0**-23  # of the loss, which is computed in float32


class _Trial(NamedTuple):
    t: float
    loss: float
    slope: float


def wolfe_step(
    along: Callable[[float], tuple[float, float]],
    loss: float,
    slope: float,
    first: float,
    most: int,
) -> float:
    """Step length that satisfies the strong Wolfe conditions; 0 if none lowers the loss.

    Trials extend a step, and then narrow a bracket, by cubic interpolation (Nocedal and Wright,
    Numerical Optimization, algorithms 3.5 and 3.6). Where losses differ by no more than rounding,
    the slopes alone decide (the approximate Wolfe conditions of Hager and Zhang, 2005).

    Args:
        along: loss and slope at a step.
        loss: the loss at step 0.
        slope: the slope there.
        first: the step that is tried first.
        most: how many steps are tried.
    """
    if not slope < 0.0:
        return 0.0
    low, high = _Trial(0.0, loss, slope), None
    noise, t = _NOISE * abs(loss), first
    for _ in range(most):
        trial = _Trial(t, *along(t))
        finite = math.isfinite(trial.loss) and math.isfinite(trial.slope)
        lower = finite and trial.loss <= loss + _DECREASE * t * slope
        flat = finite and trial.loss <= loss + noise and trial.slope <= (2 * _DECREASE - 1) * slope
        if (lower or flat) and abs(trial.slope) <= -_CURVATURE * slope:
            return t
        if trial[1:] == low[1:]:  # the weights are the same once rounded
            break
        if flat and trial.slope >= _CURVATURE * slope:
            return t
        if not lower or trial.loss > low.loss:
            high = trial
        else:
            ahead = 1.0 if high is None else high.t - low.t
            if trial.slope * ahead >= 0.0:
                high = low
            low = trial
        t = _next_step(low, high, trial)
    return low.t


def _next_step(low: _Trial, high: _Trial | None, last: _Trial) -> float:
    """The minimum of a cubic through two trials, kept away from the ends of the bracket."""
    if high is None:
        return 2.0 * last.t
    width = high.t - low.t
    if not (math.isfinite(high.loss) and math.isfinite(high.slope)):
        return low.t + 0.1 * width
    mean = low.slope + high.slope - 3.0 * (high.loss - low.loss) / width
    square = mean * mean - low.slope * high.slope
    part = 0.5
    if square >= 0.0:
        root = math.copysign(math.sqrt(square), width)
        divisor = high.slope - low.slope + 2.0 * root
        if divisor:
            part = 1.0 - (high.slope + root - mean) / divisor
    return low.t + min(max(part, 0.1), 0.9) * width
