"""Layers: building blocks of models, with weights and a computation."""

from cdl._common.public_names import publish as _publish
from cdl.layers.activation import Activation as Activation
from cdl.layers.activations.increasing import Increasing as Increasing
from cdl.layers.activations.parametric import ParametricActivation as ParametricActivation
from cdl.layers.activations.prelu import PReLU as PReLU
from cdl.layers.activations.rectifiers import ELU as ELU
from cdl.layers.activations.rectifiers import LeakyReLU as LeakyReLU
from cdl.layers.activations.rectifiers import ReLU as ReLU
from cdl.layers.activations.softmax import Softmax as Softmax
from cdl.layers.attention.attention import AdditiveAttention as AdditiveAttention
from cdl.layers.attention.attention import Attention as Attention
from cdl.layers.attention.grouped_query_attention import (
    GroupedQueryAttention as GroupedQueryAttention,
)
from cdl.layers.attention.grouped_query_attention import GroupQueryAttention as GroupQueryAttention
from cdl.layers.attention.multi_head_attention import MultiHeadAttention as MultiHeadAttention
from cdl.layers.convolution.conv import Conv1D as Conv1D
from cdl.layers.convolution.conv import Conv2D as Conv2D
from cdl.layers.convolution.conv import Conv3D as Conv3D
from cdl.layers.convolution.conv import Convolution1D as Convolution1D
from cdl.layers.convolution.conv import Convolution2D as Convolution2D
from cdl.layers.convolution.conv import Convolution3D as Convolution3D
from cdl.layers.convolution.conv_transpose import Conv1DTranspose as Conv1DTranspose
from cdl.layers.convolution.conv_transpose import Conv2DTranspose as Conv2DTranspose
from cdl.layers.convolution.conv_transpose import Conv3DTranspose as Conv3DTranspose
from cdl.layers.convolution.conv_transpose import Convolution1DTranspose as Convolution1DTranspose
from cdl.layers.convolution.conv_transpose import Convolution2DTranspose as Convolution2DTranspose
from cdl.layers.convolution.conv_transpose import Convolution3DTranspose as Convolution3DTranspose
from cdl.layers.convolution.depthwise_conv import DepthwiseConv1D as DepthwiseConv1D
from cdl.layers.convolution.depthwise_conv import DepthwiseConv2D as DepthwiseConv2D
from cdl.layers.convolution.separable_conv import SeparableConv1D as SeparableConv1D
from cdl.layers.convolution.separable_conv import SeparableConv2D as SeparableConv2D
from cdl.layers.convolution.separable_conv import SeparableConvolution1D as SeparableConvolution1D
from cdl.layers.convolution.separable_conv import SeparableConvolution2D as SeparableConvolution2D
from cdl.layers.dense import Dense as Dense
from cdl.layers.einsum_dense import EinsumDense as EinsumDense
from cdl.layers.embedding import Embedding as Embedding
from cdl.layers.identity import Identity as Identity
from cdl.layers.input import Input as Input
from cdl.layers.input import InputLayer as InputLayer
from cdl.layers.input_spec import InputSpec as InputSpec
from cdl.layers.lambda_layer import Lambda as Lambda
from cdl.layers.layer import Layer as Layer
from cdl.layers.layer import registry as _family
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
from cdl.layers.normalization.spectral_normalization import (
    SpectralNormalization as SpectralNormalization,
)
from cdl.layers.numerical.column_dense import ColumnDense as ColumnDense
from cdl.layers.numerical.column_scaling import ColumnScaling as ColumnScaling
from cdl.layers.numerical.ensemble_dense import EnsembleDense as EnsembleDense
from cdl.layers.numerical.periodic_embedding import PeriodicEmbedding as PeriodicEmbedding
from cdl.layers.numerical.piecewise_linear import PiecewiseLinearEncoding as PiecewiseLinearEncoding
from cdl.layers.pooling.adaptive_pooling import AdaptiveAveragePooling1D as AdaptiveAveragePooling1D
from cdl.layers.pooling.adaptive_pooling import AdaptiveAveragePooling2D as AdaptiveAveragePooling2D
from cdl.layers.pooling.adaptive_pooling import AdaptiveAveragePooling3D as AdaptiveAveragePooling3D
from cdl.layers.pooling.adaptive_pooling import AdaptiveMaxPooling1D as AdaptiveMaxPooling1D
from cdl.layers.pooling.adaptive_pooling import AdaptiveMaxPooling2D as AdaptiveMaxPooling2D
from cdl.layers.pooling.adaptive_pooling import AdaptiveMaxPooling3D as AdaptiveMaxPooling3D
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
from cdl.layers.pooling.window_pooling import AveragePooling1D as AveragePooling1D
from cdl.layers.pooling.window_pooling import AveragePooling2D as AveragePooling2D
from cdl.layers.pooling.window_pooling import AveragePooling3D as AveragePooling3D
from cdl.layers.pooling.window_pooling import AvgPool1D as AvgPool1D
from cdl.layers.pooling.window_pooling import AvgPool2D as AvgPool2D
from cdl.layers.pooling.window_pooling import AvgPool3D as AvgPool3D
from cdl.layers.pooling.window_pooling import MaxPool1D as MaxPool1D
from cdl.layers.pooling.window_pooling import MaxPool2D as MaxPool2D
from cdl.layers.pooling.window_pooling import MaxPool3D as MaxPool3D
from cdl.layers.pooling.window_pooling import MaxPooling1D as MaxPooling1D
from cdl.layers.pooling.window_pooling import MaxPooling2D as MaxPooling2D
from cdl.layers.pooling.window_pooling import MaxPooling3D as MaxPooling3D
from cdl.layers.preprocessing.category_encoding import CategoryEncoding as CategoryEncoding
from cdl.layers.preprocessing.discretization import Discretization as Discretization
from cdl.layers.preprocessing.hashed_crossing import HashedCrossing as HashedCrossing
from cdl.layers.preprocessing.hashing import Hashing as Hashing
from cdl.layers.preprocessing.image.chains import AugMix as AugMix
from cdl.layers.preprocessing.image.chains import Equalization as Equalization
from cdl.layers.preprocessing.image.chains import RandAugment as RandAugment
from cdl.layers.preprocessing.image.coloring import RandomBrightness as RandomBrightness
from cdl.layers.preprocessing.image.coloring import (
    RandomColorDegeneration as RandomColorDegeneration,
)
from cdl.layers.preprocessing.image.coloring import RandomColorJitter as RandomColorJitter
from cdl.layers.preprocessing.image.coloring import RandomContrast as RandomContrast
from cdl.layers.preprocessing.image.coloring import RandomGrayscale as RandomGrayscale
from cdl.layers.preprocessing.image.coloring import RandomHue as RandomHue
from cdl.layers.preprocessing.image.coloring import RandomInvert as RandomInvert
from cdl.layers.preprocessing.image.coloring import RandomSaturation as RandomSaturation
from cdl.layers.preprocessing.image.local_contrast import (
    ContrastLimitedAdaptiveHistogramEqualization as ContrastLimitedAdaptiveHistogramEqualization,
)
from cdl.layers.preprocessing.image.max_boxes import MaxNumBoundingBoxes as MaxNumBoundingBoxes
from cdl.layers.preprocessing.image.mixing import CutMix as CutMix
from cdl.layers.preprocessing.image.mixing import MixUp as MixUp
from cdl.layers.preprocessing.image.moving import RandomElasticTransform as RandomElasticTransform
from cdl.layers.preprocessing.image.moving import RandomFlip as RandomFlip
from cdl.layers.preprocessing.image.moving import RandomPerspective as RandomPerspective
from cdl.layers.preprocessing.image.moving import RandomRotation as RandomRotation
from cdl.layers.preprocessing.image.moving import RandomShear as RandomShear
from cdl.layers.preprocessing.image.moving import RandomTranslation as RandomTranslation
from cdl.layers.preprocessing.image.moving import RandomZoom as RandomZoom
from cdl.layers.preprocessing.image.random_crop import RandomCrop as RandomCrop
from cdl.layers.preprocessing.image.resizing import CenterCrop as CenterCrop
from cdl.layers.preprocessing.image.resizing import Resizing as Resizing
from cdl.layers.preprocessing.image.toning import AutoContrast as AutoContrast
from cdl.layers.preprocessing.image.toning import RandomErasing as RandomErasing
from cdl.layers.preprocessing.image.toning import RandomGaussianBlur as RandomGaussianBlur
from cdl.layers.preprocessing.image.toning import RandomPosterization as RandomPosterization
from cdl.layers.preprocessing.image.toning import RandomSharpness as RandomSharpness
from cdl.layers.preprocessing.image.toning import Solarization as Solarization
from cdl.layers.preprocessing.integer_lookup import IntegerLookup as IntegerLookup
from cdl.layers.preprocessing.normalization import Normalization as Normalization
from cdl.layers.preprocessing.pipeline import Pipeline as Pipeline
from cdl.layers.preprocessing.rescaling import Rescaling as Rescaling
from cdl.layers.preprocessing.robust_scaling import RobustScaling as RobustScaling
from cdl.layers.preprocessing.spectrograms import MelSpectrogram as MelSpectrogram
from cdl.layers.preprocessing.spectrograms import STFTSpectrogram as STFTSpectrogram
from cdl.layers.preprocessing.string_lookup import StringLookup as StringLookup
from cdl.layers.preprocessing.text_vectorization import (
    TextVectorization as TextVectorization,
)
from cdl.layers.recurrent.bidirectional import Bidirectional as Bidirectional
from cdl.layers.recurrent.conv_lstm import ConvLSTM1D as ConvLSTM1D
from cdl.layers.recurrent.conv_lstm import ConvLSTM2D as ConvLSTM2D
from cdl.layers.recurrent.conv_lstm import ConvLSTM3D as ConvLSTM3D
from cdl.layers.recurrent.gru import GRU as GRU
from cdl.layers.recurrent.gru import GRUCell as GRUCell
from cdl.layers.recurrent.lstm import LSTM as LSTM
from cdl.layers.recurrent.lstm import LSTMCell as LSTMCell
from cdl.layers.recurrent.rnn import RNN as RNN
from cdl.layers.recurrent.simple_rnn import SimpleRNN as SimpleRNN
from cdl.layers.recurrent.simple_rnn import SimpleRNNCell as SimpleRNNCell
from cdl.layers.recurrent.stacked_cells import StackedRNNCells as StackedRNNCells
from cdl.layers.recurrent.time_distributed import TimeDistributed as TimeDistributed
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
from cdl.layers.reshaping.cropping import Cropping1D as Cropping1D
from cdl.layers.reshaping.cropping import Cropping2D as Cropping2D
from cdl.layers.reshaping.cropping import Cropping3D as Cropping3D
from cdl.layers.reshaping.flatten import Flatten as Flatten
from cdl.layers.reshaping.reshape import Permute as Permute
from cdl.layers.reshaping.reshape import RepeatVector as RepeatVector
from cdl.layers.reshaping.reshape import Reshape as Reshape
from cdl.layers.reshaping.up_sampling import UpSampling1D as UpSampling1D
from cdl.layers.reshaping.up_sampling import UpSampling2D as UpSampling2D
from cdl.layers.reshaping.up_sampling import UpSampling3D as UpSampling3D
from cdl.layers.reshaping.zero_padding import ZeroPadding1D as ZeroPadding1D
from cdl.layers.reshaping.zero_padding import ZeroPadding2D as ZeroPadding2D
from cdl.layers.reshaping.zero_padding import ZeroPadding3D as ZeroPadding3D
from cdl.layers.reversible_embedding import ReversibleEmbedding as ReversibleEmbedding
from cdl.layers.wrapper import Wrapper as Wrapper

serialize, deserialize = _family.serialize, _family.deserialize
_publish(globals())
