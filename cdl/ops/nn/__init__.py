"""Neural network operations; `cdl.ops` lists them.

They are found here too, as `cdl.ops.nn.NAME`.
"""

from cdl._common.public_names import publish
from cdl.ops.submodules import lookups

__getattr__, __dir__ = lookups("nn")
publish(globals())
