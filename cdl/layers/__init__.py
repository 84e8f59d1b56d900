"""Layers: the parts of models."""

from cdl._common.public_names import publish as _publish
from cdl.layers.activation import Activation as Activation
from cdl.layers.activations.prelu import PReLU as PReLU
from cdl.layers.activations.rectifiers import ELU as ELU
from cdl.layers.activations.rectifiers import LeakyReLU as LeakyReLU
from cdl.layers.activations.rectifiers import ReLU as ReLU
from cdl.layers.activations.softmax import Softmax as Softmax
from cdl.layers.dense import Dense as Dense
from cdl.layers.einsum_dense import EinsumDense as EinsumDense
from cdl.layers.embedding import Embedding as Embedding
from cdl.layers.identity import Identity as Identity
from cdl.layers.input import Input as Input
from cdl.layers.input import InputLayer as InputLayer
from cdl.layers.input_spec import InputSpec as InputSpec
from cdl.layers.lambda_layer import Lambda as Lambda
from cdl.layers.layer import Layer as Layer
from cdl.layers.layer import family as _family
from cdl.layers.masking import Masking as Masking
from cdl.layers.merging.concatenate import Concatenate as Concatenate
from cdl.layers.merging.concatenate import concatenate as concatenate
from cdl.layers.merging.dot import Dot as Dot
from cdl.layers.merging.dot import dot as dot
from cdl.layers.merging.merge import Add as Add
from cdl.layers.merging.merge import Average as Average
from cdl.layers.merging.merge import Maximum as Maximum
from cdl.layers.merging.merge import Minimum as Minimum
from cdl.layers.merging.merge import Multiply as Multiply
from cdl.layers.merging.merge import Subtract as Subtract
from cdl.layers.merging.merge import add as add
from cdl.layers.merging.merge import average as average
from cdl.layers.merging.merge import maximum as maximum
from cdl.layers.merging.merge import minimum as minimum
from cdl.layers.merging.merge import multiply as multiply
from cdl.layers.merging.merge import subtract as subtract
from cdl.layers.normalization.batch_normalization import BatchNormalization as BatchNormalization
from cdl.layers.normalization.group_normalization import GroupNormalization as GroupNormalization
from cdl.layers.normalization.line_normalization import LayerNormalization as LayerNormalization
from cdl.layers.normalization.line_normalization import RMSNormalization as RMSNormalization
from cdl.layers.normalization.line_normalization import UnitNormalization as UnitNormalization
from cdl.layers.pooling.global_pooling import GlobalAveragePooling1D as GlobalAveragePooling1D
from cdl.layers.pooling.global_pooling import GlobalAveragePooling2D as GlobalAveragePooling2D
from cdl.layers.pooling.global_pooling import GlobalAveragePooling3D as GlobalAveragePooling3D
from cdl.layers.pooling.global_pooling import GlobalAvgPool1D as GlobalAvgPool1D
from cdl.layers.pooling.global_pooling import GlobalAvgPool2D as GlobalAvgPool2D
from cdl.layers.pooling.global_pooling import GlobalAvgPool3D as GlobalAvgPool3D
from cdl.layers.pooling.global_pooling import GlobalMaxPool1D as GlobalMaxPool1D
from cdl.layers.pooling.global_pooling import GlobalMaxPool2D as GlobalMaxPool2D
from cdl.layers.pooling.global_pooling import GlobalMaxPool3D as GlobalMaxPool3D
from cdl.layers.pooling.global_pooling import GlobalMaxPooling1D as GlobalMaxPooling1D
from cdl.layers.pooling.global_pooling import GlobalMaxPooling2D as GlobalMaxPooling2D
from cdl.layers.pooling.global_pooling import GlobalMaxPooling3D as GlobalMaxPooling3D
from cdl.layers.preprocessing.category_encoding import CategoryEncoding as CategoryEncoding
from cdl.layers.preprocessing.discretization import Discretization as Discretization
from cdl.layers.preprocessing.normalization import Normalization as Normalization
from cdl.layers.preprocessing.rescaling import Rescaling as Rescaling
from cdl.layers.regularization.activity_regularization import (
    ActivityRegularization as ActivityRegularization,
)
from cdl.layers.regularization.dropout import AlphaDropout as AlphaDropout
from cdl.layers.regularization.dropout import Dropout as Dropout
from cdl.layers.regularization.dropout import SpatialDropout1D as SpatialDropout1D
from cdl.layers.regularization.dropout import SpatialDropout2D as SpatialDropout2D
from cdl.layers.regularization.dropout import SpatialDropout3D as SpatialDropout3D
from cdl.layers.regularization.noise import GaussianDropout as GaussianDropout
from cdl.layers.regularization.noise import GaussianNoise as GaussianNoise
from cdl.layers.reshaping.flatten import Flatten as Flatten
from cdl.layers.reshaping.reshape import Permute as Permute
from cdl.layers.reshaping.reshape import RepeatVector as RepeatVector
from cdl.layers.reshaping.reshape import Reshape as Reshape
from cdl.layers.wrapper import Wrapper as Wrapper

serialize, deserialize = _family.serialize, _family.deserialize
_publish(globals())
