"""The CTC loss and its gradient in float64, over labels with blanks between them.

Written after Graves et al. (2006): the sequence of blank, label, blank, ..., blank is walked from
both ends, which is not how the core does it.
"""

from __future__ import annotations

import numpy as np


def log_softmax(z):
    top = z.max(-1, keepdims=True)
    return z - top - np.log(np.exp(z - top).sum(-1, keepdims=True))


def _walk(log_y, states, steps):
    """log P(the steps so far, and to be in each state), from the front."""
    reached = np.full((len(log_y), len(states)), -np.inf)
    skips = [s >= 2 and states[s] != 0 and states[s] != states[s - 2] for s in range(len(states))]
    reached[0, :2] = log_y[0, states[:2]]
    for t in range(1, steps):
        for s in range(len(states)):
            ways = [reached[t - 1, s - k] for k in (0, 1, 2) if s >= k and (k < 2 or skips[s])]
            reached[t, s] = np.logaddexp.reduce(ways) + log_y[t, states[s]]
    return reached


def ctc(labels, z):
    """Loss and gradient by the raw scores z (steps, classes) of one sample."""
    log_y = log_softmax(np.asarray(z, np.float64))
    steps = len(log_y)
    labels = [int(each) for each in labels[: np.count_nonzero(labels)]]
    states = [0] + [state for each in labels for state in (each, 0)]
    front = _walk(log_y, states, steps)
    back = _walk(log_y[::-1], states[::-1], steps)[::-1, ::-1]
    total = np.logaddexp.reduce(front[-1, -2:])
    occupied = np.exp(front + back - log_y[:, states] - total)
    by_class = np.zeros_like(log_y)
    for s, state in enumerate(states):
        by_class[:, state] += occupied[:, s]
    return -total, np.exp(log_y) - by_class
