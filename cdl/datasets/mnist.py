"""MNIST: 70,000 handwritten digits in ten classes."""

from typing import Any

from cdl._common.public_names import publish
from cdl.datasets.reading import arrays, cached

__all__ = ["load_data"]


def load_data(path: str = "mnist.npz") -> Any:
    """Load MNIST: handwritten digits of 28 by 28 pixels.

    Args:
        path: of the file, or its name in Keras's cache.

    Returns:
        ``(x_train, y_train), (x_test, y_test)`` of uint8: (60000, 28, 28) and (60000,), and 10,000
        of each.

    Raises:
        FileNotFoundError: the file is not there.
    """
    found = arrays(cached(path, "mnist.load_data(path)"))
    train, test = ((found[f"x_{part}"], found[f"y_{part}"]) for part in ("train", "test"))
    return train, test


publish(globals())
