"""Weights of CuDNNLSTM and CuDNNGRU, layers of Keras 2, converted to those of LSTM and GRU.

cuDNN has the kernels transposed, gate by gate, and two biases for each gate, one of the input's
side and one of the state's. Which form a file has is seen by the shape of the bias.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cdl.layers.layer import Layer
from cdl.layers.recurrent.cells import UnitsCell

Array = NDArray[Any]


def biases_in(layer: Layer) -> dict[int, UnitsCell]:
    """Cells within a layer whose weights may be those of cuDNN, by the ids of their biases."""
    cells = [each for each in layer._flatten_layers() if isinstance(each, UnitsCell)]
    return {
        id(cell.bias): cell
        for cell in cells
        if cell.gates > 1 and cell.built and cell.bias is not None
        if getattr(cell, "reset_after", True)
    }


def shape_of_bias(cell: UnitsCell) -> tuple[int, ...]:
    """Shape of the bias in the form of cuDNN."""
    return (2 * cell.gates * cell.units,)


def converted(cell: UnitsCell, kernel: Array, recurrent: Array, bias: Array) -> list[Array]:
    """Weights of a cell from those of cuDNN.

    Args:
        cell: of an LSTM, or of a GRU with `reset_after`.
        kernel: of shape (size, gates * units).
        recurrent: of shape (units, gates * units).
        bias: of shape (2 * gates * units,).
    """
    # A gate's kernel is (units, size) in memory, whatever shape it was saved with.
    gates = [
        np.reshape(part.T, part.shape, order="F") for part in np.split(kernel, cell.gates, axis=1)
    ]
    states = [part.T for part in np.split(recurrent, cell.gates, axis=1)]
    both = bias.reshape(2, -1)
    return [
        np.concatenate(gates, axis=1),
        np.concatenate(states, axis=1),
        both if cell.gates == 3 else both.sum(0),
    ]
