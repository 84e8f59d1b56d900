"""Grad-CAM: the regions of an image that a decision came from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cdl import config
from cdl._ir import resizing
from cdl.explain.attribution import Task

if TYPE_CHECKING:
    from cdl.layers import Layer
    from cdl.models.model import Model

Array = NDArray[np.float32]


def grad_cam(
    model: Model,
    x: Any,
    layer: Layer | str | None = None,
    target: Any = None,
    output: Any = None,
    normalize: bool = True,
) -> Array:
    """Class activation maps of images by gradients (Grad-CAM, Selvaraju et al., 2017).

    With maps ``A_k`` of the layer, ``relu(sum over k of a_k A_k)``, where ``a_k`` is the mean of
    ``d y_target / d A_k`` over the places. Gradients of a softmax vanish where it is sure: a model
    that ends in raw scores, or a copy of it, shows more.

    Args:
        model: a trained model, whose first input are images, or series of steps.
        x: samples, as in `predict`.
        layer: one whose output are maps, or its name; None is the last convolution.
        target: as in `saliency`.
        output: as in `saliency`.
        normalize: whether each map is divided by its largest number, so that it is from 0 to 1.

    Returns:
        A map for each sample in the size of the image: (n, height, width), or (n, steps).

    Raises:
        ValueError: data, a target or a layer that do not fit the model.
    """
    chosen = _layer_of(model, layer)
    task = Task(model, x, target, output, "grad_cam", chosen)
    maps, slopes = task.gradients.of_layer(task.arrays, task.factor)
    task.gradients.trim()
    if maps.ndim < 3:
        raise ValueError(
            f"grad_cam: layer must give maps, with axes of places, got {chosen.name!r}, which "
            f"gives shape {(None, *maps.shape[1:])}"
        )
    if _channels_first(chosen):
        maps, slopes = np.moveaxis(maps, 1, -1), np.moveaxis(slopes, 1, -1)
    places = tuple(range(1, maps.ndim - 1))
    weights = slopes.mean(places, keepdims=True, dtype=np.float64)
    found = np.maximum((maps * weights).sum(-1), 0.0)
    image = task.arrays[0]
    sizes = image.shape[2:] if _channels_first(chosen) else image.shape[1:-1]
    if len(sizes) == len(places):
        for axis, size in zip(places, sizes, strict=True):
            factor = resizing.weights("bilinear", found.shape[axis], size)
            found = np.moveaxis(np.tensordot(found, factor, (axis, 1)), -1, axis)
    if normalize:
        top = found.max(tuple(range(1, found.ndim)), keepdims=True)
        found = found / np.where(top > 0.0, top, 1.0)
    result: Array = found.astype(np.float32)
    return result


def _channels_first(layer: Any) -> bool:
    form = getattr(layer, "data_format", None) or config.image_data_format()
    return bool(form == "channels_first")


def _layer_of(model: Model, layer: Layer | str | None) -> Layer:
    """Layer of a name, among those of the model and of the models within."""
    layers: list[Layer] = [
        each for each in model._flatten_layers(include_self=False) if not hasattr(each, "predict")
    ]
    if isinstance(layer, str):
        named = [each for each in layers if each.name == layer]
        if not named:
            known = [each.name for each in layers]
            raise ValueError(f"grad_cam: layer must be one of {known}, got {layer!r}")
        return named[0]
    if layer is not None:
        if not any(each is layer for each in layers):
            raise ValueError(f"grad_cam: layer must be one of the model's, got {layer!r}")
        return layer
    convolutions = [each for each in layers if "Conv" in type(each).__name__]
    if not convolutions:
        raise ValueError("grad_cam: layer must be given for a model without convolutions, got None")
    return convolutions[-1]
