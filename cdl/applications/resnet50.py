"""ResNet50 by its older module: see `resnet`."""

from cdl._common.public_names import publish
from cdl.applications.imagenet_utils import decode_predictions
from cdl.applications.resnet import ResNet50, preprocess_input

__all__ = ["ResNet50", "decode_predictions", "preprocess_input"]

publish(globals())
