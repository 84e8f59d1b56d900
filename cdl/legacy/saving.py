"""`keras.legacy.saving`: aliases of today's functions for configs."""

from cdl._common.public_names import publish
from cdl._configs.serialization import deserialize as deserialize_keras_object
from cdl._configs.serialization import serialize as serialize_keras_object

__all__ = ["deserialize_keras_object", "serialize_keras_object"]

publish(globals())
