"""Figures, drawn into build/; without matplotlib there are none."""

from __future__ import annotations

from pathlib import Path

from benchmarks.harness.machine import ROOT

FOLDER = ROOT / "build"


def pyplot():
    """Matplotlib without a screen, or None."""
    try:
        import matplotlib as mpl
    except ImportError:
        return None
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def save(figure, name: str) -> Path:
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / name
    figure.savefig(path, dpi=110, bbox_inches="tight")
    return path


def steps(found: list[dict], note: str) -> Path | None:
    """Bars: how many times longer a step of each peer takes than cdl's, on one thread."""
    plt = pyplot()
    rows = [r for r in found if r["threads"] == min(r["threads"] for r in found) and "us" in r]
    ours = {r["case"]: r["us"] for r in rows if r["peer"] == "cdl"}
    names = list(dict.fromkeys(r["peer"] for r in rows if r["peer"] not in {"cdl", "roofline"}))
    if plt is None or not ours or not names:
        return None
    figure, axes = plt.subplots(figsize=(10, 4.5))
    width = 0.85 / len(names)
    for i, name in enumerate(names):
        times = {r["case"]: r["us"] for r in rows if r["peer"] == name}
        places = [k + (i - len(names) / 2) * width for k, c in enumerate(ours) if c in times]
        heights = [times[c] / ours[c] for c in ours if c in times]
        axes.bar(places, heights, width, label=name, bottom=0)
    axes.axhline(1, color="black", linewidth=1)
    axes.set_yscale("log")
    axes.set_xticks(range(len(ours)), list(ours))
    axes.set_ylabel("time of a training step, cdl = 1")
    axes.set_title(note, fontsize=9)
    axes.legend(ncols=3, fontsize=8)
    return save(figure, "training.png")


def growth(series: dict[str, list[dict]], note: str) -> Path | None:
    """A panel a series: time of a step against the size, with the arithmetic below it."""
    plt = pyplot()
    if plt is None:
        return None
    figure, panels = plt.subplots(1, len(series), figsize=(5 * len(series), 4), squeeze=False)
    for axes, (name, rows) in zip(panels[0], series.items(), strict=True):
        for peer in dict.fromkeys(r["peer"] for r in rows):
            points = sorted((r["size"], r["us"]) for r in rows if r["peer"] == peer)
            style = {"linestyle": "--", "color": "black"} if peer == "roofline" else {"marker": "o"}
            axes.plot(*zip(*points, strict=True), label=peer, markersize=3, **style)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xlabel(name)
        axes.set_ylabel("microseconds a step")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    figure.suptitle(note, fontsize=9)
    return save(figure, "growth.png")
