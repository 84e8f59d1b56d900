"""__init__.py - layers: the parts of models."""

from cdl.layers.activation import Activation as Activation
from cdl.layers.dense import Dense as Dense
from cdl.layers.dropout import Dropout as Dropout
from cdl.layers.flatten import Flatten as Flatten
from cdl.layers.input import Input as Input
from cdl.layers.input import InputLayer as InputLayer
from cdl.layers.layer import Layer as Layer
from cdl.layers.layer import family

serialize, deserialize = family.serialize, family.deserialize
