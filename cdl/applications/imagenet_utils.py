"""Preprocessing of pixels for architectures, and decoding of ImageNet predictions."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from cdl import ops
from cdl._common.keras_home import in_cache
from cdl._common.public_names import publish
from cdl._common.validation import one_of, positive_int
from cdl.config import floatx, standardize_data_format

__all__ = ["decode_predictions", "preprocess_input"]

_MEAN = {"torch": (0.485, 0.456, 0.406), "caffe": (103.939, 116.779, 123.68)}
_DEVIATION = (0.229, 0.224, 0.225)
_INDEX = "imagenet_class_index.json"
_ORIGIN = f"https://storage.googleapis.com/download.tensorflow.org/data/{_INDEX}"


def preprocess_input(x: Any, data_format: str | None = None, mode: str = "caffe") -> Any:
    """Preprocess pixels from 0 to 255 for an architecture of that mode.

    Args:
        x: RGB images, (n, height, width, 3) or one without n: an array or a symbolic tensor. An
            array of floats is changed in place, as in Keras.
        data_format: "channels_last" or "channels_first"; None is the configured one.
        mode: "caffe": BGR, less the mean of each channel; "tf": from -1 to 1; "torch": from 0 to 1,
            less the mean of each channel, divided by its deviation.

    Returns:
        What x became.

    Raises:
        ValueError: an unknown mode or data_format.
    """
    one_of("preprocess_input", "mode", mode, ("caffe", "tf", "torch"))
    data_format = standardize_data_format(data_format, "preprocess_input")
    array = isinstance(x, np.ndarray)
    if array and x.dtype.kind != "f":
        x = x.astype(floatx())
    if mode == "tf":
        x /= 127.5
        x -= 1.0
        return x
    axis = -1 if data_format == "channels_last" else len(x.shape) - 3
    if mode == "caffe":
        x = np.flip(x, axis) if array else ops.flip(x, axis)
    else:
        x /= 255.0
    shape = (3,) if axis == -1 else (3, 1, 1)
    x -= np.reshape(_MEAN[mode], shape).astype(x.dtype)
    if mode == "torch":
        x /= np.reshape(_DEVIATION, shape).astype(x.dtype)
    return x


def decode_predictions(preds: Any, top: int = 5) -> list[list[tuple[str, str, Any]]]:
    """Decode predictions to the likeliest classes of ImageNet, by name.

    Args:
        preds: the output of an architecture with 1000 classes, (n, 1000).
        top: how many of each row.

    Returns:
        For each row `(number of WordNet, name, score)` for each class, the likeliest first.

    Raises:
        ValueError: another shape.
        FileNotFoundError: the names are not in Keras's cache.
    """
    preds = np.asarray(preds)
    if preds.ndim != 2 or preds.shape[1] != 1000:
        raise ValueError(
            "`decode_predictions` expects a batch of predictions (i.e. a 2D array of shape "
            f"(samples, 1000)). Received array with shape: {preds.shape}"
        )
    positive_int("decode_predictions", "top", top)
    with open(in_cache("models", _INDEX, _ORIGIN, "decode_predictions")) as file:
        names = json.load(file)
    return [
        [(*names[str(i)], row[i]) for i in row.argsort(kind="stable")[::-1][:top]] for row in preds
    ]


def preprocessing(mode: str | None) -> Callable[..., Any]:
    """Create the `preprocess_input` of a module.

    Args:
        mode: as above; None for architectures that begin with it themselves.
    """

    def preprocess_input(x: Any, data_format: str | None = None) -> Any:
        """Preprocess pixels from 0 to 255 for these architectures.

        Args:
            x: RGB images, (n, height, width, 3) or one without n: an array or a symbolic tensor. An
                array of floats is changed in place, as in Keras.
            data_format: "channels_last" or "channels_first"; None is the configured one.

        Returns:
            What x became: see `imagenet_utils.preprocess_input`. It is x itself where the
            architecture begins with the scaling.
        """
        return x if mode is None else public(x, data_format, mode)

    public = globals()["preprocess_input"]
    return preprocess_input


publish(globals())
