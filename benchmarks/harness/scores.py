"""Tables and a chart of `benchmarks.tables`: scores with intervals, CPU time, time of one row."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats

from benchmarks.harness import records, svg
from benchmarks.harness.frames import HELD_OUT

OURS = "cdl realmlp"
NOTE = """\\* Kept out of all choices of defaults. Score: of each split 1 for the best method and 0
for the worst; mean (standard error) over data sets, of accuracy or R2, and with AUC in place of
accuracy. ±: half of a 95 % interval of the mean over splits, which share rows: rather too small;
without one, of the first split alone. CPU seconds and microseconds of methods: geometric means over
data sets. All methods ran one after the other, beside other work on the same cores."""
Found = Sequence[dict]


def score(record: dict) -> float:
    """Accuracy, or R2, of one column."""
    return record.get("accuracy", record.get("r2"))


def area(record: dict) -> float:
    """Area under the ROC curve (of each class against the others), or R2."""
    return record.get("auc", record.get("r2"))


def of(found: Found, case: str, method: str) -> dict[int, dict]:
    """Records of a data set and a method by split."""
    return {r["split"]: r for r in found if r["case"] == case and r["method"] == method}


def half_width(values: Sequence[float]) -> float:
    """Half of the 95 % interval of a mean, by Student's t."""
    n = len(values)
    return (
        float(stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n)) if n > 1 else np.nan
    )


def names_of(found: Found) -> list[str]:
    return list(dict.fromkeys(each["method"] for each in found))


def usual_of(found: Found) -> list[str]:
    """Methods with at least half of the data sets."""
    names = names_of(found)
    sets = {name: len({r["case"] for r in found if r["method"] == name}) for name in names}
    return [name for name in names if sets[name] >= max(sets.values()) / 2]


def ordered(found: Found) -> list[str]:
    """Data sets, those kept out of all choices last."""
    cases = dict.fromkeys(each["case"] for each in found)
    return sorted(cases, key=lambda case: case in HELD_OUT)


def titled(case: str) -> str:
    return f"{case} *" if case in HELD_OUT else case


def by_case(found: Found, key: Callable[[dict], float | None], shown: Callable[..., str]) -> str:
    """Table of a number of each record: a row a data set, a column a method."""
    names, rows = names_of(found), []
    for case in ordered(found):
        each = {name: of(found, case, name) for name in names}
        first = next(iter(next(filter(None, each.values())).values()))
        if key(first) is None:
            continue
        cells = [shown([key(r) for r in each[n].values()]) if each[n] else "-" for n in names]
        splits = max(map(len, each.values()))
        rows.append([titled(case), f"{first['rows']:,} x {first['columns']}", splits, *cells])
    return records.table(["data", "trained on", "splits", *names], rows)


def with_interval(values: Sequence[float]) -> str:
    width = half_width(values)
    return f"{np.mean(values):.3f}" + (f" ±{width:.3f}" if len(values) > 1 else "")


def normalized(found: Found, names: Sequence[str], key: Callable) -> dict[str, dict[str, float]]:
    """Scores by data set and method: of each split 1 for the best method and 0 for the worst.

    Of the splits that all methods have; a data set without one is left out.
    """
    result = {}
    for case in ordered(found):
        each = [of(found, case, name) for name in names]
        splits = sorted(set.intersection(*map(set, each)))
        if not splits:
            continue
        values = np.array([[key(one[split]) for one in each] for split in splits])
        low, high = values.min(1, keepdims=True), values.max(1, keepdims=True)
        parts = np.where(high > low, (values - low) / np.maximum(high - low, 1e-12), 1.0)
        result[case] = dict(zip(names, parts.mean(0).tolist(), strict=True))
    return result


def typical(found: Found, names: Sequence[str], field: str, cases: Sequence[str]) -> list[float]:
    """Geometric mean over data sets of each method's mean of a field."""
    means = [
        [np.mean([r[field] for r in of(found, case, name).values()]) for case in cases]
        for name in names
    ]
    return np.exp(np.log(means).mean(1)).tolist()


def summary(found: Found, names: Sequence[str]) -> str:
    """Table of methods: normalized scores over data sets, those kept out apart, and times."""
    scores, areas = (normalized(found, names, key) for key in (score, area))
    free = [case for case in scores if case not in HELD_OUT]
    kept = [case for case in scores if case in HELD_OUT]
    seconds, rows = (typical(found, names, f, list(scores)) for f in ("fit_s", "row_us"))
    body = []
    for i, name in enumerate(names):
        cells: list[object] = [name]
        for each in (scores, areas):
            for cases in (free, kept):
                values = [each[case][name] for case in cases]
                spread = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0
                cells.append(f"{np.mean(values):.2f} ({spread:.2f})" if values else "-")
        body.append([*cells, records.number(seconds[i]), records.number(rows[i])])
    body.sort(key=lambda row: row[2], reverse=True)
    head = ["method", f"score, {len(free)} sets", f"score, {len(kept)} kept out", "with AUC",
            "with AUC, kept out", "CPU s a fit", "us a row"]  # fmt: skip
    return records.table(head, body)


def differences(found: Found) -> str:
    """Table of what cdl's RealMLP scores more than others, by the same splits."""
    others, rows = [name for name in names_of(found) if name != OURS], []
    for case in ordered(found):
        ours, cells = of(found, case, OURS), []
        for name in others:
            theirs = of(found, case, name)
            gaps = [score(ours[split]) - score(theirs[split]) for split in ours if split in theirs]
            width = half_width(gaps) if gaps else np.nan
            sign = "" if not abs(np.mean(gaps or 0)) > width else "**"
            cells.append(f"{sign}{np.mean(gaps):+.3f}{sign}" if gaps else "-")
        rows.append([titled(case), *cells])
    return records.table(["data", *others], rows)


def tables(found: Found) -> str:
    """Tables of all data sets."""
    names, usual = names_of(found), usual_of(found)
    parts = ["### Methods", summary(found, usual)]
    if len(usual) < len(names):
        whole = [c for c in ordered(found) if all(of(found, c, name) for name in names)]
        few, cases = [r for r in found if r["case"] in whole], ", ".join(whole)
        parts += [f"### Methods, with those that take long: {cases}", summary(few, names)]
    parts += [
        "### Accuracy, or R2",
        by_case(found, score, with_interval),
        f"### {OURS} less others, by the same splits; bold where 0 is outside of its 95 % interval",
        differences(found),
        "### Area under the ROC curve, of each class against the others",
        by_case(found, lambda r: r.get("auc"), with_interval),
        "### Log loss",
        by_case(found, lambda r: r.get("log_loss"), with_interval),
        "### CPU seconds of a fit, 1 thread",
        by_case(found, lambda r: r["fit_s"], lambda values: records.number(np.mean(values))),
        "### Microseconds of `predict` for one row, a frame of pandas",
        by_case(found, lambda r: r["row_us"], lambda values: records.number(min(values))),
    ]
    parts.append(NOTE)
    return "\n\n".join(parts) + "\n"


def chart(found: Found) -> str:
    """Score over CPU time of a fit, a mark a method, with the standard error over data sets."""
    names = usual_of(found)
    scores = normalized(found, names, area)
    seconds = typical(found, names, "fit_s", list(scores))
    points = {}
    for name, x in zip(names, seconds, strict=True):
        values = [scores[case][name] for case in scores]
        error = float(np.std(values, ddof=1) / np.sqrt(len(values)))
        points[name.replace("GradientBoosting", "GB")] = (x, float(np.mean(values)), error)
    title = "Normalized score over CPU seconds of a fit, 1 thread"
    return svg.points(title, points)
