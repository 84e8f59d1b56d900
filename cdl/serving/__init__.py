"""Serving: a model that follows its file, and requests of many threads in one batch."""

from cdl._common.public_names import publish
from cdl.serving.batcher import Batcher
from cdl.serving.model_holder import ModelHolder

__all__ = ["Batcher", "ModelHolder"]

publish(globals())
