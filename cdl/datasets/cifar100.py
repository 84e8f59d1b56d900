"""CIFAR-100: 60,000 photographs in a hundred classes."""

import os
from typing import Any

import numpy as np

from cdl._common.public_names import publish
from cdl._common.validation import one_of
from cdl.datasets.reading import cached, cifar

__all__ = ["load_data"]

_ORIGIN = "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"


def load_data(label_mode: str = "fine") -> Any:
    """Load CIFAR-100: photographs of 32 by 32 pixels, from the folder of Keras's cache.

    Args:
        label_mode: "fine" for 100 classes, "coarse" for 20.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: (50000, 32, 32, 3) of uint8, or (50000, 3, 32, 32)
        where the data format is channels_first, and (50000, 1) of int64; and 10,000 of each.

    Raises:
        ValueError: another label_mode.
        FileNotFoundError: the folder is not there.
    """
    one_of("cifar100.load_data", "label_mode", label_mode, ("fine", "coarse"))
    folder = cached("cifar-100-python-target", "cifar100.load_data", _ORIGIN)
    folder = os.path.join(folder, "cifar-100-python")
    parts = []
    for part in ("train", "test"):
        x, y = cifar(os.path.join(folder, part), f"{label_mode}_labels")
        parts.append((x, np.reshape(y, (-1, 1))))
    return tuple(parts)


publish(globals())
