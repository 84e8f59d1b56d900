"""`python -m cdl table --report`: a page about a net for a table, which needs nothing beside it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cdl._common.html import Html, bar, curves, table

Array = NDArray[Any]

_STYLE = """
:root { color-scheme: light dark; --bar: #2a6f97; --quiet: #8d99ae; }
@media (prefers-color-scheme: dark) { :root { --bar: #61a5c2; --quiet: #6c757d; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 48rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 0.15rem 0 0.15rem 1rem; white-space: nowrap; }
tr > :first-child { text-align: left; padding-left: 0; }
svg { color: var(--bar); vertical-align: middle; max-width: 100%; overflow: visible; }
svg text { font-size: 12px; fill: var(--quiet); }
div { overflow-x: auto; }
"""
_SIDE = 260  # pixels of a square plot
_EDGE = 56, 8, 8, 24  # left of it, above, right and below
_COLUMNS = 30  # whose importance is shown
_POINTS = 1000  # of a plot
_CLASSES = 12  # up to which there is a table of mistakes
_BINS = 10  # of probabilities


class Report(NamedTuple):
    """Facts about a net that a page shows.

    Attributes:
        title: target and file.
        sentence: score in words.
        scores: of the folds.
        model: trained on all rows.
        names: of its columns.
        y: targets.
        outputs: of the nets that were not trained on the row: probabilities, or numbers.
    """

    title: str
    sentence: str
    scores: Sequence[float]
    model: Any
    names: Sequence[str]
    y: Array
    outputs: Array


def write(path: Path, report: Report) -> None:
    """Write the page of a report."""
    model = report.model
    order = np.argsort(-model.feature_importances_, kind="stable")[:_COLUMNS]
    most = max(float(model.feature_importances_.max()), 1e-12)
    bars = [
        [report.names[i], f"{each:.3f}", bar(max(each, 0.0) / most, width=240)]
        for i, each in zip(order, model.feature_importances_[order].tolist(), strict=True)
    ]
    folds = [[str(i + 1), f"{score:.3f}"] for i, score in enumerate(report.scores)]
    named = {"Rows that a net has not seen": "".join(_of_outputs(report))}
    named["Importance of columns"] = (
        f"<p>What the {_score(model)} on rows for validation loses when a column's values are "
        "permuted.</p>"
        f"<div>{table(['column', '', ''], bars)}</div>"
    )
    named["Training"] = _training(model)
    named["Folds"] = f"<div>{table(['fold', 'score'], folds)}</div>"
    parts = [f"<h2>{head}</h2>\n{body}" for head, body in named.items()]
    given = ", ".join(f"{k}={v!r}" for k, v in model.get_params().items() if v is not None)
    page = f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(report.title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{escape(report.title)}</h1>
<p>{date.today()}. {escape(report.sentence[0].upper() + report.sentence[1:])}.</p>
{chr(10).join(parts)}
<p>{escape(f"{type(model).__name__}({given})")}</p>
</body>
</html>
"""
    path.write_text(page, encoding="utf-8")


def _score(model: Any) -> str:
    """Name of the score that tells the best epoch."""
    if hasattr(model, "classes_"):
        return "accuracy"
    return "score (minus the mean squared error, with the target's deviation as the unit)"


def _training(model: Any) -> str:
    """Curves of loss and score by epoch, with their ends in words."""
    losses, scores, best = model.loss_curves_[0], model.validation_scores_[0], model.best_epochs_[0]
    size = 480, 120
    return (
        f"<p>Loss of {len(losses)} epochs, from {losses[0]:.3g} to {losses[-1]:.3g}:</p>\n"
        f"<p>{curves([losses], 'loss by epoch', size)}</p>\n"
        f"<p>{_score(model).capitalize()} on rows for validation, at most {max(scores):.3g}; the "
        f"net is that of epoch {best + 1}:</p>\n"
        f"<p>{curves([scores], 'validation score by epoch', size)}</p>\n"
    )


def _of_outputs(report: Report) -> list[str]:
    """Plot and table of predictions for rows that were left out of training."""
    if not hasattr(report.model, "classes_"):
        return _of_numbers(report.y.astype(np.float64), report.outputs)
    labels, p = report.model.classes_, report.outputs
    codes = np.searchsorted(labels, report.y)
    if len(labels) == 2:
        name = str(labels[1])
        parts = _calibration(p[:, 1], codes == 1, f"Probability of {name}", f"part that is {name}")
    else:
        right = p.argmax(1) == codes
        parts = _calibration(p.max(1), right, "Probability of the predicted class", "part right")
    if len(labels) <= _CLASSES:
        counts = np.zeros((len(labels), len(labels)), np.int64)
        np.add.at(counts, (codes, p.argmax(1)), 1)
        rows = [[str(a), *map(str, row)] for a, row in zip(labels, counts.tolist(), strict=True)]
        heads = ["is, and predicted:", *map(str, labels)]
        parts.append(f"<p>Classes and predictions:</p>\n<div>{table(heads, rows)}</div>\n")
    return parts


def _calibration(p: Array, happened: Array, what: str, part: str) -> list[str]:
    """Probabilities beside how often they came true, in bins."""
    at = np.minimum((p * _BINS).astype(np.int64), _BINS - 1)
    rows, points = [], []
    for k in np.unique(at).tolist():
        said, came, count = p[at == k].mean(), happened[at == k].mean(), (at == k).sum()
        rows.append([f"{said:.2f}", f"{came:.2f}", f"{count:,}"])
        points.append((said, came, 3 + 9 * float(np.sqrt(count / len(p)))))
    plot = _square(points, (0.0, 1.0), f"{part} over probability")
    return [
        f"<p>{escape(what)} (to the right) and {escape(part)} (upward), in bins of a tenth; larger "
        f"circles have more rows, and calibrated ones lie on the line:</p>\n<p>{plot}</p>\n"
        f"<div>{table(['mean probability', part, 'rows'], rows)}</div>\n"
    ]


def _of_numbers(y: Array, found: Array) -> list[str]:
    """Predictions beside the numbers, and sizes of their differences."""
    step = max(1, len(y) // _POINTS)
    points = [(a, b, 2.0) for a, b in zip(found[::step].tolist(), y[::step].tolist(), strict=True)]
    both = np.concatenate([y, found])
    plot = _square(points, (float(both.min()), float(both.max())), "numbers over predictions")
    parts = [50, 90, 95, 99]
    wrong = np.percentile(np.abs(y - found), parts)
    rows = [[f"{a} %", f"{b:.4g}"] for a, b in zip(parts, wrong.tolist(), strict=True)]
    return [
        f"<p>Predictions (to the right) and numbers (upward), from {both.min():.4g} to "
        f"{both.max():.4g}:</p>\n<p>{plot}</p>\n"
        f"<div>{table(['rows', 'differ by at most'], rows)}</div>\n"
    ]


def _square(
    points: Sequence[tuple[float, float, float]], ends: tuple[float, float], label: str
) -> Html:
    """Circles (x, y, radius) in a square whose sides go from end to end, with its diagonal."""
    (low, high), (left, above, right, below) = ends, _EDGE
    scale = _SIDE / ((high - low) or 1.0)
    floor, width, height = above + _SIDE, left + _SIDE + right, above + _SIDE + below
    circles = "".join(
        f'<circle cx="{left + (x - low) * scale:.1f}" cy="{floor - (y - low) * scale:.1f}" '
        f'r="{radius:.1f}"/>'
        for x, y, radius in points
    )
    texts = [(left, floor + 18, "start", low), (left + _SIDE, floor + 18, "end", high)]
    texts += [(left - 6, floor, "end", low), (left - 6, above + 10, "end", high)]
    ticks = "".join(
        f'<text x="{x}" y="{y}" text-anchor="{anchor}">{value:.4g}</text>'
        for x, y, anchor, value in texts
    )
    frame = f"M{left} {floor}V{above}h{_SIDE}v{_SIDE}ZL{left + _SIDE} {above}"
    return Html(
        f'<svg width="{width}" height="{height}" role="img" aria-label="{escape(label)}">'
        f'<path d="{frame}" fill="none" stroke="currentColor" opacity="0.4"/>'
        f'<g fill="currentColor" fill-opacity="0.5">{circles}</g>{ticks}</svg>'
    )
