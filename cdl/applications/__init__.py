"""Image architectures of `keras.applications`; each is loaded when it is first used."""

import importlib
from typing import Any

from cdl._common.public_names import publish

# The modules, and the constructors that stand here too.
_MODULES = {
    "convnext": [f"ConvNeXt{kind}" for kind in ("Base", "Large", "Small", "Tiny", "XLarge")],
    "densenet": ["DenseNet121", "DenseNet169", "DenseNet201"],
    "efficientnet": [f"EfficientNetB{i}" for i in range(8)],
    "efficientnet_v2": [f"EfficientNetV2{k}" for k in ("B0", "B1", "B2", "B3", "L", "M", "S")],
    "imagenet_utils": [],
    "inception_resnet_v2": ["InceptionResNetV2"],
    "inception_v3": ["InceptionV3"],
    "mobilenet": ["MobileNet"],
    "mobilenet_v2": ["MobileNetV2"],
    "mobilenet_v3": ["MobileNetV3Large", "MobileNetV3Small"],
    "nasnet": ["NASNetLarge", "NASNetMobile"],
    "resnet": ["ResNet101", "ResNet152", "ResNet50"],
    "resnet50": [],
    "resnet_v2": ["ResNet101V2", "ResNet152V2", "ResNet50V2"],
    "vgg16": ["VGG16"],
    "vgg19": ["VGG19"],
    "xception": ["Xception"],
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [*_MODULES, *_HOMES]  # noqa: PLE0604 - strings


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"cdl.applications.{name}")
    if name in _HOMES:
        value = getattr(importlib.import_module(f"cdl.applications.{_HOMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(name)


publish(globals())
