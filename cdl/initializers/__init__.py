"""Initializers: functions that make the initial values of weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cdl._common.public_names import publish
from cdl.initializers.constants import Constant, Identity, Ones, Values, Zeros
from cdl.initializers.fourier import STFT
from cdl.initializers.initializer import Initializer, registry
from cdl.initializers.orthogonals import Orthogonal
from cdl.initializers.random import RandomNormal, RandomSign, RandomUniform, TruncatedNormal
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
    "Constant",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Identity",
    "IdentityInitializer",
    "Initializer",
    "LecunNormal",
    "LecunUniform",
    "Ones",
    "Orthogonal",
    "OrthogonalInitializer",
    "RandomNormal",
    "RandomSign",
    "RandomUniform",
    "STFT",
    "STFTInitializer",
    "TruncatedNormal",
    "VarianceScaling",
    "Zeros",
    "constant",
    "deserialize",
    "get",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "identity",
    "lecun_normal",
    "lecun_uniform",
    "ones",
    "orthogonal",
    "random_normal",
    "random_uniform",
    "serialize",
    "stft",
    "truncated_normal",
    "variance_scaling",
    "zeros",
]

zeros, ones, constant = Zeros, Ones, Constant
identity = IdentityInitializer = Identity
orthogonal = OrthogonalInitializer = Orthogonal
random_normal, random_uniform, truncated_normal = RandomNormal, RandomUniform, TruncatedNormal
variance_scaling = VarianceScaling
glorot_normal, glorot_uniform = GlorotNormal, GlorotUniform
he_normal, he_uniform = HeNormal, HeUniform
lecun_normal, lecun_uniform = LecunNormal, LecunUniform
stft = STFTInitializer = STFT

serialize, deserialize = registry.serialize, registry.deserialize


def get(identifier: Any) -> Callable[..., Any] | None:
    """The initializer of an identifier: a name, config, class, function or array.

    Args:
        identifier: None, a name, a config, a class, an instance, an array with the weight's values,
            or a function of ``(shape, dtype=None)``.

    Raises:
        ValueError: nothing of these.
    """
    if isinstance(identifier, (np.ndarray, np.generic)):
        return Values(np.asarray(identifier))
    initializer: Callable[..., Any] | None = registry.get(identifier)
    return initializer


publish(globals())
