"""__init__.py - layers: the parts of models."""

from cdl.layers.activation import Activation
from cdl.layers.dense import Dense
from cdl.layers.dropout import Dropout
from cdl.layers.flatten import Flatten
from cdl.layers.input import Input, InputLayer
from cdl.layers.layer import Layer, family

__all__ = [
    "Layer",
    "Input",
    "InputLayer",
    "Dense",
    "Activation",
    "Dropout",
    "Flatten",
    "serialize",
    "deserialize",
]

serialize, deserialize = family.serialize, family.deserialize
