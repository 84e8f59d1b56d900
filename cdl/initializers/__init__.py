"""__init__.py - initializers: the first values of weights, found by their Keras names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cdl.initializers.constant import Constant, Ones, Values, Zeros
from cdl.initializers.initializer import Initializer, family
from cdl.initializers.random import RandomNormal, RandomUniform, TruncatedNormal
from cdl.initializers.scaling import (
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    LecunNormal,
    LecunUniform,
    VarianceScaling,
)

__all__ = [
    "Initializer",
    "Zeros",
    "Ones",
    "Constant",
    "RandomNormal",
    "RandomUniform",
    "TruncatedNormal",
    "VarianceScaling",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "LecunNormal",
    "LecunUniform",
    "zeros",
    "ones",
    "constant",
    "random_normal",
    "random_uniform",
    "truncated_normal",
    "variance_scaling",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "lecun_uniform",
    "get",
    "serialize",
    "deserialize",
]

zeros, ones, constant = Zeros, Ones, Constant
random_normal, random_uniform, truncated_normal = RandomNormal, RandomUniform, TruncatedNormal
variance_scaling = VarianceScaling
glorot_normal, glorot_uniform = GlorotNormal, GlorotUniform
he_normal, he_uniform = HeNormal, HeUniform
lecun_normal, lecun_uniform = LecunNormal, LecunUniform

serialize, deserialize = family.serialize, family.deserialize


def get(identifier: Any) -> Callable[..., Any] | None:
    """The initializer that an identifier stands for; an array stands for itself.

    Args:
        identifier: None, a name, a config, a class, an instance, an array with the weight's values,
            or a function of ``(shape, dtype=None)``.

    Raises:
        ValueError: nothing of these.
    """
    if isinstance(identifier, (np.ndarray, np.generic)):
        return Values(np.asarray(identifier))
    initializer: Callable[..., Any] | None = family.get(identifier)
    return initializer
