"""Common parts of all architectures: arguments and their checks, the head, the weights."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

from cdl import layers, models
from cdl._common.errors import warn
from cdl._common.keras_home import in_cache
from cdl._common.validation import one_of
from cdl._tracing.keras_tensor import KerasTensor
from cdl.activations import get as activation
from cdl.config import image_data_format
from cdl.utils.source_inputs import get_source_inputs

# The arguments of most constructors, in Keras's order, with their default values.
COMMON: dict[str, Any] = {
    "include_top": True,
    "weights": "imagenet",
    "input_tensor": None,
    "input_shape": None,
    "pooling": None,
    "classes": 1000,
    "classifier_activation": "softmax",
}
CONV_INITIALIZER = {
    "class_name": "VarianceScaling",
    "config": {"scale": 2.0, "mode": "fan_out", "distribution": "truncated_normal"},
}
DENSE_INITIALIZER = {
    "class_name": "VarianceScaling",
    "config": {"scale": 1 / 3, "mode": "fan_out", "distribution": "uniform"},
}
_ADDRESS = "https://storage.googleapis.com/"
TENSORFLOW = "tensorflow/keras-applications"  # most weights are below it
_ARGUMENTS = {
    "include_top": "whether the model ends in a classifier.",
    "weights": 'None for random ones, a file for `load_weights`, or "imagenet" for those that\n'
    "        Keras has downloaded into its cache: cdl downloads none.",
    "input_tensor": "a symbolic tensor to build on, instead of an `Input`.",
    "input_shape": "of one image; None for {size} by {size} pixels with 3 channels, or for open\n"
    "        sizes where `include_top` is False.",
    "pooling": 'without the classifier, "avg" or "max" over all pixels, or None for neither.',
    "classes": "the number of classes.",
    "classifier_activation": "the activation of the classifier; None for logits.",
    "name": "of the model.",
    "alpha": "what the numbers of filters are multiplied by.",
    "depth_multiplier": "filters of a depthwise convolution for each channel.",
    "dropout": "the rate in front of the classifier.",
    "dropout_rate": "the rate in front of the classifier.",
    "minimalistic": "whether to do without hard swish, squeeze-and-excite and 5x5 filters.",
    "include_preprocessing": "whether the model scales pixels from 0 to 255 itself.",
}
_DOC = """{title}, an architecture for images, as Keras builds it.

Args:
{arguments}

Returns:
    A functional `Model`.

Raises:
    ValueError: arguments that do not fit together, images of less than {least} pixels.
    FileNotFoundError: `weights="imagenet"`, and no such file in Keras's cache.
