"""`keras.legacy`: aliases of today's functions by their older places."""

from cdl._common.public_names import publish
from cdl.legacy import saving

__all__ = ["saving"]

publish(globals())
