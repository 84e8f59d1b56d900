"""loops.py - one epoch of training or one evaluation: batches, hooks, progress, Ctrl-C."""

import warnings
from typing import Any

from cdl.callbacks import CallbackList
from cdl.models.feeds import Feed

SLICE = 0.05  # seconds that the core may keep to itself: then Ctrl-C and the bar have their turn
_ALWAYS = 1e9  # seconds; for batches that a hook waits for, which must not be cut


def run_epoch(feed: Feed, callbacks: CallbackList, kind: str, model: Any, chunk: int) -> int:
    """Run a feed's next epoch and return the number of its batches.

    The core has the whole epoch to itself, but for time slices. Only if a callback overrides a
    batch hook, the loop comes back after each `chunk` batches.

    Args:
        feed: where batches come from.
        callbacks: whose hooks are called.
        kind: "train" or "test".
        model: whose `stop_training` ends training between two batches.
        chunk: `steps_per_execution`: batches between two calls of the hooks.
    """
    begin = end = None
    if callbacks.wants_batches(kind):
        begin = getattr(callbacks, f"on_{kind}_batch_begin")
        end = getattr(callbacks, f"on_{kind}_batch_end")

    def logs() -> dict[str, float]:
        return in_order(feed.engine.results())

    feed.begin_epoch()
    done, target = 0, feed.target
    while target is None or done < target:
        if not feed.ready():
            if target is not None or not done:
                _warn_out_of_data(kind, done, target)
            break
        left = chunk if target is None else target - done
        if begin is not None and end is not None:
            begin(done)
            done += _run_chunk(feed, min(chunk, left))
            end(done - 1, logs())
        else:
            done += feed.run(left, SLICE)
        callbacks.progress(done, logs)
        if kind == "train" and model.stop_training:
            break
    return done


def in_order(values: dict[str, float]) -> dict[str, float]:
    """Logs as Keras has them, by name: 'accuracy' before 'loss', capitals first."""
    return dict(sorted(values.items()))


def _run_chunk(feed: Feed, steps: int) -> int:
    done = 0
    while done < steps and feed.ready():
        done += feed.run(steps - done, _ALWAYS)
    return done


def _warn_out_of_data(kind: str, done: int, target: int | None) -> None:
    what = {"train": "steps_per_epoch * epochs", "test": "steps"}[kind]
    warnings.warn(
        f"Your input ran out of data after {done} of {target or 'an unknown number of'} batches; "
        f"going on without the others. Data or generator should have at least {what} batches.",
        stacklevel=4,
    )
