"""Mixed precision: the names of dtype policies in `keras.mixed_precision`."""

from cdl._common.public_names import publish
from cdl.config import dtype_policy, set_dtype_policy
from cdl.config import dtype_policy as global_policy
from cdl.config import set_dtype_policy as set_global_policy
from cdl.dtype_policies import DTypePolicy
from cdl.dtype_policies import DTypePolicy as Policy
from cdl.optimizers import LossScaleOptimizer

__all__ = [
    "DTypePolicy",
    "LossScaleOptimizer",
    "Policy",
    "dtype_policy",
    "global_policy",
    "set_dtype_policy",
    "set_global_policy",
]

publish(globals())
