"""Sizes beyond any memory are refused by the name of the argument, where a layer is made."""

import numpy as np
import pytest

from cdl import Input, layers

LARGE = [2**63, 2**64 + 1, 2**100]
# Constructors of layers, by the argument that is a size.
SIZES = {
    "units": layers.Dense,
    "units of SimpleRNN": layers.SimpleRNN,
    "units of LSTM": layers.LSTM,
    "units of GRU": layers.GRU,
    "units of a cell": layers.GRUCell,
    "filters": lambda n: layers.Conv2D(n, 2),
    "filters of Conv1DTranspose": lambda n: layers.Conv1DTranspose(n, 2),
    "filters of SeparableConv2D": lambda n: layers.SeparableConv2D(n, 2),
    "filters of ConvLSTM1D": lambda n: layers.ConvLSTM1D(n, 2),
    "kernel_size": lambda n: layers.Conv2D(2, n),
    "kernel_size of pairs": lambda n: layers.Conv2D(2, (2, n)),
    "strides": lambda n: layers.Conv2D(2, 2, strides=n),
    "strides of Conv2DTranspose": lambda n: layers.Conv2DTranspose(2, 2, strides=n),
    "dilation_rate": lambda n: layers.Conv1D(2, 2, dilation_rate=n),
    "groups": lambda n: layers.Conv2D(2, 2, groups=n),
    "depth_multiplier": lambda n: layers.DepthwiseConv2D(2, depth_multiplier=n),
    "pool_size": layers.MaxPooling2D,
    "output_size": layers.AdaptiveMaxPooling2D,
    "input_dim": lambda n: layers.Embedding(n, 3),
    "input_dim of Dense": lambda n: layers.Dense(3, input_dim=n),
    "input_shape": lambda n: layers.Dense(3, input_shape=(n,)),
    "shape": lambda n: Input((n,)),
    "output_dim": lambda n: layers.Embedding(3, n),
    "output_dim of ReversibleEmbedding": lambda n: layers.ReversibleEmbedding(3, n),
    "lora_rank": lambda n: layers.Dense(3, lora_rank=n),
    "num_heads": lambda n: layers.MultiHeadAttention(n, 2),
    "key_dim": lambda n: layers.MultiHeadAttention(2, n),
    "value_dim": lambda n: layers.MultiHeadAttention(2, 2, value_dim=n),
    "output_shape": lambda n: layers.EinsumDense("ab,bc->ac", n),
    "n": layers.RepeatVector,
    "target_shape": lambda n: layers.Reshape((n,)),
    "size": layers.UpSampling2D,
    "size of UpSampling1D": layers.UpSampling1D,
    "padding": layers.ZeroPadding2D,
    "cropping": layers.Cropping2D,
    "height": lambda n: layers.Resizing(n, 2),
    "width": lambda n: layers.CenterCrop(2, n),
    "num_tokens": layers.CategoryEncoding,
    "num_bins": layers.Hashing,
}


@pytest.mark.parametrize("size", LARGE)
@pytest.mark.parametrize("name", SIZES)
def test_a_size_beyond_64_bits_is_refused_by_its_name(name, size):
    with pytest.raises(ValueError, match=rf": {name.split()[0]} must be .*{size}"):
        SIZES[name](size)


@pytest.mark.parametrize("size", [2**62, 2**47])
def test_what_no_memory_holds_is_a_memory_error_that_shows_the_shape(size):
    with pytest.raises(MemoryError, match=str(size)):
        layers.Dense(size)(Input((3,)))


def test_sizes_of_numpy_are_sizes():
    assert layers.Dense(np.int64(3)).units == 3
    assert layers.Conv2D(np.uint8(3), (np.int32(2), 1)).kernel_size == (2, 1)
    assert Input((np.int16(4),)).shape == (None, 4)
