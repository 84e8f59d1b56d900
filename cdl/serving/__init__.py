"""Serving: models reloaded with their file, and dynamic batching of requests."""

from cdl._common.public_names import publish
from cdl.serving.batcher import Batcher
from cdl.serving.model_holder import ModelHolder

__all__ = ["Batcher", "ModelHolder"]

publish(globals())
