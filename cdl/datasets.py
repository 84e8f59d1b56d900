"""datasets.py - a place for `keras.datasets`, whose loaders are not there yet.

Keras's loaders download; cdl's will read a local file that they are given.
"""

from typing import Any

__all__: list[str] = []
_KERAS_S = (
    "mnist",
    "fashion_mnist",
    "cifar10",
    "cifar100",
    "imdb",
    "reuters",
    "boston_housing",
    "california_housing",
)


def __getattr__(name: str) -> Any:
    if name in _KERAS_S:
        raise ImportError(
            f"cdl.datasets.{name} is not there yet: cdl downloads nothing. Load the arrays "
            "yourself, as by numpy.load('mnist.npz') or sklearn.datasets"
        )
    raise AttributeError(f"module 'cdl.datasets' has no attribute {name!r}")
