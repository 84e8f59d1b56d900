"""__init__.py - initializers: the first values of weights, found by their Keras names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cdl.initializers.constant import Constant as Constant
from cdl.initializers.constant import Identity as Identity
from cdl.initializers.constant import Ones as Ones
from cdl.initializers.constant import Values
from cdl.initializers.constant import Zeros as Zeros
from cdl.initializers.initializer import Initializer as Initializer
from cdl.initializers.initializer import family
from cdl.initializers.orthogonal import Orthogonal as Orthogonal
from cdl.initializers.random import RandomNormal as RandomNormal
from cdl.initializers.random import RandomUniform as RandomUniform
from cdl.initializers.random import TruncatedNormal as TruncatedNormal
from cdl.initializers.scaling import GlorotNormal as GlorotNormal
from cdl.initializers.scaling import GlorotUniform as GlorotUniform
from cdl.initializers.scaling import HeNormal as HeNormal
from cdl.initializers.scaling import HeUniform as HeUniform
from cdl.initializers.scaling import LecunNormal as LecunNormal
from cdl.initializers.scaling import LecunUniform as LecunUniform
from cdl.initializers.scaling import VarianceScaling as VarianceScaling
from cdl.initializers.stft import STFT as STFT

zeros, ones, constant = Zeros, Ones, Constant
identity = IdentityInitializer = Identity
orthogonal = OrthogonalInitializer = Orthogonal
random_normal, random_uniform, truncated_normal = RandomNormal, RandomUniform, TruncatedNormal
variance_scaling = VarianceScaling
glorot_normal, glorot_uniform = GlorotNormal, GlorotUniform
he_normal, he_uniform = HeNormal, HeUniform
lecun_normal, lecun_uniform = LecunNormal, LecunUniform
stft = STFTInitializer = STFT

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
