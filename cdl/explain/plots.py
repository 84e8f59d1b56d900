"""Plots of importances, of one sample's contributions, and of image attributions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cdl.config import standardize_data_format


def plot_importance(
    values: Any, names: Sequence[str] | None = None, top: int = 20, ax: Any = None
) -> Any:
    """Bar chart of importances, the largest on top; with a title, unless `ax` has one.

    Args:
        values: what `permutation_importance` found, with an error bar for each column; or
            attributions (samples, columns), of which the mean sizes are drawn.
        names: of the columns; None for those that are known, or `x0`, `x1` ...
        top: the most bars.
        ax: axes of matplotlib to draw in; None makes a figure.

    Returns:
        The axes.

    Raises:
        ImportError: there is no matplotlib.
    """
    errors = None
    if hasattr(values, "drops"):
        names = names or values.names
        heights, errors = values.mean, values.std
        words = "Permutation importance", "how much worse the model gets, shuffled"
    else:
        array = np.abs(np.asarray(values, np.float64))
        heights = array.reshape(len(array), -1).mean(0)
        words = "Mean size of attributions", "mean of |attribution|"
    return _bars(heights, errors, names, top, ax, *words)


def plot_sample(
    attributions: Any,
    x: ArrayLike | None = None,
    names: Sequence[str] | None = None,
    top: int = 20,
    ax: Any = None,
) -> Any:
    """Bar chart of one sample's contributions: to the right for more, to the left for less.

    Args:
        attributions: of one sample, as `integrated_gradients` gives them.
        x: the sample itself, to be written beside the names.
        names: of the columns; None for `x0`, `x1` ...
        top: the most bars.
        ax: axes of matplotlib to draw in; None makes a figure.

    Returns:
        The axes.

    Raises:
        ImportError: there is no matplotlib.
    """
    heights = np.asarray(attributions, np.float64).reshape(-1)
    names = list(names) if names is not None else [f"x{i}" for i in range(len(heights))]
    if x is not None:
        pairs = zip(names, np.asarray(x).reshape(-1), strict=True)
        names = [f"{name} = {value:.4g}" for name, value in pairs]
    return _bars(heights, None, names, top, ax, "Contributions to one prediction", "contribution")


def plot_image(
    attributions: Any, x: Any = None, ax: Any = None, data_format: str | None = None
) -> Any:
    """Heat map of an image's attributions, over the image if it is given.

    What is never below 0, as maps of `grad_cam` and `saliency`, goes from dark to bright; what has
    both signs, as `integrated_gradients`, from blue for less to red for more.

    Args:
        attributions: of one image: a map (height, width), or a number for each of its numbers,
            which are added up over the channels.
        x: the image itself, of 1 or 3 channels, in any range of numbers.
        ax: axes of matplotlib to draw in; None makes a figure.
        data_format: where the channels are; None is the configured one.

    Returns:
        The axes.

    Raises:
        ImportError: there is no matplotlib.
        ValueError: no image.
    """
    heat = np.asarray(attributions, np.float64)
    last = standardize_data_format(data_format, "plot_image") == "channels_last"
    if heat.ndim == 3:
        heat = heat.sum(-1 if last else 0)
    if heat.ndim != 2:
        raise ValueError(
            "plot_image: attributions must be those of one image, with 2 or 3 axes, got shape "
            f"{np.shape(attributions)}"
        )
    ax = _axes(ax, 12)
    if x is not None:
        ax.imshow(_picture(np.asarray(x, np.float64), heat.shape, last), cmap="gray")
    most = float(np.abs(heat).max()) or 1.0
    signed = bool((heat < 0).any())
    ax.imshow(
        heat,
        cmap="RdBu_r" if signed else "inferno",
        vmin=-most if signed else 0.0,
        vmax=most,
        alpha=None if x is None else 0.6,
    )
    ax.set_axis_off()
    return ax


def _picture(image: Any, size: tuple[int, ...], last: bool) -> Any:
    """Image as matplotlib draws it, with numbers from 0 to 1."""
    if image.ndim == 3:
        image = image if last else np.moveaxis(image, 0, -1)
        image = image[..., 0] if image.shape[-1] == 1 else image
    if image.shape[:2] != size or (image.ndim > 2 and image.shape[2] != 3):
        raise ValueError(
            f"plot_image: x must be an image of {size} places and 1 or 3 channels, got shape "
            f"{image.shape}"
        )
    low, high = image.min(), image.max()
    return (image - low) / (high - low if high > low else 1.0)


def _bars(heights: Any, errors: Any, names: Any, top: int, ax: Any, title: str, label: str) -> Any:
    names = list(names) if names is not None else [f"x{i}" for i in range(len(heights))]
    if len(names) != len(heights):
        raise ValueError(f"names must be {len(heights)}, one for each column, got {len(names)}")
    order = np.argsort(-np.abs(heights))[:top][::-1]
    ax = _axes(ax, len(order))
    ax.barh(
        range(len(order)),
        [heights[i] for i in order],
        xerr=None if errors is None else [errors[i] for i in order],
        color=["#b4473c" if heights[i] < 0 else "#3c6fb4" for i in order],
    )
    ax.set_yticks(range(len(order)), [names[i] for i in order])
    ax.set_ylim(-0.6, len(order) - 0.4)  # bars are 0.8 high: no empty band beside the last ones
    ax.axvline(0.0, color="0.3", linewidth=0.8)
    ax.set_xlabel(label)
    if not ax.get_title():
        more = f" ({len(order)} of {len(heights)} columns)" if len(order) < len(heights) else ""
        ax.set_title(title + more)
    return ax


def _axes(ax: Any, bars: int) -> Any:
    if ax is not None:
        return ax
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        raise ImportError("plots need matplotlib: pip install 'cdl-nn[plot]'") from None
    return plt.subplots(figsize=(6.4, 1.2 + 0.3 * bars), layout="constrained")[1]