"""


def constructor(
    title: str,
    body: Callable[[Any, SimpleNamespace], Any],
    file: str | Callable[[SimpleNamespace], str],
    *,
    name: str | None,
    size: int = 224,
    least: int = 32,
    arguments: Mapping[str, Any] = COMMON,
    shape: Callable[[SimpleNamespace], Any] | None = None,
    check: Callable[[SimpleNamespace], None] | None = None,
    last_only: bool = False,
) -> Callable[..., models.Model]:
    """Create the function that makes models of one architecture.

    Args:
        title: its name, "VGG16".
        body: from the input, and the arguments by name, to the output.
        file: the file of its weights, below Keras's address for them; "{top}" becomes "" or
            "_notop". "|" parts its name in the cache from another one at the address.
        name: the default name of a model.
        size: the default height and width.
        least: the smallest one.
        arguments: those but `name`, with their default values.
        shape: gives the shape of an image from the arguments, instead of the usual rule.
        check: looks at arguments of the architecture's own.
        last_only: whether it is for channels_last only.
    """
    arguments = {**arguments, "name": name}
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    signature = inspect.Signature(
        [inspect.Parameter(each, kind, default=value) for each, value in arguments.items()]
    )

    def make(*args: Any, **kwargs: Any) -> models.Model:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{title}() {error}") from None
        net = SimpleNamespace(**{**arguments, **bound.arguments}, default_size=size)
        if last_only and image_data_format() == "channels_first":
            raise ValueError(f"{title} does not support the `channels_first` image data format")
        _check_weights(title, net)
        one_of(title, "pooling", net.pooling, (None, "avg", "max"))
        net.input_shape = shape(net) if shape else image_shape(title, net, size, least)
        if check:
            check(net)
        path = None if net.weights in (None, "imagenet") else os.fspath(net.weights)
        if net.weights == "imagenet":
            path = _imagenet(title, net, file)
        x = net.input_tensor
        if x is None:
            x = layers.Input(shape=net.input_shape)
        elif not isinstance(x, KerasTensor):
            x = layers.Input(tensor=x, shape=net.input_shape)
        inputs = [x] if net.input_tensor is None else get_source_inputs(x)
        output = body(x, net)
        model = models.Model(inputs[0] if len(inputs) == 1 else inputs, output, name=net.name)
        if path is not None:
            model.load_weights(path)
        return model

    described = [f"    {each}: {_ARGUMENTS[each].format(size=size)}" for each in arguments]
    make.__doc__ = _DOC.format(title=title, arguments="\n".join(described), least=least)
    make.__name__ = make.__qualname__ = title
    make.__signature__ = signature  # type: ignore[attr-defined]
    return make


def _check_weights(title: str, net: SimpleNamespace) -> None:
    if net.weights not in (None, "imagenet") and not os.path.exists(net.weights):
        raise ValueError(
            f"{title}: The `weights` argument should be either `None` (random initialization), "
            "'imagenet' (pre-training on ImageNet), or the path to the weights file to be loaded. "
            f"Received: weights={net.weights}"
        )
    if net.weights == "imagenet" and net.include_top and net.classes != 1000:
        raise ValueError(
            f"{title}: If using `weights='imagenet'` with `include_top=True`, `classes` should be "
            f"1000. Received classes={net.classes}"
        )
    if net.weights is not None and net.include_top:
        given = activation(net.classifier_activation)
        if given not in (activation("softmax"), activation(None)):
            raise ValueError(
                f"{title}: Only `None` and `softmax` activations are allowed for the "
                "`classifier_activation` argument when using pretrained weights, with "
                f"`include_top=True`; Received: classifier_activation={given}"
            )


def image_shape(title: str, net: SimpleNamespace, size: int, least: int) -> tuple[Any, ...]:
    """Shape of an image for the arguments, by the rule of most architectures."""
    given, top, imagenet = net.input_shape, net.include_top, net.weights == "imagenet"
    first = image_data_format() == "channels_first"
    place = 0 if first else -1
    channels = 3
    if given is not None:
        given = tuple(given)
        if not imagenet and len(given) == 3:
            channels = given[place]
            if channels not in (1, 3):
                warn(
                    "This model usually expects 1 or 3 input channels. However, it was passed an "
                    f"input_shape with {channels} input channels."
                )
    default = (channels, size, size) if first else (size, size, channels)
    if imagenet and top:
        if given not in (None, default):
            raise ValueError(
                f"{title}: When setting `include_top=True` and loading `imagenet` weights, "
                f"`input_shape` should be {default}. Received: input_shape={given}"
            )
        return default
    if not given:
        return default if top else (3, None, None) if first else (None, None, 3)
    if len(given) != 3:
        raise ValueError(f"{title}: `input_shape` must be a tuple of three integers, got {given}")
    if given[place] != 3 and imagenet:
        raise ValueError(f"{title}: The input must have 3 channels; Received `input_shape={given}`")
    pixels = given[1:] if first else given[:2]
    if any(each is not None and each < least for each in pixels):
        raise ValueError(
            f"{title}: Input size must be at least {least}x{least}; Received: input_shape={given}"
        )
    if top and None in given:
        raise ValueError(
            f"{title}: If `include_top` is True, you should specify a static `input_shape`. "
            f"Received: input_shape={given}"
        )
    return tuple(given)


def _imagenet(
    title: str, net: SimpleNamespace, file: str | Callable[[SimpleNamespace], str]
) -> str:
    """Path of the weights file in Keras's cache."""
    text = file(net) if callable(file) else file
    path, _, there = text.format(top="" if net.include_top else "_notop").partition("|")
    folder, _, name = path.rpartition("/")
    origin = f"{_ADDRESS}{folder}/{there or name}"
    instead = "; or say weights=None for random ones, or the path of a file"
    return in_cache("models", name, origin, f"{title}(weights='imagenet')", instead)


# --- layers ---


def channel_axis(last: int = 3) -> int:
    """Axis of the channels; `last` is its name where it is the last one."""
    return last if image_data_format() == "channels_last" else 1


def norm(x: Any, name: str | None = None, last: int = 3, **options: Any) -> Any:
    """Batch normalization of the channels."""
    return layers.BatchNormalization(axis=channel_axis(last), name=name, **options)(x)


def relu(x: Any, name: str | None = None) -> Any:
    """ReLU as an Activation layer."""
    return layers.Activation("relu", name=name)(x)


def pad_for_stride(x: Any, kernel: int, name: str | None = None) -> Any:
    """Zero padding with which a strided convolution matches TensorFlow's."""
    at = 1 if image_data_format() == "channels_last" else 2
    sizes = x.shape[at : at + 2]
    even = [1, 1] if sizes[0] is None else [1 - each % 2 for each in sizes]
    padding = tuple((kernel // 2 - each, kernel // 2) for each in even)
    return layers.ZeroPadding2D(padding, name=name)(x)


def divisible(width: float, by: int = 8, at_most_a_tenth: bool = True) -> int:
    """Number of filters rounded to a multiple, at most a tenth smaller."""
    rounded = max(by, int(width + by / 2) // by * by)
    return rounded + by if at_most_a_tenth and rounded < 0.9 * width else rounded


def pooled(x: Any, net: SimpleNamespace, named: bool = False) -> Any:
    """Features, pooled if that is asked for."""
    if net.pooling == "avg":
        return layers.GlobalAveragePooling2D(name="avg_pool" if named else None)(x)
    if net.pooling == "max":
        return layers.GlobalMaxPooling2D(name="max_pool" if named else None)(x)
    return x


def head(
    x: Any,
    net: SimpleNamespace,
    average: str | None = "avg_pool",
    named: bool = False,
    dropout: float = 0.0,
    **options: Any,
) -> Any:
    """Classifier on averages, or the result of `pooled`."""
    if not net.include_top:
        return pooled(x, net, named)
    x = layers.GlobalAveragePooling2D(name=average)(x)
    if dropout:
        x = layers.Dropout(dropout, name="top_dropout")(x)
    return predictions(x, net, **options)


def predictions(x: Any, net: SimpleNamespace, **options: Any) -> Any:
    """Dense layer of the classes."""
    dense = layers.Dense(
        net.classes, activation=net.classifier_activation, name="predictions", **options
    )
    return dense(x)
