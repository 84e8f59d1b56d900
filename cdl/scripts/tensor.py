"""Tensor: an array as scripts for TensorFlow expect it, with `numpy()`."""

from __future__ import annotations

from typing import Any

import numpy as np


class Tensor(np.ndarray[Any, np.dtype[Any]]):
    """An array with the method of TensorFlow's that scripts call most."""

    def numpy(self) -> Any:
        """The array, or the number."""
        return self.view(np.ndarray)[()]


def tensors(result: Any) -> Any:
    """A result whose arrays and numbers have a method `numpy()`."""
    if isinstance(result, (np.ndarray, np.generic)) and not isinstance(result, Tensor):
        return np.asarray(result).view(Tensor)
    if type(result) in (list, tuple):
        return type(result)(map(tensors, result))
    if type(result) is dict:
        return {name: tensors(value) for name, value in result.items()}
    return result
