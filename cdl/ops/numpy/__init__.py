"""NumPy's functions as operations; `cdl.ops` lists them.

They are found here too, as `cdl.ops.numpy.NAME`.
"""

from cdl._common.public_names import publish
from cdl.ops.submodules import lookups

__getattr__, __dir__ = lookups("numpy", "array", "ndim", "size", "slogdet", "vectorize")
publish(globals())
