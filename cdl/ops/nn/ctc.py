"""Connectionist temporal classification: loss and decoding."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cdl._common.validation import expected, one_of, positive_int
from cdl._tracing.array_call import on_arrays
from cdl._tracing.operation import operation
from cdl.ops.arrays import real, samples_apart, shape_of
from cdl.ops.core.loops import scan
from cdl.ops.core.tensors import cast
from cdl.ops.nn.activations import log_softmax
from cdl.ops.nn.crossentropy import one_hot
from cdl.ops.numpy.elementary import logaddexp
from cdl.ops.numpy.joining import concatenate
from cdl.ops.numpy.reductions import sum as summed
from cdl.ops.numpy.shapes import expand_dims, transpose

Array = NDArray[Any]

_NEVER = -1e5  # the logarithm of a probability of about 0


@operation()
def ctc_loss(
    target: ArrayLike,
    output: ArrayLike,
    target_length: ArrayLike,
    output_length: ArrayLike,
    mask_index: int = 0,
) -> Any:
    """CTC loss of each sample, ``-log P(labels)`` (Graves et al., 2006).

    P is the sum over all ways to say the labels within the steps, with blanks anywhere between
    them and at least one between equal ones. `losses.CTC` is quicker where the blank is class 0.

    Args:
        target: the labels (n, labels), class numbers.
        output: raw scores (n, steps, classes).
        target_length: how many labels of each sample count, (n,).
        output_length: how many steps of each sample count, (n,).
        mask_index: the class of the blank.

    Returns:
        The losses, (n,). Labels that cannot be said in so few steps have one of some 1e5.
    """
    labels, classes = shape_of(target)[1], shape_of(output)[2]
    steps = shape_of(output)[1]
    scores = log_softmax(cast(output, "float32"), axis=-1)
    blanks = transpose(scores[:, :, mask_index : mask_index + 1], (1, 0, 2))
    chosen = one_hot(cast(target, "int32"), classes)
    said = transpose(scores @ transpose(chosen, (0, 2, 1)), (1, 0, 2))
    places = np.arange(steps, dtype=np.float32)[:, None]
    counts = expand_dims(places < expand_dims(cast(output_length, "float32"), 0), -1)
    same = cast(summed(chosen[:, :-1] * chosen[:, 1:], axis=-1), "float32")
    same = concatenate([same, 0.0 * said[0][:, :1]], axis=-1)  # the next label is this one again

    def behind(before: Any, label: Any) -> Any:
        """Positions after each label, reached from the position or the label itself."""
        return concatenate([before[:, :1], logaddexp(before[:, 1:], label)], axis=-1)

    def step(carried: Any, now: Any) -> Any:
        between, label = carried
        said_now, blank, count = now
        direct = behind(between, label + _NEVER * same)
        next_label = logaddexp(direct[:, :-1], label) + said_now
        next_between = behind(direct + blank, label + blank + _NEVER * (1.0 - same))
        on = cast(count, "float32")
        return (
            on * next_between + (1.0 - on) * between,
            on * next_label + (1.0 - on) * label,
        ), None

    nowhere = 0.0 * said[0] + _NEVER
    start = concatenate([0.0 * nowhere[:, :1], nowhere], axis=-1)
    (between, label), _ = scan(step, (start, nowhere), (said, blanks, counts))
    ends = one_hot(cast(target_length, "int32"), labels + 1)
    return -summed(behind(between, label) * ends, axis=-1)


@operation(on_arrays(), untraced=lambda inputs, *_: samples_apart(inputs, (1, 2)))
def ctc_decode(
    inputs: ArrayLike,
    sequence_lengths: ArrayLike,
    strategy: str = "greedy",
    beam_width: int = 100,
    top_paths: int = 1,
    merge_repeated: bool = True,
    mask_index: int = 0,
) -> Any:
    """Decode the scores of a model trained by `ctc_loss` into labels.

    Args:
        inputs: raw scores (n, steps, classes).
        sequence_lengths: how many steps of each sample count, (n,).
        strategy: "greedy", the best class of each step, or "beam_search", the best sequences of
            labels, each with all the ways to say it.
        beam_width: how many beginnings "beam_search" keeps.
        top_paths: how many sequences "beam_search" gives.
        merge_repeated: whether "greedy" takes a class that comes again at once for one label.
        mask_index: the class of the blank.

    Returns:
        The labels (paths, n, steps), -1 behind their end, and what they are worth: of "greedy"
        minus the sum of the scores, (n, 1); of "beam_search" log-probabilities, (n, top_paths).

    Raises:
        ValueError: another strategy, or more paths than the beam is wide.
    """
    one_of("ctc_decode", "strategy", strategy, ("greedy", "beam_search"))
    scores, lengths = real(inputs), np.asarray(sequence_lengths).astype(int)
    if scores.ndim != 3:
        raise expected("ctc_decode", "inputs", "scores (n, steps, classes)", scores.shape)
    if strategy == "greedy":
        return _greedy(scores, lengths, merge_repeated, mask_index)
    width = positive_int("ctc_decode", "beam_width", beam_width)
    paths = positive_int("ctc_decode", "top_paths", top_paths)
    if paths > width:
        raise expected("ctc_decode", "top_paths", f"at most beam_width={width}", paths)
    scores = np.asarray(log_softmax(scores))
    labels = np.full((paths, *scores.shape[:2]), -1, np.int32)
    values = np.full((len(scores), paths), -np.inf, scores.dtype)
    for i, (lines, length) in enumerate(zip(scores, lengths, strict=True)):
        for k, (path, value) in enumerate(_best(lines[:length], width, mask_index)[:paths]):
            labels[k, i, : len(path)] = path
            values[i, k] = value
    return labels, values


def _greedy(scores: Array, lengths: Array, merge_repeated: bool, blank: int) -> tuple[Array, Array]:
    counts = np.arange(scores.shape[1]) < lengths[:, None]
    best = np.where(counts, scores.argmax(-1), blank)
    values = -np.where(counts, scores.max(-1), 0).sum(1, keepdims=True)
    again = np.zeros_like(counts)
    if merge_repeated:
        again[:, 1:] = best[:, 1:] == best[:, :-1]
    said = np.where(again | (best == blank), -1, best)
    order = np.argsort(said < 0, axis=1, kind="stable")
    labels = np.take_along_axis(said, order, 1)[None]
    return labels.astype(np.int32), values.astype(scores.dtype)


def _best(lines: Array, width: int, blank: int) -> list[tuple[tuple[int, ...], float]]:
    """Best sequences of labels of one sample, and their log-probabilities."""
    paths: list[tuple[int, ...]] = [()]
    by_blank, by_label = np.zeros(1), np.full(1, -np.inf)  # how each path may have ended
    for line in lines.astype(np.float64):
        last = np.array([path[-1] if path else blank for path in paths])
        total = np.logaddexp(by_blank, by_label)
        longer = total[:, None] + line
        rows = np.arange(len(paths))
        longer[rows, last] = by_blank + line[last]  # a label again needs a blank between
        longer[:, blank] = -np.inf
        stays_blank = total + line[blank]
        stays_label = np.where(last == blank, -np.inf, by_label + line[last])
        place = {path: i for i, path in enumerate(paths)}
        for i, path in enumerate(paths):  # reached from a shorter path that is kept, too
            parent = place.get(path[:-1]) if path else None
            if parent is not None:
                stays_label[i] = np.logaddexp(stays_label[i], longer[parent, path[-1]])
                longer[parent, path[-1]] = -np.inf
        values = np.concatenate([np.logaddexp(stays_blank, stays_label), longer.ravel()])
        kept = np.argsort(-values, kind="stable")[:width]
        kept = kept[values[kept] > -np.inf]
        old, n = kept < len(paths), len(paths)
        parents = np.where(old, kept, (kept - n) // len(line))
        classes = (kept - n) % len(line)
        ends = np.where(old, -np.inf, values[kept])
        by_label = np.where(old, stays_label[parents], ends)
        by_blank = np.where(old, stays_blank[parents], -np.inf)
        paths = [
            paths[p] if same else (*paths[p], int(c))
            for p, same, c in zip(parents, old, classes, strict=True)
        ]
    values = np.logaddexp(by_blank, by_label)
    return [(paths[i], float(values[i])) for i in np.argsort(-values, kind="stable")]
