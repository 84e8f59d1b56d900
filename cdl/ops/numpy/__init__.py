"""__init__.py - operations that NumPy has as well; `cdl.ops` lists them.

They are found here too, as `cdl.ops.numpy.NAME`.
"""

from cdl.ops.homes import lookups

__getattr__, __dir__ = lookups("numpy", globals())
