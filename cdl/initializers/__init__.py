"""Initializers: functions that make the initial values of weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cdl._common.public_names import publish
from cdl.initializers.constants import Constant as Constant
from cdl.initializers.constants import Identity as Identity
from cdl.initializers.constants import Ones as Ones
from cdl.initializers.constants import Values
from cdl.initializers.constants import Zeros as Zeros
from cdl.initializers.fourier import STFT as STFT
from cdl.initializers.initializer import Initializer as Initializer
from cdl.initializers.initializer import registry
from cdl.initializers.orthogonals import Orthogonal as Orthogonal
from cdl.initializers.random import RandomNormal as RandomNormal
from cdl.initializers.random import RandomSign as RandomSign
from cdl.initializers.random import RandomUniform as RandomUniform
from cdl.initializers.random import TruncatedNormal as TruncatedNormal
from cdl.initializers.scaling import GlorotNormal as GlorotNormal
from cdl.initializers.scaling import GlorotUniform as GlorotUniform
from cdl.initializers.scaling import HeNormal as HeNormal
from cdl.initializers.scaling import HeUniform as HeUniform
from cdl.initializers.scaling import LecunNormal as LecunNormal
from cdl.initializers.scaling import LecunUniform as LecunUniform
from cdl.initializers.scaling import VarianceScaling as VarianceScaling

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


publish(globals(), but="Values publish registry")
