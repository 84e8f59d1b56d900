"""VGG19, a deeper VGG: see `vgg16`."""

from cdl._common.public_names import publish
from cdl.applications.imagenet_utils import decode_predictions, preprocessing
from cdl.applications.vgg16 import vgg

__all__ = ["VGG19", "decode_predictions", "preprocess_input"]

VGG19 = vgg("VGG19", (2, 2, 4, 4, 4))
preprocess_input = preprocessing("caffe")

publish(globals())
