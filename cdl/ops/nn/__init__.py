"""__init__.py - operations of neural networks; `cdl.ops` lists them.

They are found here too, as `cdl.ops.nn.NAME`.
"""

from cdl._public import publish
from cdl.ops.homes import lookups

__getattr__, __dir__ = lookups("nn")
publish(globals())
